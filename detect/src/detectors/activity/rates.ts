/** Sessions and events of an hour above the agent's own season. */
import type { QueryDetector } from '../../detector.ts'
import { findExcesses, type StandsOut } from './excess-detector.ts'
import { HOURLY_ROW, HOURLY_SQL, type HourlyRow, idsOf, largeSessions } from './hourly.ts'
import { dense, type Hours } from './rows.ts'
import { bornAt, type Baseline, excessesOf, profileOf, rolling } from './season.ts'

const SOURCE = `Robust seasonal baselines as in Twitter's S-H-ESD (Hochenbaum, Vallis and Kejariwal, 2017) and Farrington's outbreak detection (1996; negative binomial by Noufaily, 2013). Thresholds were tuned on made fleets (judge/fleet).`

interface Judged {
  readonly hours: Hours
  readonly baseline: Baseline
  readonly width: number
}

const SESSIONS = { min_z: 5.2, tail_factor: 1.2, min_noise: 0.12, min_ratio: 1.6, min_count: 20, min_history_days: 14 }

export const sessionRate: QueryDetector<HourlyRow, typeof SESSIONS> = {
  unit: 'query',
  name: 'rate.sessions',
  version: 1,
  finds: 'An agent starts far more sessions than it does at that time of the week.',
  method:
    "The session_start events of an hour, and of the three and six hours up to it, are compared with the 28 days before their day: the larger of the median of the same hour of the week and the mean of the same hour of like days (working days, weekends) without the highest tenth, and of the hour's neighbours, times the growth of the last week. The excess counts in standard deviations of a negative binomial whose spread is the agent's own.",
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
  const { middle, high } = profileOf(values, baseline, hours.origin)
  const slot = (at: number): number => (hours.origin + at) % 168
  const excessOf = excessesOf(
    { values, middle: (at) => middle[slot(at)] ?? 0, high: (at) => high[slot(at)] ?? 0 },
    baseline,
    limits,
  )
  return (at) => {
    const { value, expected, z, limit } = excessOf(at)
    const enough = value >= limits.min_count && value >= limits.min_ratio * expected
    return enough && z >= limit ? { value, expected, z, limit, width } : undefined
  }
}

const EVENTS = {
  min_z: 3.2,
  tail_factor: 1,
  min_noise: 0.05,
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
    "The events of an hour, and of the three and six hours up to it, are compared with the sessions of that time, times the events of a session in the 28 days before: more sessions explain more events. The excess counts in standard deviations of a negative binomial whose spread is the agent's own. At least min_large sessions must have large_times the events of a usual one: one long session is no change of the rate (loops are found in sessions).",
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
  const sum = (series: Float64Array): number =>
    series.subarray(baseline.from, baseline.day).reduce((total, value) => total + value, 0)
  const usual = sum(values) / Math.max(1, sum(sessions))
  // A session that began in the hour before may still act.
  const expectedAt = (at: number): number => usual * Math.max(1, sessions[at] ?? 0, sessions[at - 1] ?? 0)
  const excessOf = excessesOf({ values, middle: expectedAt, high: expectedAt }, baseline, limits)
  return (at) => {
    const { value, expected, z, limit } = excessOf(at)
    const enough = value >= limits.min_count && value >= limits.min_ratio * expected
    if (!enough || z < limit) return undefined
    const large = largeSessions(row, { until: hours.origin + at, width, least: limits.large_times * usual })
    return large >= limits.min_large ? { value, expected, z, limit, width } : undefined
  }
}
