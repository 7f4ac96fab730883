/** Checks that every number of every run is stored once, or has expired. */
import { askInChunks } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { number, type Row, text } from '../connection/rows.ts'
import type { RepeatedEvent, RunGap, RunReport } from './completeness-report.ts'
import { claimsOf, positionOf, splitByClaims } from './claims.ts'
import { COPIES, DEAD_NUMBERS, LOST, PENDING, RUN_COUNT, RUN_STEPS, RUNS } from './completeness-queries.ts'
import { countRange, type Range, rangeOf, split } from './ranges.ts'
import { OVERSTATED_NUMBERS, RUN_NOTES_EXIST, RUN_NOTES_OF } from './expiry-queries.ts'
import { isRepeat, sortSteps, type Step } from './steps.ts'

/** Runs that one query sums up: some 40 MB here, and on the server a bitmap each. */
const RUNS_A_BUCKET = 100_000
/** Most runs whose findings the reports name. All others are checked and counted too. */
const MAX_RUNS = 5000
/** Uneven runs whose findings are in memory together: the queries send their ids. */
const UNEVEN_A_SLICE = 2000

export interface CheckedRuns {
  readonly missing: number
  readonly claimed: number
  readonly repeated: number
  readonly overstated: number
  /** Whether there are more findings than the reports name. */
  readonly truncated: boolean
}

/** Takes the report of a run, and may delay the next one. */
export type TakeRun = (report: RunReport) => void | Promise<void>

/**
 * Checks the runs bucket by bucket, so that neither this process nor the server holds all runs. Within a bucket, runs are in
 * the order of their first event.
 * @param limit - Most gaps and repeats to name, of all runs together.
 */
export async function checkRuns(analytics: Analytics, limit: number, take: TakeRun): Promise<CheckedRuns> {
  const check = new RunCheck(analytics, limit, take)
  const [counted] = await analytics.rows<Row>(RUN_COUNT)
  const noted = (await analytics.rows<Row>(RUN_NOTES_EXIST)).length > 0
  const buckets = Math.max(1, Math.ceil((counted === undefined ? 0 : number(counted, 'runs')) / RUNS_A_BUCKET))
  for (let bucket = 0; bucket < buckets; bucket++) {
    const rows = await analytics.rows<Row>(RUNS, { buckets, bucket })
    const overstated = noted ? await analytics.rows<Row>(OVERSTATED_NUMBERS, { buckets, bucket }) : []
    await check.bucket(rows, new Map(overstated.map((row) => [runOf(row), number(row, 'numbers')])))
  }
  return check
}

class RunCheck implements CheckedRuns {
  missing = 0
  claimed = 0
  repeated = 0
  overstated = 0
  truncated = false
  readonly #analytics: Analytics
  readonly #limit: number
  readonly #take: TakeRun
  /** Findings named so far. */
  #named = 0
  /** Numbers of each run of the bucket that a note contradicts. */
  #overstated: ReadonlyMap<string, number> = new Map()
  /** Runs with a finding so far. */
  #runs = 0

  constructor(analytics: Analytics, limit: number, take: TakeRun) {
    this.#analytics = analytics
    this.#limit = limit
    this.#take = take
  }

  async bucket(rows: readonly Row[], overstated: ReadonlyMap<string, number>): Promise<void> {
    this.#overstated = overstated
    let start = 0
    let uneven = 0
    for (const [index, row] of rows.entries()) {
      if (isUneven(row)) uneven++
      if (uneven < UNEVEN_A_SLICE) continue
      await this.#slice(rows.slice(start, index + 1))
      start = index + 1
      uneven = 0
    }
    await this.#slice(rows.slice(start))
  }

  async #slice(rows: readonly Row[]): Promise<void> {
    const uneven = rows.filter(isUneven)
    const steps = await this.#steps(uneven)
    const cut = steps.length >= this.#limit
    if (cut && rows.length > 1) {
      // Runs whose steps are beyond the limit would pass for complete.
      const middle = Math.ceil(rows.length / 2)
      await this.#slice(rows.slice(0, middle))
      return this.#slice(rows.slice(middle))
    }
    if (cut) this.truncated = true
    const findings = await this.#findings(uneven, steps)
    for (const row of rows) {
      await this.#report({ ...reportRun(row, findings, cut), overstated: this.#overstated.get(runOf(row)) ?? 0 })
    }
  }

  #steps(uneven: readonly Row[]): Promise<Row[]> {
    const lasts = uneven.map((row) => number(row, 'last'))
    if (uneven.length === 0) return Promise.resolve([])
    return this.#analytics.rows<Row>(RUN_STEPS, { runs: uneven.map(runOf), lasts, limit: this.#limit })
  }

  async #findings(uneven: readonly Row[], steps: readonly Row[]): Promise<Findings> {
    const gaps = steps.filter((row) => !isRepeat(row))
    const runs = uneven.map(runOf)
    return {
      steps: Map.groupBy(steps, runOf),
      noted: Map.groupBy(runs.length > 0 ? await this.#analytics.rows<Row>(RUN_NOTES_OF, { runs }) : [], runOf),
      lost: Map.groupBy(await this.#explanations(LOST, uneven), runOf),
      dead: Map.groupBy(await this.#explanations(DEAD_NUMBERS, uneven), runOf),
      copies: Map.groupBy(await ask(this.#analytics, COPIES, steps.filter(isRepeat)), runOf),
      pending: Map.groupBy(await ask(this.#analytics, PENDING, gaps), runOf),
    }
  }

  /** At most as many as the findings that may be named: numbers that no other explanation covers count as missing. */
  async #explanations(query: string, uneven: readonly Row[]): Promise<Row[]> {
    if (uneven.length === 0) return []
    const lasts = uneven.map((row) => number(row, 'last'))
    const rows = await this.#analytics.rows<Row>(query, { runs: uneven.map(runOf), lasts, limit: this.#limit })
    if (rows.length >= this.#limit) this.truncated = true
    return rows
  }

  async #report(report: RunReport): Promise<void> {
    this.missing += report.missing
    this.claimed += report.claimed
    this.repeated += report.repeated
    this.overstated += report.overstated
    if ([report.gaps, report.lost, report.claims, report.pending, report.repeats].some(({ length }) => length > 0))
      this.#runs++
    await this.#take({
      ...report,
      gaps: this.#name(report.gaps),
      claims: this.#name(report.claims),
      lost: this.#name(report.lost),
      pending: this.#name(report.pending),
      repeats: this.#name(report.repeats),
    })
  }

  /** As many of these findings as may still be named. */
  #name<Finding>(findings: readonly Finding[]): readonly Finding[] {
    const named = findings.slice(0, this.#runs > MAX_RUNS ? 0 : this.#limit - this.#named)
    this.#named += named.length
    if (named.length < findings.length) this.truncated = true
    return named
  }
}

function isUneven(row: Row): boolean {
  return number(row, 'events') !== number(row, 'different') || number(row, 'last') + 1 !== number(row, 'different')
}

type Findings = Readonly<
  Record<'steps' | 'noted' | 'lost' | 'dead' | 'copies' | 'pending', ReadonlyMap<string, readonly Row[]>>
>

/** Queries the numbers at which these steps arrive. */
function ask(analytics: Analytics, query: string, steps: readonly Row[]): Promise<Row[]> {
  return askInChunks(steps, (piece) => {
    return analytics.rows<Row>(query, { runs: piece.map(runOf), numbers: piece.map((row) => number(row, 'at')) })
  })
}

/** @param cut - Whether the run has more steps than were found: then numbers that no finding explains count as missing. */
function reportRun(row: Row, findings: Findings, cut: boolean): Omit<RunReport, 'overstated'> {
  const run = runOf(row)
  const { gaps, repeats } = sortSteps(findings.steps.get(run))
  const noted = Map.groupBy(findings.noted.get(run) ?? [], (note) => text(note, 'kind'))
  const lost = Map.groupBy(findings.lost.get(run) ?? [], (event) => (text(event, 'by_run') === run ? 'own' : 'foreign'))
  const expired = split(gaps, (noted.get('event') ?? []).flatMap(rangeOf))
  const own = [...(lost.get('own') ?? []), ...(noted.get('lost') ?? [])]
  const explained = split(expired.outside, own.flatMap(rangeOf))
  const dead = [...(findings.dead.get(run) ?? []), ...(noted.get('dead') ?? [])]
  const claims = splitByClaims(explained.outside, claimsOf(lost.get('foreign') ?? [], dead))
  // The number that follows a gap identifies it, also where an events_lost event explains a part of it.
  const awaited = new Set(findings.pending.get(run)?.map((step) => number(step, 'at')))
  const waiting = split(
    claims.outside,
    gaps.filter(({ last }) => awaited.has(last + 1)),
  )
  const shownBy = showingRows(gaps, findings.steps.get(run) ?? [])
  const notStored = number(row, 'last') + 1 - number(row, 'different')
  return {
    run_id: run,
    producer_id: text(row, 'producer_id'),
    state: number(row, 'closed') === 1 ? 'closed' : 'open',
    first_run_seq: number(row, 'first'),
    last_run_seq: number(row, 'last'),
    events: number(row, 'events'),
    missing: cut
      ? notStored - [expired.inside, explained.inside, claims.claimed, waiting.inside].map(total).reduce(add)
      : total(waiting.outside),
    expired: total(expired.inside),
    repeated: number(row, 'events') - number(row, 'different'),
    claimed: total(claims.claimed),
    gaps: shownBy(waiting.outside),
    lost: explained.inside,
    claims: claims.claimed,
    pending: shownBy(waiting.inside),
    repeats: reportRepeats(repeats, findings.copies.get(run) ?? []),
  }
}

/** Adds to parts of gaps, ascending, the row after the gap that each is in. */
function showingRows(gaps: readonly Range[], steps: readonly Row[]): (parts: readonly Range[]) => RunGap[] {
  const rows = new Map(steps.filter((row) => !isRepeat(row)).map((row) => [number(row, 'at'), row]))
  return (parts) => {
    let index = 0
    return parts.flatMap((part) => {
      while ((gaps[index]?.last ?? part.last) < part.last) index++
      const row = rows.get((gaps[index]?.last ?? -1) + 1)
      return row === undefined ? [] : [{ ...part, shown_by: positionOf(row) }]
    })
  }
}

const add = (one: number, other: number): number => one + other

function total(ranges: readonly Range[]): number {
  return ranges.reduce((sum, range) => sum + countRange(range), 0)
}

function reportRepeats(repeats: readonly Step[], copies: readonly Row[]): RepeatedEvent[] {
  const byNumber = Map.groupBy(copies, (copy) => number(copy, 'run_seq'))
  return repeats.map(({ at, times }) => reportRepeat(at, times + 1, byNumber.get(at) ?? []))
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

function runOf(row: Row): string {
  return text(row, 'run_id_hex')
}
