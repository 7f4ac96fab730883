/**
 * The log that stands in for Kafka where there is none: topics, partitions, offsets, append time, one consumer group
 * member at a time. One SQLite file a data directory, shared by any number of processes on one machine.
 * All calls are synchronous and wait for other processes' transactions, which are short.
 */
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import { Database } from './database.ts'
import type { LogAppend, LogRecord } from './log-batch.ts'
import { LogGroups } from './log-groups.ts'
import type { CommittedOffset } from './log-groups.ts'
import { LogPartitions } from './log-partitions.ts'
import { checkWhole, EMBEDDED_LOG } from './log-schema.ts'

/** What can be done without writing. */
export interface EmbeddedLogReader {
  /** UUID made at creation, as Kafka's cluster id. */
  readonly id: string
  /** Path of the file. */
  readonly file: string
  /** Names of all topics, sorted. */
  topics(): string[]
  /** Number of partitions of a topic, or undefined when there is no such topic. */
  partitions(topic: string): number | undefined
  /**
   * Records from an offset on, in order, as many as fit into `maxBytes` of keys and values, and at least one if there
   * is one; empty at the end. Keys and values view memory shared within a batch: copy what is kept long.
   * @throws IntegrityError `LOG_TRUNCATED` when the offset lies before the start or after the end;
   * `LOG_INVALID` when what is stored is not what was written.
   */
  read(topic: string, partition: number, fromOffset: number, maxBytes: number): readonly LogRecord[]
  /** First offset kept, and the next one to be written. */
  bounds(topic: string, partition: number): { start: number; end: number }
  /** What the group last committed for a partition. */
  committed(group: string, topic: string, partition: number): CommittedOffset | undefined
  /**
   * Whether anything was written since the last call, by any process, this one too; true at the first call. Costs a
   * microsecond or two: poll it, then read. May be true for a write that is of no interest; never misses one.
   */
  changed(): boolean
  /** Calling it again does nothing. */
  close(): void
}

export interface EmbeddedLog extends EmbeddedLogReader {
  /**
   * Makes a topic; does nothing when it exists with as many partitions.
   * @throws InvalidInputError `OPTIONS_INVALID` when it exists with another number.
   */
  createTopic(topic: string, partitions: number): void
  /**
   * Appends records, at least one, as one transaction: all or none, at offsets without a gap. The append time is taken
   * inside it, and never falls within a partition. Once it has returned the records survive this process being
   * killed; the loss of power only when the log was opened with `fsync`: otherwise the newest appends, of all
   * partitions from one moment on, can be lost then, and what is left is as it was at that moment.
   * After `LOG_UNAVAILABLE` the records may still have been written: sending them again can make duplicates.
   */
  append(topic: string, partition: number, records: readonly LogAppend[]): { baseOffset: number; appendTimeMs: number }
  /** Drops the records below an offset; those that share a batch with later ones stay on disk, but are not read again. */
  deleteBefore(topic: string, partition: number, offset: number): void
  /**
   * Joins a group, whose one member owns all partitions. Succeeds when nobody is a member, when the member's heartbeat
   * is older than `sessionTimeoutMs` (wall clock), or when it is `member` itself; each success fences all epochs before.
   * @param member - Unique to this start of the process.
   * @returns The new epoch, or undefined while another member lives.
   */
  join(group: string, member: string, sessionTimeoutMs: number): number | undefined
  /** Says that the member of this epoch lives. @returns false when it was fenced: stop all work. */
  heartbeat(group: string, epoch: number): boolean
  /**
   * Commits an offset for the group. @returns false when a later epoch has fenced this one, or it has left: nothing is
   * written then, however long the caller was paused before.
   */
  commit(group: string, epoch: number, topic: string, partition: number, offset: number, metadata: string): boolean
  /** Leaves the group, so that the next join succeeds at once. Does nothing when fenced. */
  leave(group: string, epoch: number): void
}

export interface EmbeddedLogOptions {
  /** The data directory; made, for its owner only, when it is missing. */
  readonly directory: string
  /** How long a call waits for other processes before it throws `LOG_UNAVAILABLE`, milliseconds. @defaultValue 10000 */
  readonly busyTimeoutMs?: number | undefined
  /** Whether what is acknowledged also survives the loss of power: one fsync a transaction. @defaultValue false */
  readonly fsync?: boolean | undefined
}

const DEFAULT_BUSY_TIMEOUT_MS = 10_000

/** Path of the embedded log in a data directory. */
export function embeddedLogFile(directory: string): string {
  return join(directory, 'log.sqlite')
}

/**
 * Opens the log of a data directory, and makes it when it is not there.
 * @throws AuditUnavailableError `LOG_UNAVAILABLE`: disk, rights, or other processes holding it too long.
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

function open(file: string, access: 'shared' | 'read', options: EmbeddedLogOptions): EmbeddedLog {
  const busyTimeoutMs = options.busyTimeoutMs ?? DEFAULT_BUSY_TIMEOUT_MS
  checkWhole('busyTimeoutMs', busyTimeoutMs, 0)
  const db = new Database(EMBEDDED_LOG, file, { access, busyTimeoutMs, fsync: options.fsync ?? false })
  try {
    return composeLog(db)
  } catch (error) {
    db.close()
    throw error
  }
}

function composeLog(db: Database): EmbeddedLog {
  const partitions = new LogPartitions(db)
  const groups = new LogGroups(db)
  return {
    id: idOf(db),
    file: db.file,
    topics: () => partitions.topics(),
    partitions: (topic) => partitions.count(topic),
    createTopic: (topic, count) => partitions.createTopic(topic, count),
    append: (topic, partition, records) => partitions.append(topic, partition, records),
    read: (topic, partition, fromOffset, maxBytes) => partitions.read(topic, partition, fromOffset, maxBytes),
    bounds: (topic, partition) => partitions.bounds(topic, partition),
    deleteBefore: (topic, partition, offset) => partitions.deleteBefore(topic, partition, offset),
    join: (group, member, sessionTimeoutMs) => groups.join(group, member, sessionTimeoutMs),
    heartbeat: (group, epoch) => groups.heartbeat(group, epoch),
    commit: (group, epoch, ...place) => groups.commit(group, epoch, ...place),
    committed: (group, topic, partition) => groups.committed(group, topic, partition),
    leave: (group, epoch) => groups.leave(group, epoch),
    changed: () => db.changed(),
    close: () => db.close(),
  }
}

function idOf(db: Database): string {
  const statement = db.prepare('SELECT id FROM log')
  const row = db.use('read', () => statement.get() as { id: string } | undefined)
  if (row === undefined) throw new IntegrityError('LOG_INVALID', `${db.file} has no id`)
  return row.id
}
