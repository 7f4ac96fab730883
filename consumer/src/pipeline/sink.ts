/** The seam to the store: ClickHouse for inserts and for queries about rows, behind the one interface that the pipeline knows. */
import { randomBytes } from 'node:crypto'
import type { LogPartition } from '@agent-audit/kafka'

/** Offsets `[first, last]`, all of them accounted for: each has a row in one of the two tables, or an expiry note. */
export interface OffsetRange {
  readonly first: number
  readonly last: number
}

/** Identity of a record without its bytes. */
export interface RecordIdentity {
  /** 32 hex digits. */
  readonly runId: string
  readonly runSeq: number
}

/** A record of audit_events. Not a {@link StoredRow}: that one may be a skipped row, so its fields may be null; none of these is. */
export interface StoredRecord extends RecordIdentity {
  readonly offset: number
  /** UUID, lower case. */
  readonly eventId: string
}

/** A row of one of the two tables, as far as the consumer may read it: where it lies, and which record it says it is. */
export interface StoredRow {
  readonly offset: number
  /** `event`, or the kind of a skipped row. */
  readonly kind: string
  /** 32 hex digits, and the number; null where a skipped row has none. */
  readonly runId: string | null
  readonly runSeq: number | null
  /** Of an event. */
  readonly eventId: string | null
  readonly logTimeMs: number
  readonly retentionClass: string
  /** Of a skipped row. */
  readonly reason: string | null
}

export type Table = 'audit_events' | 'audit_skipped'

/** One insert: one block for one partition of one table, all or nothing. Its rows may be of several partitions of the log. */
export interface Insert {
  readonly table: Table
  /** An Avro object container with one block, in pieces. */
  readonly body: readonly Buffer[]
  /** Unique for every send: {@link insertId}. */
  readonly queryId: string
  /** The same for every send of this body: if two of them arrive, the server drops the second. */
  readonly token: string
  /** F of the lease, and the server time after which ClickHouse refuses the insert. Milliseconds. */
  readonly fencedAt: number
  readonly deadline: number
}

/**
 * The result of an insert, with the server's reason. After `bad-data` and `refused` it left no rows: the first blames the
 * content of the block, and would come again; the second blames anything else, and a retry may pass. `unclear`: no answer, or
 * one that does not say; the insert may still land until the deadline has passed.
 */
export type InsertAnswer =
  | { readonly kind: 'stored' }
  | { readonly kind: 'bad-data'; readonly reason: string }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'unclear'; readonly reason: string }

/** All methods but `insert` throw AuditUnavailableError: `STORE_UNAVAILABLE` when ClickHouse cannot be reached, `STORE_LIMIT` at a time-out. */
export interface Sink {
  /** The server's clock, milliseconds since 1970. */
  now(): Promise<number>
  /** Count of inserts for this partition that the server is working on. */
  runningInserts(logPartition: LogPartition): Promise<number>
  /** Ranges of offsets with a row from `from` on, in order, over both tables together. */
  accounted(logPartition: LogPartition, from: number): Promise<OffsetRange[]>
  /** Count of distinct offsets with a row, over both tables together. */
  countOffsets(logPartition: LogPartition, range: OffsetRange): Promise<number>
  /** Ranges of offsets from `from` on that expiry notes cover. In order; they may overlap, and their rows may be there still. */
  expired(logPartition: LogPartition, from: number): Promise<OffsetRange[]>
  /** Count of consecutive dead letters just below an offset, at most `limit`. Holes between them do not break the row. */
  deadInARow(logPartition: LogPartition, below: number, limit: number): Promise<number>
  /**
   * Rows between two offsets, in order: those that count, or those in quarantine. At most one more than there are offsets: then
   * some offset has rows that differ.
   */
  rowsBetween(logPartition: LogPartition, range: OffsetRange, which: 'counting' | 'quarantined'): Promise<StoredRow[]>
  /** Offsets whose every row is quarantined, in order. */
  quarantined(logPartition: LogPartition): Promise<number[]>
  /** Highest run_seq stored from each of these runs; runs without a row are left out. Keys are 32 hex digits. */
  highestSeqs(logPartition: LogPartition, runIds: readonly string[]): Promise<Map<string, number>>
  /** The given records that are in audit_events already. */
  stored(logPartition: LogPartition, records: readonly RecordIdentity[]): Promise<StoredRecord[]>
  /** Sends an insert, once. Never throws. */
  insert(insert: Insert): Promise<InsertAnswer>
}

/** A new query id of an insert. It names every partition of the log that has rows in it. */
export function insertId(logPartitions: readonly LogPartition[]): string {
  return `audit_${logPartitions.map(nameOf).join('_')}_${randomBytes(8).toString('hex')}`
}

/** Part of the query ids of all inserts with rows of a partition, and of no other: the server's process list is searched for it. */
export function insertMark(logPartition: LogPartition): string {
  return `_${nameOf(logPartition)}_`
}

function nameOf({ logId, partition }: LogPartition): string {
  return `${logId.toString('hex')}-${partition}`
}
