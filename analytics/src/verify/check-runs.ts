/** Checks that every number of every run is stored once. */
import { askInChunks } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { number, type Row, text } from '../connection/rows.ts'
import type { RepeatedEvent, RunReport } from './completeness-report.ts'
import { COPIES, LOST, PENDING, RUN_STEPS, RUNS } from './completeness-queries.ts'
import { countRange, type Range, split } from './ranges.ts'
import { isRepeat, sortSteps } from './steps.ts'

/** Most runs whose findings the report names: the queries send their ids. */
const MAX_RUNS = 5000

/** @param limit - Most gaps and repeats to name. */
export async function checkRuns(
  analytics: Analytics,
  limit: number,
): Promise<{ reports: RunReport[]; truncated: boolean }> {
  const rows = await analytics.rows<Row>(RUNS)
  const uneven = rows.filter(
    (row) => number(row, 'events') !== number(row, 'different') || number(row, 'last') + 1 !== number(row, 'different'),
  )
  const found = await findSteps(analytics, uneven.slice(0, MAX_RUNS), limit)
  const findings = {
    steps: Map.groupBy(found, runOf),
    lost: Map.groupBy(uneven.length > 0 ? await analytics.rows<Row>(LOST) : [], runOf),
    copies: Map.groupBy(await ask(analytics, COPIES, found.filter(isRepeat)), runOf),
    pending: Map.groupBy(
      await ask(
        analytics,
        PENDING,
        found.filter((row) => !isRepeat(row)),
      ),
      runOf,
    ),
  }
  return {
    reports: rows.map((row) => reportRun(row, findings)),
    truncated: found.length >= limit || uneven.length > MAX_RUNS,
  }
}

async function findSteps(analytics: Analytics, uneven: readonly Row[], limit: number): Promise<Row[]> {
  const found = await askInChunks(uneven, (piece) => {
    return analytics.rows<Row>(RUN_STEPS, {
      runs: piece.map(runOf),
      lasts: piece.map((row) => number(row, 'last')),
      limit,
    })
  })
  return found.slice(0, limit)
}

type Findings = Readonly<Record<'steps' | 'lost' | 'copies' | 'pending', ReadonlyMap<string, readonly Row[]>>>

/** Queries the numbers at which these steps arrive. */
function ask(analytics: Analytics, query: string, steps: readonly Row[]): Promise<Row[]> {
  return askInChunks(steps, (piece) => {
    return analytics.rows<Row>(query, { runs: piece.map(runOf), numbers: piece.map((row) => number(row, 'at')) })
  })
}

function reportRun(row: Row, findings: Findings): RunReport {
  const run = runOf(row)
  const { gaps, repeats } = sortSteps(findings.steps.get(run))
  const explained = split(gaps, (findings.lost.get(run) ?? []).flatMap(lostRange))
  // The number that follows a gap identifies it, also where an events_lost event explains a part of it.
  const awaited = new Set(findings.pending.get(run)?.map((step) => number(step, 'at')))
  const waiting = split(
    explained.outside,
    gaps.filter(({ last }) => awaited.has(last + 1)),
  )
  const copies = Map.groupBy(findings.copies.get(run) ?? [], (copy) => number(copy, 'run_seq'))
  return {
    run_id: run,
    producer_id: text(row, 'producer_id'),
    state: number(row, 'closed') === 1 ? 'closed' : 'open',
    first_run_seq: number(row, 'first'),
    last_run_seq: number(row, 'last'),
    events: number(row, 'events'),
    missing: waiting.outside.reduce((total, range) => total + countRange(range), 0),
    repeated: number(row, 'events') - number(row, 'different'),
    gaps: waiting.outside,
    lost: explained.inside,
    pending: waiting.inside,
    repeats: repeats.map(({ at, times }) => reportRepeat(at, times + 1, copies.get(at) ?? [])),
  }
}

function reportRepeat(runSeq: number, times: number, copies: readonly Row[]): RepeatedEvent {
  const positions = copies.map((row) => ({
    log_id: text(row, 'log_id_hex'),
    partition: number(row, 'log_partition'),
    offset: number(row, 'log_offset'),
  }))
  const altered = new Set(copies.map((row) => text(row, 'content'))).size > 1
  return { run_seq: runSeq, times, altered, positions }
}

function lostRange(row: Row): Range[] {
  if (row['first'] === null || row['last'] === null) return []
  return [{ first: number(row, 'first'), last: number(row, 'last') }]
}

function runOf(row: Row): string {
  return text(row, 'run_id_hex')
}
