/**
 * The proof at any time: every offset of every log partition accounted for once, and every run's numbers without a gap
 * and without a repeat. It reads what is stored and trusts nothing else.
 */
import { checkPartitions } from './check-partitions.ts'
import { checkRuns } from './check-runs.ts'
import type { Analytics } from '../connection/clickhouse.ts'
import { type DeadLetter, deadLetters } from '../queries/dead-letters.ts'
import type { Range } from './ranges.ts'

export interface CompletenessOptions {
  /** Gaps and repeats named at most, of partitions and of runs each; beyond it the report says `truncated`. @defaultValue 10000 */
  readonly maxFindings?: number | undefined
}

export interface Completeness {
  /** repeated: something is stored twice; gaps: something is missing (both: repeated); complete: neither. */
  readonly verdict: 'complete' | 'repeated' | 'gaps'
  readonly events: number
  /** Offsets that became no event, by reason. */
  readonly skipped: { readonly duplicate: number; readonly dead: number; readonly hole: number }
  readonly partitions: readonly PartitionReport[]
  readonly runs: readonly RunReport[]
  /** Records that could not be stored, the latest first, and what became of them. */
  readonly dead_letters: readonly DeadLetter[]
  /** There are more gaps, repeats or dead letters than are named here. */
  readonly truncated: boolean
}

/** One partition of one log. It begins at the first offset it accounts for: what an older consumer skipped is not known. */
export interface PartitionReport {
  /** 16 hex digits. */
  readonly log_id: string
  /** Null if nobody registered the log. */
  readonly topic: string | null
  readonly source_id: string | null
  readonly partition: number
  readonly first_offset: number
  readonly last_offset: number
  readonly events: number
  readonly duplicates: number
  readonly dead_letters: number
  readonly holes: number
  /** Offsets that no row accounts for, and rows beyond the first of an offset. */
  readonly missing: number
  readonly repeated: number
  readonly gaps: readonly Range[]
  readonly repeats: readonly RepeatedOffset[]
}

export interface RepeatedOffset {
  readonly offset: number
  readonly times: number
  /** Its rows do not say the same: nobody repeated it, somebody changed it. */
  readonly altered: boolean
}

/** One run of a producer. Its numbers begin at 0; after the last stored one nothing is expected. */
export interface RunReport {
  /** 32 hex digits. */
  readonly run_id: string
  readonly producer_id: string
  /** closed: its trail_stopped is stored. open: still running, or crashed; more may come. */
  readonly state: 'closed' | 'open'
  readonly first_run_seq: number
  readonly last_run_seq: number
  readonly events: number
  /** Numbers neither stored, nor dead-lettered, nor explained by an events_lost event of the run, nor pending. */
  readonly missing: number
  readonly repeated: number
  readonly gaps: readonly Range[]
  /** Numbers not stored, and an events_lost event says so. */
  readonly lost: readonly Range[]
  /** Numbers not stored that may still come: a partition of the log is not read that far yet. */
  readonly pending: readonly Range[]
  readonly repeats: readonly RepeatedEvent[]
}

export interface RepeatedEvent {
  readonly run_seq: number
  readonly times: number
  /** The copies do not say the same. */
  readonly altered: boolean
  readonly places: readonly { readonly log_id: string; readonly partition: number; readonly offset: number }[]
}

const DEFAULT_MAX_FINDINGS = 10_000

/**
 * Checks all that is stored.
 * @throws TrailError as {@link Analytics.rows}: then nothing is known.
 */
export async function completeness(analytics: Analytics, options: CompletenessOptions = {}): Promise<Completeness> {
  const limit = options.maxFindings ?? DEFAULT_MAX_FINDINGS
  const partitions = await checkPartitions(analytics, limit)
  const runs = await checkRuns(analytics, limit)
  const all = [...partitions.reports, ...runs.reports]
  const dead = all.some((report) => 'dead_letters' in report && report.dead_letters > 0)
  const letters = dead ? await deadLetters(analytics, { limit }) : []
  const sum = (key: 'events' | 'duplicates' | 'dead_letters' | 'holes'): number =>
    partitions.reports.reduce((total, report) => total + report[key], 0)
  return {
    verdict: verdictOf(all),
    events: sum('events'),
    skipped: { duplicate: sum('duplicates'), dead: sum('dead_letters'), hole: sum('holes') },
    partitions: partitions.reports,
    runs: runs.reports,
    dead_letters: letters,
    truncated: partitions.truncated || runs.truncated || letters.length >= limit,
  }
}

function verdictOf(reports: readonly { missing: number; repeated: number }[]): Completeness['verdict'] {
  if (reports.some(({ repeated }) => repeated > 0)) return 'repeated'
  return reports.some(({ missing }) => missing > 0) ? 'gaps' : 'complete'
}
