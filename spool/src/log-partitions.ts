/** Topics and their records in the embedded log. */
import type { StatementSync } from 'node:sqlite'
import { IntegrityError, InvalidInputError } from '@agent-audit/schemas'
import type { Database } from './database.ts'
import { checksumOf, packBatches, sizeOf, unpackBatch } from './log-batch.ts'
import type { LogAppend, LogRecord } from './log-batch.ts'
import { checkWhole } from './log-schema.ts'

interface PartitionRow {
  id: number
  start_offset: number
  end_offset: number
  last_append_ms: number
}

interface BatchRow {
  base_offset: number
  next_offset: number
  append_ms: number
  checksum: number
  layout: Uint8Array
  body: Uint8Array
}

export class LogPartitions {
  readonly #db: Database
  readonly #selectTopic: StatementSync
  readonly #selectPartition: StatementSync
  readonly #selectBatch: StatementSync
  readonly #insertBatch: StatementSync
  readonly #updateEnd: StatementSync

  constructor(db: Database) {
    this.#db = db
    this.#selectTopic = db.prepare('SELECT partitions FROM topic WHERE topic = ?')
    this.#selectPartition = db.prepare(
      'SELECT id, start_offset, end_offset, last_append_ms FROM partition WHERE topic = ? AND partition = ?',
    )
    this.#selectBatch = db.prepare(`SELECT base_offset, next_offset, append_ms, checksum, layout, body FROM batch
      WHERE partition_id = ? AND next_offset > ? ORDER BY next_offset LIMIT 1`)
    this.#insertBatch = db.prepare(`INSERT INTO batch
      (partition_id, base_offset, next_offset, append_ms, checksum, layout, body) VALUES (?, ?, ?, ?, ?, ?, ?)`)
    this.#updateEnd = db.prepare('UPDATE partition SET end_offset = ?, last_append_ms = ? WHERE id = ?')
  }

  topics(): string[] {
    const statement = this.#db.prepare('SELECT topic FROM topic ORDER BY topic')
    return this.#db.use('read', () => statement.all().map((row) => String(row['topic'])))
  }

  count(topic: string): number | undefined {
    return this.#db.use('read', () => this.#selectTopic.get(topic) as { partitions: number } | undefined)?.partitions
  }

  createTopic(topic: string, partitions: number): void {
    if (topic === '') throw new InvalidInputError('OPTIONS_INVALID', 'topic: expected a name, not an empty string')
    checkWhole('partitions', partitions, 1)
    const insertTopic = this.#db.prepare('INSERT INTO topic VALUES (?, ?)')
    const insertPartition = this.#db.prepare('INSERT INTO partition (topic, partition) VALUES (?, ?)')
    this.#db.transaction(`create topic ${topic} in`, () => {
      const present = this.count(topic)
      if (present === partitions) return
      if (present !== undefined) {
        const message = `topic ${topic} of ${this.#db.file} has ${present} partitions, not ${partitions}; their number cannot change`
        throw new InvalidInputError('OPTIONS_INVALID', message)
      }
      insertTopic.run(topic, partitions)
      for (let partition = 0; partition < partitions; partition++) insertPartition.run(topic, partition)
    })
  }

  append(
    topic: string,
    partition: number,
    records: readonly LogAppend[],
  ): { baseOffset: number; appendTimeMs: number } {
    if (records.length === 0) throw new InvalidInputError('OPTIONS_INVALID', 'records: expected at least one')
    // Packed before the write lock is taken: others wait for it.
    const batches = packBatches(records)
    return this.#db.transaction('append to', () => {
      const row = this.#find(topic, partition)
      const appendTimeMs = Math.max(Date.now(), row.last_append_ms)
      let offset = row.end_offset
      for (const { layout, body, checksum, count } of batches) {
        this.#insertBatch.run(row.id, offset, offset + count, appendTimeMs, checksum, layout, body)
        offset += count
      }
      this.#updateEnd.run(offset, appendTimeMs, row.id)
      return { baseOffset: row.end_offset, appendTimeMs }
    })
  }

  deleteBefore(topic: string, partition: number, offset: number): void {
    checkWhole('offset', offset, 0)
    const drop = this.#db.prepare('DELETE FROM batch WHERE partition_id = ? AND next_offset <= ?')
    const update = this.#db.prepare('UPDATE partition SET start_offset = ? WHERE id = ?')
    this.#db.transaction('delete from', () => {
      const row = this.#find(topic, partition)
      if (offset > row.end_offset) {
        throw new InvalidInputError('OPTIONS_INVALID', `offset: ${offset} is above the end ${row.end_offset}`)
      }
      if (offset <= row.start_offset) return
      drop.run(row.id, offset)
      update.run(offset, row.id)
    })
  }

  bounds(topic: string, partition: number): { start: number; end: number } {
    const row = this.#db.snapshot('read', () => this.#find(topic, partition))
    return { start: row.start_offset, end: row.end_offset }
  }

  #find(topic: string, partition: number): PartitionRow {
    const row = this.#selectPartition.get(topic, partition) as PartitionRow | undefined
    if (row !== undefined) return row
    const message = `${this.#db.file} has no partition ${partition} of topic ${topic} (it has ${this.count(topic) ?? 0})`
    throw new InvalidInputError('OPTIONS_INVALID', message)
  }

  read(topic: string, partition: number, fromOffset: number, maxBytes: number): LogRecord[] {
    checkWhole('fromOffset', fromOffset, 0)
    return this.#db.snapshot('read', () => {
      const row = this.#find(topic, partition)
      if (fromOffset < row.start_offset || fromOffset > row.end_offset) {
        const message = `offset ${fromOffset} of ${topic}/${partition} in ${this.#db.file} lies outside of its ${row.start_offset} to ${row.end_offset}`
        throw new IntegrityError('LOG_TRUNCATED', message)
      }
      return this.#collect(row, fromOffset, maxBytes)
    })
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
    return new IntegrityError('LOG_INVALID', `batch at offset ${offset} of ${this.#db.file} is damaged: ${reason}`)
  }
}
