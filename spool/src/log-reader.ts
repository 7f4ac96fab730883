/** Reads from the embedded log: topics, records and committed offsets. */
import type { StatementSync } from 'node:sqlite'
import { IntegrityError, InvalidInputError } from '@agent-audit/schemas'
import type { Database } from './database.ts'
import { checksumOf, sizeOf, unpackBatch } from './log-batch.ts'
import type { LogRecord } from './log-batch.ts'
import { checkWhole } from './log-schema.ts'

export interface CommittedOffset {
  readonly offset: number
  readonly metadata: string
}

/** The row of a partition. */
export interface PartitionRow {
  readonly id: number
  readonly start_offset: number
  readonly end_offset: number
  readonly last_append_ms: number
}

interface BatchRow {
  base_offset: number
  next_offset: number
  append_ms: number
  checksum: number
  layout: Uint8Array
  body: Uint8Array
}

/** The calls that write nothing. */
export class EmbeddedLogReader {
  /** UUID made at creation, the counterpart of Kafka's cluster id. */
  readonly id: string
  /** Path of the file. */
  readonly file: string
  protected readonly db: Database
  readonly #selectTopic: StatementSync
  readonly #selectPartition: StatementSync
  readonly #selectBatch: StatementSync
  readonly #selectCommitted: StatementSync

  constructor(db: Database) {
    this.id = idOf(db)
    this.file = db.file
    this.db = db
    this.#selectTopic = db.prepare('SELECT partitions FROM topic WHERE topic = ?')
    this.#selectPartition = db.prepare(
      'SELECT id, start_offset, end_offset, last_append_ms FROM partition WHERE topic = ? AND partition = ?',
    )
    this.#selectBatch = db.prepare(`SELECT base_offset, next_offset, append_ms, checksum, layout, body FROM batch
      WHERE partition_id = ? AND next_offset > ? ORDER BY next_offset LIMIT 1`)
    this.#selectCommitted = db.prepare(`SELECT commit_offset AS "offset", metadata FROM committed
      WHERE group_name = ? AND topic = ? AND partition = ?`)
  }

  /** Names of all topics, sorted. */
  topics(): string[] {
    const statement = this.db.prepare('SELECT topic FROM topic ORDER BY topic')
    return this.db.use('read', () => statement.all().map((row) => String(row['topic'])))
  }

  /** Number of partitions of a topic, or undefined when there is no such topic. */
  partitions(topic: string): number | undefined {
    return this.db.use('read', () => this.#selectTopic.get(topic) as { partitions: number } | undefined)?.partitions
  }

  /**
   * Records from an offset on, in order, as many as fit into `maxBytes` of keys and values, and at least one if there
   * is one; empty at the end. Keys and values view memory shared within a batch: copy a record that is kept long.
   * @throws IntegrityError `LOG_TRUNCATED` when the offset is before the start or after the end;
   * `LOG_INVALID` when the stored bytes are not the bytes written.
   */
  read(topic: string, partition: number, fromOffset: number, maxBytes: number): readonly LogRecord[] {
    checkWhole('fromOffset', fromOffset, 0)
    return this.db.snapshot('read', () => {
      const row = this.find(topic, partition)
      if (fromOffset < row.start_offset || fromOffset > row.end_offset) {
        const message = `offset ${fromOffset} of ${topic}/${partition} in ${this.file} is outside of its ${row.start_offset} to ${row.end_offset}`
        throw new IntegrityError('LOG_TRUNCATED', message)
      }
      return this.#collect(row, fromOffset, maxBytes)
    })
  }

  /** First offset kept, and the next one to be written. */
  bounds(topic: string, partition: number): { start: number; end: number } {
    const row = this.db.snapshot('read', () => this.find(topic, partition))
    return { start: row.start_offset, end: row.end_offset }
  }

  /** The last offset that the group committed for a partition. */
  committed(group: string, topic: string, partition: number): CommittedOffset | undefined {
    const row = this.db.use(
      'read',
      () => this.#selectCommitted.get(group, topic, partition) as CommittedOffset | undefined,
    )
    return row && { offset: row.offset, metadata: row.metadata }
  }

  /**
   * Whether any process, this one included, has written since the last call; true at the first call. Costs a microsecond
   * or two: poll it, then read. May be true for a write of no interest; never misses one.
   */
  changed(): boolean {
    return this.db.changed()
  }

  /** Calling it again does nothing. */
  close(): void {
    this.db.close()
  }

  /** For use inside a transaction or snapshot. @throws InvalidInputError `OPTIONS_INVALID` when there is no such partition. */
  protected find(topic: string, partition: number): PartitionRow {
    const row = this.#selectPartition.get(topic, partition) as PartitionRow | undefined
    if (row !== undefined) return row
    const message = `${this.file} has no partition ${partition} of topic ${topic} (it has ${this.partitions(topic) ?? 0})`
    throw new InvalidInputError('OPTIONS_INVALID', message)
  }

  #collect(row: PartitionRow, fromOffset: number, maxBytes: number): LogRecord[] {
    const records: LogRecord[] = []
    let bytes = 0
    let next = fromOffset
    while (next < row.end_offset) {
      const batch = this.#loadBatch(row.id, next)
      for (const record of batch) {
        if (record.offset < next) continue
        bytes += sizeOf(record)
        if (records.length > 0 && bytes > maxBytes) return records
        records.push(record)
      }
      next = (batch.at(-1)?.offset ?? next) + 1
    }
    return records
  }

  #loadBatch(partitionId: number, offset: number): LogRecord[] {
    const row = this.#selectBatch.get(partitionId, offset) as BatchRow | undefined
    if (row === undefined || row.base_offset > offset) throw this.#damaged(offset, 'it is missing')
    if (checksumOf(row.layout, row.body) !== row.checksum) throw this.#damaged(offset, 'its checksum does not match')
    if (row.layout.length !== 8 * (row.next_offset - row.base_offset)) throw this.#damaged(offset, 'its size is wrong')
    return unpackBatch({ baseOffset: row.base_offset, appendTimeMs: row.append_ms, layout: row.layout, body: row.body })
  }

  #damaged(offset: number, reason: string): IntegrityError {
    return new IntegrityError('LOG_INVALID', `batch at offset ${offset} of ${this.file} is damaged: ${reason}`)
  }
}

function idOf(db: Database): string {
  const statement = db.prepare('SELECT id FROM log')
  const row = db.use('read', () => statement.get() as { id: string } | undefined)
  if (row === undefined) throw new IntegrityError('LOG_INVALID', `${db.file} has no id`)
  return row.id
}
