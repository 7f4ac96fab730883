/**
 * The proof at any time: every offset of every log partition accounted for once, and every run's numbers without a gap
 * and without a repeat. It reads what is stored and trusts nothing else.
 */
import type { Analytics } from './clickhouse.ts'
import { COPIES, LOGS, LOST, OFFSET_STEPS, PARTITIONS, RUN_STEPS, RUNS } from './completeness-queries.ts'
import { countRange, type Range, split } from './ranges.ts'

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
  /** There are more gaps or repeats than are named here. */
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
  readonly repeats: readonly { readonly offset: number; readonly times: number }[]
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
  /** Numbers neither stored, nor dead-lettered, nor explained by an events_lost event of the run. */
  readonly missing: number
  readonly repeated: number
  readonly gaps: readonly Range[]
  /** Numbers not stored, and an events_lost event says so. */
  readonly lost: readonly Range[]
  readonly repeats: readonly RepeatedEvent[]
}

export interface RepeatedEvent {
  readonly run_seq: number
  readonly times: number
  readonly places: readonly { readonly log_id: string; readonly partition: number; readonly offset: number }[]
}

const DEFAULT_MAX_FINDINGS = 10_000

type Row = Record<string, unknown>

interface Step {
  readonly before: number
  readonly at: number
  readonly times: number
}

/**
 * Checks all that is stored.
 * @throws TrailError as {@link Analytics.rows}: then nothing is known.
 */
export async function completeness(analytics: Analytics, options: CompletenessOptions = {}): Promise<Completeness> {
  const limit = options.maxFindings ?? DEFAULT_MAX_FINDINGS
  const partitions = await checkPartitions(analytics, limit)
  const runs = await checkRuns(analytics, limit)
  const all = [...partitions.reports, ...runs.reports]
  const sum = (key: 'events' | 'duplicates' | 'dead_letters' | 'holes'): number =>
    partitions.reports.reduce((total, report) => total + report[key], 0)
  return {
    verdict: verdictOf(all),
    events: sum('events'),
    skipped: { duplicate: sum('duplicates'), dead: sum('dead_letters'), hole: sum('holes') },
    partitions: partitions.reports,
    runs: runs.reports,
    truncated: partitions.truncated || runs.truncated,
  }
}

function verdictOf(reports: readonly { missing: number; repeated: number }[]): Completeness['verdict'] {
  if (reports.some(({ repeated }) => repeated > 0)) return 'repeated'
  return reports.some(({ missing }) => missing > 0) ? 'gaps' : 'complete'
}

async function checkPartitions(
  analytics: Analytics,
  limit: number,
): Promise<{ reports: PartitionReport[]; truncated: boolean }> {
  const rows = await analytics.rows<Row>(PARTITIONS)
  const logs = new Map((await analytics.rows<Row>(LOGS)).map((row) => [row['log_id_hex'], row]))
  const uneven = rows.some(
    (row) => number(row, 'rows') !== number(row, 'different') || spanOf(row) !== number(row, 'different'),
  )
  const found = uneven ? await analytics.rows<Row>(OFFSET_STEPS, { limit }) : []
  const steps = Map.groupBy(found, (row) => `${String(row['log_id_hex'])}/${String(row['log_partition'])}`)
  const reports = rows.map((row) => {
    const logId = String(row['log_id_hex'])
    const log = logs.get(logId)
    const { gaps, repeats } = sorted(steps.get(`${logId}/${String(row['log_partition'])}`))
    return {
      log_id: logId,
      topic: log === undefined ? null : String(log['topic']),
      source_id: log === undefined ? null : String(log['source_id']),
      partition: number(row, 'log_partition'),
      first_offset: number(row, 'first'),
      last_offset: number(row, 'last'),
      events: number(row, 'events'),
      duplicates: number(row, 'duplicates'),
      dead_letters: number(row, 'dead_letters'),
      holes: number(row, 'holes'),
      missing: spanOf(row) - number(row, 'different'),
      repeated: number(row, 'rows') - number(row, 'different'),
      gaps,
      repeats: repeats.map(({ at, times }) => ({ offset: at, times: times + 1 })),
    }
  })
  return { reports, truncated: found.length >= limit }
}

async function checkRuns(analytics: Analytics, limit: number): Promise<{ reports: RunReport[]; truncated: boolean }> {
  const rows = await analytics.rows<Row>(RUNS)
  const uneven = rows.some(
    (row) => number(row, 'events') !== number(row, 'different') || number(row, 'last') + 1 !== number(row, 'different'),
  )
  const found = uneven ? await analytics.rows<Row>(RUN_STEPS, { limit }) : []
  const lost = uneven ? await analytics.rows<Row>(LOST) : []
  const copies = await findCopies(analytics, found)
  const stepsOf = Map.groupBy(found, runOf)
  const lostOf = Map.groupBy(lost, runOf)
  const copiesOf = Map.groupBy(copies, runOf)
  const reports = rows.map((row) =>
    reportRun(row, stepsOf.get(runOf(row)) ?? [], lostOf.get(runOf(row)) ?? [], copiesOf.get(runOf(row)) ?? []),
  )
  return { reports, truncated: found.length >= limit }
}

function reportRun(row: Row, steps: readonly Row[], lost: readonly Row[], copies: readonly Row[]): RunReport {
  const { gaps, repeats } = sorted(steps)
  const explained = split(gaps, lost.flatMap(lostRange))
  return {
    run_id: runOf(row),
    producer_id: String(row['producer_id']),
    state: number(row, 'closed') === 1 ? 'closed' : 'open',
    first_run_seq: number(row, 'first'),
    last_run_seq: number(row, 'last'),
    events: number(row, 'events'),
    missing: explained.outside.reduce((total, range) => total + countRange(range), 0),
    repeated: number(row, 'events') - number(row, 'different'),
    gaps: explained.outside,
    lost: explained.inside,
    repeats: repeats.map(({ at, times }) => ({ run_seq: at, times: times + 1, places: placesOf(copies, at) })),
  }
}

async function findCopies(analytics: Analytics, steps: readonly Row[]): Promise<Row[]> {
  const repeated = steps.filter((row) => number(row, 'at') === number(row, 'before'))
  if (repeated.length === 0) return []
  return await analytics.rows<Row>(COPIES, {
    runs: repeated.map(runOf),
    numbers: repeated.map((row) => number(row, 'at')),
  })
}

function placesOf(copies: readonly Row[], runSeq: number): RepeatedEvent['places'] {
  const places = copies.filter((row) => number(row, 'run_seq') === runSeq)
  return places.map((row) => ({
    log_id: String(row['log_id_hex']),
    partition: number(row, 'log_partition'),
    offset: number(row, 'log_offset'),
  }))
}

function sorted(rows: readonly Row[] = []): { gaps: Range[]; repeats: Step[] } {
  const steps = rows.map((row) => ({
    before: number(row, 'before'),
    at: number(row, 'at'),
    times: number(row, 'times'),
  }))
  return {
    gaps: steps
      .filter(({ before, at }) => at > before + 1)
      .map(({ before, at }) => ({ first: before + 1, last: at - 1 })),
    repeats: steps.filter(({ before, at }) => at === before),
  }
}

function lostRange(row: Row): Range[] {
  if (row['first'] === null || row['last'] === null) return []
  return [{ first: number(row, 'first'), last: number(row, 'last') }]
}

function runOf(row: Row): string {
  return String(row['run_id_hex'])
}

function spanOf(row: Row): number {
  return number(row, 'span')
}

function number(row: Row, key: string): number {
  return Number(row[key])
}
