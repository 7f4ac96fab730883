/** Sessions and events of an hour above the agent's own season. */
import type { QueryDetector } from '../../detector.ts'
import { findExcesses, type StandsOut } from './excess-detector.ts'
import { HOURLY_ROW, HOURLY_SQL, type HourlyRow, idsOf, largeSessions, largestSession } from './hourly.ts'
import { dense, type Hours } from './rows.ts'
import { bornAt, type Baseline, excessesOf, noiseOf, profileOf, rolling } from './season.ts'
import { mean, quantile, sumOf } from './statistics.ts'

const SOURCE = `Robust seasonal baselines as in Twitter's S-H-ESD (Hochenbaum, Vallis and Kejariwal, 2017) and Farrington's outbreak detection (1996; negative binomial by Noufaily, 2013). Thresholds were tuned on two made fleets (judge/fleet), min_z on made counts too.`

interface Judged {
  readonly hours: Hours
  readonly baseline: Baseline
  readonly width: number
}

const SESSIONS = { min_z: 4.4, tail_factor: 2, min_noise: 0.05, min_ratio: 1.6, min_count: 20, min_history_days: 14 }

export const sessionRate: QueryDetector<HourlyRow, typeof SESSIONS> = {
  unit: 'query',
  name: 'rate.sessions',
  version: 1,
  finds: 'An agent starts far more sessions than it does at that time of the week.',
  method:
    "The session_start events of an hour, and of the three and six hours up to it, are compared with the 28 days before their day: the larger of the median of the same hour of the week and the mean of the same hour of like days (working days, weekends) without the highest tenth, and of the hour's neighbours, times the growth of the last week. How improbable the excess is for a negative binomial count whose spread is the agent's own, is told as standard deviations of a normal value: 4.4 is one in 185,000.",
  source: SOURCE,
  thresholds: SESSIONS,
  sql: HOURLY_SQL,
  schema: HOURLY_ROW,
  find: (rows, limits, window) =>
    findExcesses(rows, window, {
      signal: 'sessions',
      noun: 'sessions',
      minDays: limits.min_history_days,
      born: (row, hours) => bornAt(dense(row.hours, row.events, hours)),
      evidence: idsOf,
      judge: (row, of) => judgeSessions(row, of, limits),
    }),
}

function judgeSessions(
  row: HourlyRow,
  { hours, baseline, width }: Judged,
  limits: typeof SESSIONS,
): (at: number) => StandsOut | undefined {
  const values = rolling(dense(row.hours, row.sessions, hours), width)
  const slot = (at: number): number => (hours.origin + at) % 168
  let excessOf: ReturnType<typeof excessesOf> | undefined
  return (at) => {
    if ((values[at] ?? 0) < limits.min_count) return undefined
    excessOf ??= excessesOfProfile()
    const excess = excessOf(at)
    return excess && excess.value >= limits.min_ratio * excess.expected ? { ...excess, width } : undefined
  }
  function excessesOfProfile(): ReturnType<typeof excessesOf> {
    const { middle, high, days } = profileOf(values, baseline, hours.origin)
    const usual = (at: number): number => middle[slot(at)] ?? 0
    const noise = Math.max(limits.min_noise, noiseOf(values, baseline, { usual, without: 0.3 }))
    // The usual value is itself a mean of few days, and scatters as they do.
    const noiseAt = (at: number): number =>
      noise + (noise + 1 / Math.max(1, usual(at))) / Math.max(1, days[slot(at)] ?? 0)
    return excessesOf({ values, high: (at) => high[slot(at)] ?? 0, noise: noiseAt }, baseline, limits)
  }
}

const EVENTS = {
  min_z: 4.4,
  tail_factor: 2,
  min_noise: 0.02,
  min_ratio: 1.8,
  min_count: 40,
  min_large: 3,
  large_times: 2,
  min_history_days: 14,
}

export const eventRate: QueryDetector<HourlyRow, typeof EVENTS> = {
  unit: 'query',
  name: 'rate.events',
  version: 1,
  finds: 'An agent records far more events than its sessions at that time explain.',
  method:
    "The events of an hour, and of the three and six hours up to it, are compared with the sessions of that time, times the events of a session in the 28 days before: more sessions explain more events. How improbable the excess is for a sum of so many sessions whose sizes scatter as the agent's own do (gamma, so that the count is negative binomial), is told as standard deviations of a normal value. At least min_large sessions must have large_times the events of a usual one: one long session is no change of the rate (loops are found in sessions), so the hour must also stand out if its largest session were a usual one.",
  source: SOURCE,
  thresholds: EVENTS,
  sql: HOURLY_SQL,
  schema: HOURLY_ROW,
  find: (rows, limits, window) =>
    findExcesses(rows, window, {
      signal: 'events',
      noun: 'events',
      minDays: limits.min_history_days,
      born: (row, hours) => bornAt(dense(row.hours, row.events, hours)),
      evidence: idsOf,
      judge: (row, of) => judgeEvents(row, of, limits),
    }),
}

function judgeEvents(
  row: HourlyRow,
  { hours, baseline, width }: Judged,
  limits: typeof EVENTS,
): (at: number) => StandsOut | undefined {
  const values = rolling(dense(row.hours, row.events, hours), width)
  const sessions = rolling(dense(row.hours, row.sessions, hours), width)
  const sum = (series: Float64Array): number => sumOf(series.subarray(baseline.from, baseline.day))
  const usual = sum(values) / Math.max(1, sum(sessions))
  // A session that began in the hour before may still act.
  const sessionsAt = (at: number): number => Math.max(1, sessions[at] ?? 0, sessions[at - 1] ?? 0)
  const spread = spreadOf({ values, sessions, usual }, baseline)
  const excessOf = excessesOf(
    { values, high: (at) => usual * sessionsAt(at), noise: (at) => spread / sessionsAt(at) },
    baseline,
    limits,
  )
  return (at) => {
    const value = values[at] ?? 0
    if (value < limits.min_count || value < limits.min_ratio * usual * sessionsAt(at)) return undefined
    const excess = excessOf(at)
    if (excess === undefined) return undefined
    const without = value - largestSession(row, { until: hours.origin + at, width }) + usual
    if (excessOf(at, without) === undefined) return undefined
    const large = largeSessions(row, { until: hours.origin + at, width, least: limits.large_times * usual })
    return large >= limits.min_large ? { ...excess, width } : undefined
  }
}

/**
 * The squared coefficient of variation of a session's events: sessions are alike in size within it, and independent. The highest
 * hundredth counts as that, so that a past incident does not deafen.
 */
function spreadOf(
  { values, sessions, usual }: { values: Float64Array; sessions: Float64Array; usual: number },
  { from, day }: Baseline,
): number {
  const squares: number[] = []
  for (let at = from; at < day; at++) {
    const count = sessions[at] ?? 0
    const expected = usual * count
    if (count > 0) squares.push((((values[at] ?? 0) - expected) ** 2 - expected) / (usual ** 2 * count))
  }
  const highest = quantile(squares, 0.99)
  return mean(squares.map((square) => Math.min(square, highest)))
}
