/** The report of `completeness`. */
import type { DeadLetter, RecordPosition } from '../queries/dead-letters.ts'
import type { Range } from './ranges.ts'

export interface Completeness {
  /**
   * repeated: a row is stored twice; conflict: a duplicate is no copy of the stored record that has its number; overstated: an
   * expiry note claims more than retention may have dropped; gaps: a number is missing; claimed: only another run or a dead
   * letter explains why a number is missing; complete: none of these. Of several, the first one.
   */
  readonly verdict: 'complete' | 'repeated' | 'conflict' | 'overstated' | 'gaps' | 'claimed'
  readonly events: number
  /** Offsets without an event, by reason. */
  readonly skipped: { readonly duplicate: number; readonly dead: number; readonly hole: number }
  /** Offsets that retention has dropped, as expiry notes say. */
  readonly expired: number
  /** Forged rows that are in quarantine. No other figure counts them: an offset that has no other row is missing. */
  readonly quarantined: number
  readonly partitions: readonly PartitionReport[]
  readonly runs: readonly RunReport[]
  /** Records that could not be stored, the latest first, with their replays. */
  readonly dead_letters: readonly DeadLetter[]
  /** Whether there are more gaps, repeats or dead letters than the report names. */
  readonly truncated: boolean
}

/** The report without its runs, which may be many. */
export type CompletenessSummary = Omit<Completeness, 'runs'>

/**
 * One partition of one log. It begins at the first offset that a row or an expiry note accounts for: whether an older consumer skipped offsets
 * before it is not known.
 */
export interface PartitionReport {
  /** 16 hex digits. */
  readonly log_id: string
  /** Null if the log is not registered. */
  readonly topic: string | null
  readonly source_id: string | null
  readonly partition: number
  readonly first_offset: number
  readonly last_offset: number
  readonly events: number
  readonly duplicates: number
  readonly dead_letters: number
  readonly holes: number
  /** Duplicates that are no copy of a stored record: two records have one run_id and run_seq. */
  readonly conflicts: number
  readonly conflicting: readonly Conflict[]
  /** Duplicates of records that have expired: they cannot be compared any more. */
  readonly uncompared: number
  /** Offsets that neither a row nor an expiry note accounts for. */
  readonly missing: number
  /** Offsets without a row that an expiry note covers. */
  readonly expired: number
  /** Offsets whose row an expiry note covers: it is to be dropped. */
  readonly expiring: number
  /**
   * Offsets that an expiry note should not name: their row has another class or month; two notes claim them for different
   * ones; or a row two months younger than the noted month lies below them, so they were appended later.
   */
  readonly overstated: number
  /** Rows beyond the first of their offset. */
  readonly repeated: number
  readonly gaps: readonly Range[]
  readonly repeats: readonly RepeatedOffset[]
}

/** A duplicate that is no copy. Its bytes are in audit_skipped, those of the stored record in audit_events. */
export interface Conflict {
  /** 32 hex digits. */
  readonly run_id: string
  readonly run_seq: number
  /** Of the duplicate. */
  readonly offset: number
  /** Of the stored record with that number, in the same partition. Null if there is none, and no expiry note says that there was. */
  readonly stored_offset: number | null
  /** bytes lost: the duplicate has no bytes that could be compared, though the consumer keeps them. */
  readonly found: 'other record' | 'not stored' | 'bytes lost'
}

export interface RepeatedOffset {
  readonly offset: number
  readonly times: number
  /** Whether its rows differ: then it is no repeat, a row was changed. */
  readonly altered: boolean
}

/**
 * One run of a producer. Its numbers begin at 0; the report expects none after the last stored one. A run of which all events
 * have expired is in no report.
 */
export interface RunReport {
  /** 32 hex digits. */
  readonly run_id: string
  readonly producer_id: string
  /**
   * closed: its trail_stopped is stored, or it is the run of a replay, which has one event. open: it still runs, or crashed; more
   * events may come.
   */
  readonly state: 'closed' | 'open'
  readonly first_run_seq: number
  readonly last_run_seq: number
  readonly events: number
  /**
   * Numbers that are neither stored, nor explained by an events_lost event of the run, nor claimed, nor pending, nor noted as
   * expired.
   * All of them, also where the report names fewer; above maxFindings in one run, a number that no named finding explains counts.
   */
  readonly missing: number
  readonly repeated: number
  /** Numbers that are not stored any more, as an expiry note says. */
  readonly expired: number
  /** Numbers noted as expired whose event has another class than the note says, or is older than its month. */
  readonly overstated: number
  /** Numbers that are not stored, and that only another run or a dead letter explains. */
  readonly claimed: number
  readonly gaps: readonly RunGap[]
  /** Numbers that are not stored, as an events_lost event of the run itself says. */
  readonly lost: readonly Range[]
  readonly claims: readonly Claim[]
  /** Numbers that are not stored yet: the consumer has not read a partition of the log that far. For an hour at most. */
  readonly pending: readonly RunGap[]
  readonly repeats: readonly RepeatedEvent[]
}

/** Numbers without an event. */
export interface RunGap extends Range {
  /** The stored record with the next number: it shows that there are such numbers. */
  readonly shown_by: RecordPosition
}

/**
 * Numbers without an event, and the record that explains why. A party that may write the log can send such a record for any
 * run, so it is no proof.
 */
export interface Claim extends Range {
  /** `dead letter`: a record that could not be stored seems to have the number. `events_lost`: that event of another run names it. */
  readonly by: 'dead letter' | 'events_lost'
  /** Of the events_lost event, 32 hex digits. Null for a dead letter. */
  readonly by_run: string | null
  /** Of the first such record. Null where it has expired. */
  readonly position: RecordPosition | null
}

export interface RepeatedEvent {
  readonly run_seq: number
  readonly times: number
  /** Whether the copies differ. */
  readonly altered: boolean
  readonly positions: readonly RecordPosition[]
}
