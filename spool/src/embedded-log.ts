/**
 * The log that replaces Kafka where there is none: topics, partitions, offsets, append time, and consumer groups with one
 * member at a time. One SQLite file per data directory, shared by any number of processes on one machine.
 * All calls are synchronous and wait for other processes' transactions, which are short.
 */
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { StatementSync } from 'node:sqlite'
import { AuditUnavailableError, InvalidInputError } from '@agent-audit/schemas'
import { Database } from './database.ts'
import { packBatches } from './log-batch.ts'
import type { LogAppend } from './log-batch.ts'
import { EmbeddedLogReader } from './log-reader.ts'
import { checkWhole, EMBEDDED_LOG } from './log-schema.ts'

/**
 * What one call deletes, or gives back. It holds the file's lock: 1.4 ms for 4 MiB to delete, 47 ms for 4 MiB to give back (median
 * on two busy cores, a log of 1 GiB).
 */
const TRIM_BYTES = 2 * 1024 * 1024
const TRIM_BATCHES = 1000
/** Free space that the file keeps for later appends. */
const KEEP_FREE_BYTES = 64 * 1024 * 1024

interface MemberRow {
  epoch: number
  member: string | null
  heartbeat_ms: number
}

/**
 * Reads and writes. A group has one member at a time and an epoch that rises with every join; only the newest epoch
 * commits. Safety rests on the epoch alone: clocks decide only how soon a dead member is replaced.
 */
export class EmbeddedLog extends EmbeddedLogReader {
  readonly #insertBatch: StatementSync
  readonly #updateEnd: StatementSync
  readonly #selectMember: StatementSync

  constructor(db: Database) {
    super(db)
    this.#insertBatch = db.prepare(`INSERT INTO batch
      (partition_id, base_offset, next_offset, append_ms, checksum, layout, body) VALUES (?, ?, ?, ?, ?, ?, ?)`)
    this.#updateEnd = db.prepare('UPDATE partition SET end_offset = ?, last_append_ms = ? WHERE id = ?')
    this.#selectMember = db.prepare('SELECT epoch, member, heartbeat_ms FROM group_member WHERE group_name = ?')
  }

  /**
   * Makes a topic; does nothing when it exists with as many partitions.
   * @throws InvalidInputError `OPTIONS_INVALID` when it exists with another number.
   */
  createTopic(topic: string, partitions: number): void {
    if (topic === '') throw new InvalidInputError('OPTIONS_INVALID', 'topic: expected a name, not an empty string')
    checkWhole('partitions', partitions, 1)
    const insertTopic = this.db.prepare('INSERT INTO topic VALUES (?, ?)')
    const insertPartition = this.db.prepare('INSERT INTO partition (topic, partition) VALUES (?, ?)')
    this.db.transaction(`create topic ${topic} in`, () => {
      const present = this.partitions(topic)
      if (present === partitions) return
      if (present !== undefined) {
        const message = `topic ${topic} of ${this.file} has ${present} partitions, not ${partitions}; their number cannot change`
        throw new InvalidInputError('OPTIONS_INVALID', message)
      }
      insertTopic.run(topic, partitions)
      for (let partition = 0; partition < partitions; partition++) insertPartition.run(topic, partition)
    })
  }

  /**
   * Appends records, at least one, as one transaction: all or none, at offsets without a gap. The append time is taken
   * inside it, and never falls within a partition. Once it has returned, the records survive this process being killed.
   * They survive the loss of power only when the log was opened with `fsync`. Otherwise the loss of power can undo the
   * newest appends of all partitions, from one moment on; the log is then as it was at that moment.
   * After `LOG_UNAVAILABLE` the records may still have been written: sending them again can make duplicates.
   */
  append(
    topic: string,
    partition: number,
    records: readonly LogAppend[],
  ): { baseOffset: number; appendTimeMs: number } {
    if (records.length === 0) throw new InvalidInputError('OPTIONS_INVALID', 'records: expected at least one')
    // Packed before the write lock is taken, because other processes wait for it.
    const batches = packBatches(records)
    return this.db.transaction('append to', () => {
      const row = this.find(topic, partition)
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

  /**
   * Deletes the records below an offset: none of them is read again. One call takes about {@link TRIM_BYTES} off the disk,
   * since other processes wait for it. Records that share a batch with later ones stay on disk.
   * @returns true when the disk holds none of them any more; after false call it again.
   */
  deleteBefore(topic: string, partition: number, offset: number): boolean {
    checkWhole('offset', offset, 0)
    const oldest = this.db.prepare(`SELECT next_offset, length(body) AS bytes FROM batch
      WHERE partition_id = ? AND next_offset <= ? ORDER BY next_offset LIMIT ${TRIM_BATCHES}`)
    const drop = this.db.prepare('DELETE FROM batch WHERE partition_id = ? AND next_offset <= ?')
    const update = this.db.prepare('UPDATE partition SET start_offset = max(start_offset, ?) WHERE id = ?')
    return this.db.transaction('delete from', () => {
      const row = this.find(topic, partition)
      if (offset > row.end_offset) {
        throw new InvalidInputError('OPTIONS_INVALID', `offset: ${offset} is above the end ${row.end_offset}`)
      }
      const batches = oldest.all(row.id, offset) as { next_offset: number; bytes: number }[]
      let bytes = 0
      let upTo = 0
      for (const batch of batches) {
        if (upTo > 0 && bytes + batch.bytes > TRIM_BYTES) break
        bytes += batch.bytes
        upTo = batch.next_offset
      }
      drop.run(row.id, upTo)
      update.run(offset, row.id)
      return batches.length < TRIM_BATCHES && upTo === (batches.at(-1)?.next_offset ?? 0)
    })
  }

  /**
   * Gives free space of the file back to the disk once most of the file is free, in steps as {@link deleteBefore}. What stays
   * free is used by later appends.
   * @returns true when there is nothing to give back; after false call it again.
   */
  giveSpaceBack(): boolean {
    const pragma = (name: string): number => Number(this.db.prepare(`PRAGMA ${name}`).get()?.[name])
    return this.db.use('shrink', () => {
      const [pageBytes, free] = [pragma('page_size'), pragma('freelist_count')]
      if (free * pageBytes < KEEP_FREE_BYTES || free < (pragma('page_count') * 3) / 4) return true
      this.db.prepare(`PRAGMA incremental_vacuum(${Math.ceil(TRIM_BYTES / pageBytes)})`).all()
      // A file of an earlier release gives nothing back.
      return pragma('freelist_count') === free
    })
  }

  /**
   * Joins a group, whose one member owns all partitions. Succeeds when the group has no member, when the member's heartbeat
   * is older than `sessionTimeoutMs` (wall clock), or when it is `member` itself; each success fences all earlier epochs.
   * @param member - Unique to this start of the process.
   * @returns The new epoch, or undefined while another member is alive.
   */
  join(group: string, member: string, sessionTimeoutMs: number): number | undefined {
    if (member === '') throw new InvalidInputError('OPTIONS_INVALID', 'member: expected a name, not an empty string')
    checkWhole('sessionTimeoutMs', sessionTimeoutMs, 0)
    const upsert = this.db.prepare('INSERT OR REPLACE INTO group_member VALUES (?, ?, ?, ?)')
    return this.db.transaction(`join group ${group} in`, () => {
      const row = this.#selectMember.get(group) as MemberRow | undefined
      const nowMs = Date.now()
      if (row !== undefined && row.member !== member && isAlive(row, nowMs, sessionTimeoutMs)) return undefined
      const epoch = (row?.epoch ?? 0) + 1
      upsert.run(group, epoch, member, nowMs)
      return epoch
    })
  }

  /** Records that the member of this epoch is alive. @returns false when it was fenced: stop all work. */
  heartbeat(group: string, epoch: number): boolean {
    const update = this.db.prepare(
      'UPDATE group_member SET heartbeat_ms = ? WHERE group_name = ? AND epoch = ? AND member IS NOT NULL',
    )
    return this.db.transaction('write a heartbeat to', () => update.run(Date.now(), group, epoch).changes === 1)
  }

  /**
   * Commits an offset for the group. @returns false when a later epoch has fenced this one, or it has left: nothing is
   * written then, however long the caller was paused before.
   *
   * The epoch is compared inside the write lock. Otherwise: this process compares and is paused; another one joins and
   * reads the offset committed so far; this one wakes up and overwrites it.
   */
  commit(group: string, epoch: number, topic: string, partition: number, offset: number, metadata: string): boolean {
    checkWhole('offset', offset, 0)
    const upsert = this.db.prepare('INSERT OR REPLACE INTO committed VALUES (?, ?, ?, ?, ?)')
    return this.db.transaction('commit to', () => {
      const row = this.#selectMember.get(group) as MemberRow | undefined
      if (row === undefined || row.epoch !== epoch || row.member === null) return false
      upsert.run(group, topic, partition, offset, metadata)
      return true
    })
  }

  /** Leaves the group, so that the next join succeeds at once. Does nothing when fenced. */
  leave(group: string, epoch: number): void {
    const update = this.db.prepare('UPDATE group_member SET member = NULL WHERE group_name = ? AND epoch = ?')
    this.db.transaction(`leave group ${group} in`, () => update.run(group, epoch))
  }
}

/** A heartbeat far in the future counts as old: the clock was set back since, and a live member sends another one. */
function isAlive(row: MemberRow, nowMs: number, sessionTimeoutMs: number): boolean {
  return row.member !== null && Math.abs(nowMs - row.heartbeat_ms) < sessionTimeoutMs
}

export interface EmbeddedLogOptions {
  /** The data directory; made, readable by its owner only, when it is missing. */
  readonly directory: string
  /** How long a call waits for other processes before it throws `LOG_UNAVAILABLE`, milliseconds. @defaultValue 10000 */
  readonly busyTimeoutMs?: number | undefined
  /** Whether acknowledged records also survive the loss of power: one fsync per transaction. @defaultValue false */
  readonly fsync?: boolean | undefined
}

const DEFAULT_BUSY_TIMEOUT_MS = 10_000

/** Path of the embedded log in a data directory. */
export function embeddedLogFile(directory: string): string {
  return join(directory, 'log.sqlite')
}

/**
 * Opens the log of a data directory, and makes it when it is missing.
 * @throws AuditUnavailableError `LOG_UNAVAILABLE`: disk, rights, or other processes that hold it too long.
 * @throws IntegrityError `LOG_INVALID`: the file is not an embedded log, or is damaged.
 */
export function openEmbeddedLog(options: EmbeddedLogOptions): EmbeddedLog {
  const file = embeddedLogFile(options.directory)
  if (!existsSync(file)) {
    Database.createShared(EMBEDDED_LOG, file, (db) => {
      const insert = db.prepare('INSERT INTO log VALUES (?, ?)')
      db.use('create', () => insert.run(randomUUID(), Date.now()))
    })
  }
  return open(file, 'shared', options)
}

/**
 * Opens the log of a data directory for reading only, also while other processes write.
 * @throws AuditUnavailableError `LOG_UNAVAILABLE` when there is none.
 */
export function openEmbeddedLogReader(options: EmbeddedLogOptions): EmbeddedLogReader {
  const file = embeddedLogFile(options.directory)
  if (!existsSync(file)) throw new AuditUnavailableError('LOG_UNAVAILABLE', `there is no embedded log at ${file}`)
  return open(file, 'read', options)
}

/** With access `read` SQLite refuses every write. */
function open(file: string, access: 'shared' | 'read', options: EmbeddedLogOptions): EmbeddedLog {
  const busyTimeoutMs = options.busyTimeoutMs ?? DEFAULT_BUSY_TIMEOUT_MS
  checkWhole('busyTimeoutMs', busyTimeoutMs, 0)
  const db = new Database(EMBEDDED_LOG, file, { access, busyTimeoutMs, fsync: options.fsync ?? false })
  try {
    return new EmbeddedLog(db)
  } catch (error) {
    db.close()
    throw error
  }
}
