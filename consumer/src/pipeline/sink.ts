/** Where rows go, and what the consumer asks about them: ClickHouse, behind the one interface the rest knows. */
import type { LogPartition } from '@agent-audit/kafka'

/** Offsets `[first, last]`, both accounted for, as everything between. */
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

export type Table = 'audit_events' | 'audit_skipped'

/** One insert: one block of one partition of one table, all or nothing. */
export interface Insert {
  readonly table: Table
  /** An Avro object container with one block, in pieces. */
  readonly body: readonly Buffer[]
  /** Unique for every send; starts with {@link insertPrefix}. */
  readonly queryId: string
  /** The same for every send of this body: should two of them arrive, the second one is dropped. */
  readonly token: string
  /** F of the lease, and the server time after which ClickHouse refuses the insert. Milliseconds. */
  readonly fencedAt: number
  readonly deadline: number
}

/**
 * What became of an insert, with the server's reason. After `bad-data` and `refused` it surely left no rows: the first
 * blames what is in the block, and would be the answer again; the second blames anything else, and may pass. `unclear`: no
 * answer, or one that does not say; the insert may still land until the deadline has passed.
 */
export type InsertAnswer =
  | { readonly kind: 'stored' }
  | { readonly kind: 'bad-data' | 'refused' | 'unclear'; readonly reason: string }

/** All methods but `insert` throw AuditUnavailableError `STORE_UNAVAILABLE` when ClickHouse cannot be reached. */
export interface Sink {
  /** The server's clock, milliseconds since 1970. */
  now(): Promise<number>
  /** How many inserts for this partition the server is working on. */
  runningInserts(place: LogPartition): Promise<number>
  /** Ranges of accounted offsets from `from` on, in order, over both tables together. */
  accounted(place: LogPartition, from: number): Promise<OffsetRange[]>
  /** How many dead letters, at most `limit`, follow one another just below an offset; holes between them do not count. */
  deadInARow(place: LogPartition, below: number, limit: number): Promise<number>
  /** Identity of the record stored or skipped at an offset; undefined if there is no row, or it has none. */
  identityAt(place: LogPartition, offset: number): Promise<RecordIdentity | undefined>
  /** Highest run_seq stored from each of these runs; runs without a row are left out. Keys are 32 hex digits. */
  highestSeqs(place: LogPartition, runIds: readonly string[]): Promise<Map<string, number>>
  /** Those of the records that are in audit_events already. */
  stored(place: LogPartition, records: readonly RecordIdentity[]): Promise<RecordIdentity[]>
  /** Sends an insert, once. Never throws. */
  insert(insert: Insert): Promise<InsertAnswer>
}

/** What the query ids of all inserts for a partition start with: how they are found in the server's process list. */
export function insertPrefix(place: LogPartition): string {
  return `audit-${place.logId.toString('hex')}-${place.partition}-`
}
