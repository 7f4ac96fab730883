/** What a run has shown, for people and as one line of JSON. */
import type { Timing } from './fault.ts'
import type { RoundResult } from './round.ts'

export interface KindReport {
  readonly kind: string
  readonly injected: number
  readonly missed: number
  readonly recoveryMs: { readonly median: number; readonly longest: number }
  /** What is promised of the longest, on a machine that has nothing else to do; only of some. */
  readonly boundMs?: number | undefined
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
  readonly seconds: number
}

export function makeReport({ seed, results, failed, skipped, timing, seconds }: Run): Report {
  const sum = (count: (result: RoundResult) => number): number =>
    results.reduce((total, result) => total + count(result), 0)
  const struck = Map.groupBy(
    results.flatMap(({ faults }) => faults),
    ({ kind }) => kind,
  )
  return {
    seed,
    rounds: results.length,
    failed,
    skipped,
    eventsChecked: sum(({ verdict }) => verdict.events),
    lost: sum(({ verdict }) => verdict.lost),
    repeated: Math.max(0, ...results.map(({ verdict }) => verdict.repeated)),
    longestLagMs: Math.max(0, ...results.map(({ longestLagMs }) => longestLagMs)),
    seconds: Math.round(seconds),
    kinds: [...struck].map(([kind, all]) => {
      const times = all.filter(({ missed }) => missed === undefined).map(({ recoveryMs }) => recoveryMs)
      const sorted = times.toSorted((one, other) => one - other)
      const median = sorted[Math.floor(sorted.length / 2)] ?? 0
      return {
        kind,
        injected: times.length,
        missed: all.length - times.length,
        recoveryMs: { median: Math.round(median), longest: Math.round(sorted.at(-1) ?? 0) },
        boundMs: boundOf(kind, timing),
      }
    }),
  }
}

function boundOf(kind: string, { sessionMs, leaseMs, marginMs }: Timing): number | undefined {
  if (kind.startsWith('consumer killed')) return sessionMs + leaseMs + marginMs + 2000
  return kind === 'consumer restarted in order' ? 3000 : undefined
}

export function renderReport(report: Report): string {
  const width = Math.max(5, ...report.kinds.map(({ kind }) => kind.length))
  const kinds = report.kinds
    .toSorted((one, other) => one.kind.localeCompare(other.kind))
    .map(({ kind, injected, missed, recoveryMs, boundMs }) => {
      const counts = `${String(injected).padStart(5)}${inSeconds(recoveryMs.median)}${inSeconds(recoveryMs.longest)}`
      const bound =
        boundMs === undefined ? '' : `   ${recoveryMs.longest <= boundMs ? 'within' : 'OVER'} ${boundMs / 1000} s`
      return `${kind.padEnd(width)}${counts}${bound}${missed > 0 ? `   missed ${missed}` : ''}`
    })
  return [
    `${'fault'.padEnd(width)}times median longest  (seconds until the slowest partition flows again)`,
    ...kinds,
    ...report.skipped.map((reason) => `SKIPPED ${reason}`),
    `${report.rounds} rounds in ${report.seconds} s, seed ${report.seed}: ${report.eventsChecked} events checked, ` +
      `${report.lost} lost, ${report.repeated} repeated, ${report.failed} rounds failed; ` +
      `longest lag ${(report.longestLagMs / 1000).toFixed(1)} s`,
  ].join('\n')
}

function inSeconds(ms: number): string {
  return (ms / 1000).toFixed(1).padStart(8)
}
