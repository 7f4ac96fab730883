/**
 * The check of completeness: every offset of every log partition is accounted for once, and every run's numbers have no gap
 * and no repeat. It reads the stored rows and trusts no other source.
 */
import { checkPartitions } from './check-partitions.ts'
import { checkRuns, type TakeRun } from './check-runs.ts'
import type { Analytics } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import { deadLetters } from '../queries/dead-letters.ts'
import type { Completeness, CompletenessSummary, RunReport } from './completeness-report.ts'

export interface CompletenessOptions {
  /** Most gaps and repeats that the report names, of partitions and of runs each; above, it says `truncated`. @defaultValue 10000 */
  readonly maxFindings?: number | undefined
}

const DEFAULT_MAX_FINDINGS = 10_000

/**
 * Checks everything that is stored, and holds the reports of all runs: a few hundred bytes a run. For millions of runs:
 * {@link checkCompleteness}.
 * @throws TrailError as {@link Analytics.rows}: then the check has no result.
 */
export async function completeness(analytics: Analytics, options: CompletenessOptions = {}): Promise<Completeness> {
  const runs: RunReport[] = []
  const { verdict, events, skipped, expired, quarantined, partitions, ...rest } = await checkCompleteness(
    analytics,
    (run) => void runs.push(run),
    options,
  )
  return { verdict, events, skipped, expired, quarantined, partitions, runs, ...rest }
}

/**
 * The check of {@link completeness} in bounded memory, for any number of runs.
 * @param take - Gets the report of each run; its promise delays the next one. Runs come in groups of about 100,000, each in the
 * order of its first events; fewer runs are one group.
 * @throws TrailError as {@link Analytics.rows}: then the check has no result, whatever `take` got.
 */
export async function checkCompleteness(
  connection: Analytics,
  take: TakeRun,
  options: CompletenessOptions = {},
): Promise<CompletenessSummary> {
  const limit = options.maxFindings ?? DEFAULT_MAX_FINDINGS
  const { analytics, rows: quarantined } = await withoutQuarantined(connection)
  const partitions = await checkPartitions(analytics, limit)
  const runs = await checkRuns(analytics, limit, take)
  const dead = partitions.reports.some((report) => report.dead_letters > 0)
  const letters = dead ? await deadLetters(connection, { limit }) : []
  const sum = (key: 'events' | 'duplicates' | 'dead_letters' | 'holes' | 'expired'): number =>
    partitions.reports.reduce((total, report) => total + report[key], 0)
  return {
    verdict: verdictOf([...partitions.reports, runs]),
    events: sum('events'),
    skipped: { duplicate: sum('duplicates'), dead: sum('dead_letters'), hole: sum('holes') },
    expired: sum('expired'),
    quarantined,
    partitions: partitions.reports,
    dead_letters: letters,
    truncated: partitions.truncated || runs.truncated || letters.length >= limit,
  }
}

type Counts = Readonly<Partial<Record<'missing' | 'repeated' | 'conflicts' | 'overstated' | 'claimed', number>>>

function verdictOf(reports: readonly Counts[]): Completeness['verdict'] {
  const found = (key: keyof Counts): boolean => reports.some((report) => (report[key] ?? 0) > 0)
  if (found('repeated')) return 'repeated'
  if (found('conflicts')) return 'conflict'
  if (found('overstated')) return 'overstated'
  if (found('missing')) return 'gaps'
  return found('claimed') ? 'claimed' : 'complete'
}
