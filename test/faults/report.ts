/** The report of a run, as text for people and as one line of JSON. */
import type { Timing } from './fault.ts'
import type { RoundResult } from './round.ts'

export interface KindReport {
  readonly kind: string
  readonly injected: number
  readonly missed: number
  readonly recoveryMs: { readonly median: number; readonly longest: number }
  /** Of some faults: the promised time where nothing else breaks, on an idle machine, and the longest measured there. */
  readonly alone?: { readonly boundMs: number; readonly longestMs: number } | undefined
}

export interface Report {
  readonly seed: number
  readonly rounds: number
  readonly failed: number
  readonly skipped: readonly string[]
  readonly eventsChecked: number
  readonly lost: number
  readonly repeated: number
  readonly longestLagMs: number
  /** How often ClickHouse ended without being killed by a fault, and was started again. */
  readonly storeDeaths: number
  readonly seconds: number
  readonly kinds: readonly KindReport[]
}

export interface Run {
  readonly seed: number
  readonly results: readonly RoundResult[]
  /** Rounds that could not be played to their end, or whose verdict has findings. */
  readonly failed: number
  readonly skipped: readonly string[]
  readonly timing: Timing
  readonly storeDeaths: number
  readonly seconds: number
}

export function makeReport({ results, timing, seconds, ...run }: Run): Report {
  const sum = (count: (result: RoundResult) => number): number =>
    results.reduce((total, result) => total + count(result), 0)
  const struck = Map.groupBy(
    results.flatMap(({ faults }) => faults.map((fault) => ({ ...fault, alone: faults.length === 1 }))),
    ({ kind }) => kind,
  )
  return {
    ...run,
    rounds: results.length,
    eventsChecked: sum(({ verdict }) => verdict.events),
    lost: sum(({ verdict }) => verdict.lost),
    repeated: Math.max(0, ...results.map(({ verdict }) => verdict.repeated)),
    longestLagMs: Math.max(0, ...results.map(({ longestLagMs }) => longestLagMs)),
    seconds: Math.round(seconds),
    kinds: [...struck].map(([kind, all]) => {
      const injected = all.filter(({ missed }) => missed === undefined)
      const sorted = timesOf(injected)
      const median = sorted[Math.floor(sorted.length / 2)] ?? 0
      const boundMs = boundOf(kind, timing)
      const alone = timesOf(injected.filter((fault) => fault.alone)).at(-1)
      return {
        kind,
        injected: injected.length,
        missed: all.length - injected.length,
        recoveryMs: { median: Math.round(median), longest: Math.round(sorted.at(-1) ?? 0) },
        alone: boundMs === undefined || alone === undefined ? undefined : { boundMs, longestMs: Math.round(alone) },
      }
    }),
  }
}

/** Ascending. */
function timesOf(faults: readonly { readonly recoveryMs: number }[]): number[] {
  return faults.map(({ recoveryMs }) => recoveryMs).toSorted((one, other) => one - other)
}

function boundOf(kind: string, { sessionMs, leaseMs, marginMs }: Timing): number | undefined {
  if (kind.startsWith('consumer killed')) return sessionMs + leaseMs + marginMs + 2000
  return kind === 'consumer restarted in order' ? 3000 : undefined
}

export function renderReport(report: Report): string {
  const width = Math.max(5, ...report.kinds.map(({ kind }) => kind.length))
  const kinds = report.kinds
    .toSorted((one, other) => one.kind.localeCompare(other.kind))
    .map(({ kind, injected, missed, recoveryMs, alone }) => {
      const counts = `${String(injected).padStart(5)}${inSeconds(recoveryMs.median)}${inSeconds(recoveryMs.longest)}`
      const bound = alone === undefined ? '' : `   ${inWords(alone)}`
      return `${kind.padEnd(width)}${counts}${bound}${missed > 0 ? `   missed ${missed}` : ''}`
    })
  return [
    `${'fault'.padEnd(width)}times median longest  (seconds until the slowest partition flows again)`,
    ...kinds,
    ...report.skipped.map((reason) => `SKIPPED ${reason}`),
    `${report.rounds} rounds in ${report.seconds} s, seed ${report.seed}: ${report.eventsChecked} events checked, ` +
      `${report.lost} lost, ${report.repeated} repeated, ${report.failed} rounds failed; ` +
      `longest lag ${(report.longestLagMs / 1000).toFixed(1)} s, ClickHouse ended by itself ${report.storeDeaths} times`,
  ].join('\n')
}

function inWords({ boundMs, longestMs }: NonNullable<KindReport['alone']>): string {
  return `alone at most ${(longestMs / 1000).toFixed(1)}: ${longestMs <= boundMs ? 'within' : 'OVER'} ${boundMs / 1000} s`
}

function inSeconds(ms: number): string {
  return (ms / 1000).toFixed(1).padStart(8)
}
