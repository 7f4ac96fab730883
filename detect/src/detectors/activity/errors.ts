/** Errors of an hour above what the agent's own error rate explains. */
import type { QueryDetector } from '../../detector.ts'
import { findExcesses } from './excess-detector.ts'
import {
  AGENTS,
  agentRow,
  type AgentRow,
  dense,
  EVENTS,
  history,
  HISTORY_DAYS,
  HOUR_NUMBER,
  type Hours,
  LEAD_HOURS,
} from './rows.ts'
import { bornAt, type Baseline, excessesOf, noiseOf, rolling } from './season.ts'
import { meanWithoutTop, tailSurprise } from './statistics.ts'

interface ErrorRow extends AgentRow {
  readonly hours: readonly number[]
  readonly attempts: readonly number[]
  readonly errors: readonly number[]
  readonly top_hours: readonly number[]
  readonly top_errors: readonly number[]
  readonly top_ids: readonly string[]
}

const ATTEMPT = `event_type IN ('llm_call', 'tool_result', 'error')`
const FAILED = `(error IS NOT NULL OR outcome = 'error')`

const SQL = `
SELECT agent_id, hours, attempts, errors, top_hours, top_errors, top_ids
FROM (
  SELECT agent_id, groupArray(hour) AS hours, groupArray(tried) AS attempts, groupArray(failed) AS errors
  FROM (
    SELECT agent_id, ${HOUR_NUMBER} AS hour, count() AS tried, countIf(${FAILED}) AS failed
    FROM ${EVENTS} WHERE ${AGENTS} AND ${history(HISTORY_DAYS)} AND ${ATTEMPT}
    GROUP BY agent_id, hour
  )
  GROUP BY agent_id
) AS history
LEFT JOIN (
  SELECT agent_id, groupArray(hour) AS top_hours, groupArray(most) AS top_errors, groupArray(ids) AS top_ids
  FROM (
    SELECT agent_id, hour, max(count) AS most,
      arrayStringConcat(arrayMap(each -> toString(each.2), arraySlice(arraySort(groupArray((-toInt64(count), first))), 1, 20)), ' ') AS ids
    FROM (
      SELECT agent_id, session_id, ${HOUR_NUMBER} AS hour, count() AS count, argMin(event_id, timestamp) AS first
      FROM ${EVENTS}
      WHERE ${AGENTS} AND ${ATTEMPT} AND ${FAILED}
        AND timestamp >= {since:DateTime64(6)} - INTERVAL ${LEAD_HOURS + 6} HOUR AND timestamp < {until:DateTime64(6)}
      GROUP BY agent_id, session_id, hour
    )
    GROUP BY agent_id, hour
  )
  GROUP BY agent_id
) AS largest USING (agent_id)`

const THRESHOLDS = {
  min_z: 3.75,
  tail_factor: 1.5,
  min_noise: 0.02,
  min_ratio: 2.5,
  min_errors: 4,
  /** An agent that never fails is taken to fail so often. */
  min_rate: 0.01,
  min_history_days: 14,
}

export const errorRate: QueryDetector<ErrorRow, typeof THRESHOLDS> = {
  unit: 'query',
  name: 'rate.errors',
  version: 1,
  finds: 'An agent fails far more often than its own error rate explains.',
  method:
    "Errors of model calls and tool results of an hour, and of the three and six hours up to it, are compared with the attempts times the agent's error rate of the 28 days before, without days that were incidents. How improbable the excess is for a negative binomial count whose spread is the agent's own, is told as standard deviations of a normal value: the tail is that of the few errors, since a normal one takes seven where one is usual for nine times as improbable as it is. Of the session with the most errors only three count: one session that fails again and again is a loop.",
  source:
    "A p' chart with overdispersion (Laney, 2002), with the exact tail of the negative binomial as Noufaily's outbreak detection (2013) has it. Thresholds were tuned on two made fleets (judge/fleet), min_z on made counts too.",
  thresholds: THRESHOLDS,
  sql: SQL,
  schema: agentRow({
    hours: 'numbers',
    attempts: 'numbers',
    errors: 'numbers',
    top_hours: 'numbers',
    top_errors: 'numbers',
    top_ids: 'texts',
  }),
  find: (rows, limits, window) =>
    findExcesses(rows, window, {
      signal: 'errors_per_hour',
      noun: 'errors',
      minDays: limits.min_history_days,
      born: (row, hours) => bornAt(dense(row.hours, row.attempts, hours)),
      evidence: (row, hour) => (row.top_ids[row.top_hours.indexOf(hour)] ?? '').split(' ').filter((id) => id !== ''),
      signals: (row, hours, at) => [{ name: 'attempts', value: dense(row.hours, row.attempts, hours)[at] ?? 0 }],
      judge(row, { hours, baseline, width }) {
        const attempts = rolling(dense(row.hours, row.attempts, hours), width)
        const values = rolling(errorsWithoutLoops(row, hours), width)
        const rate = Math.max(limits.min_rate, rateOf(row, hours, baseline))
        const expected = (at: number): number => rate * (attempts[at] ?? 0)
        const noise = noiseOf(values, baseline, { usual: expected, without: limits.min_noise })
        const excessOf = excessesOf({ values, high: expected, noise: () => noise }, baseline, limits)
        return (at) => {
          const value = values[at] ?? 0
          if (value < limits.min_errors || value < limits.min_ratio * expected(at)) return undefined
          const excess = excessOf(at)
          return excess && { ...excess, width }
        }
      },
    }),
}

const ERRORS_OF_A_SESSION = 3

function errorsWithoutLoops(row: ErrorRow, hours: Hours): Float64Array {
  const top = dense(row.top_hours, row.top_errors, hours)
  return dense(row.hours, row.errors, hours).map(
    (value, at) => value - Math.max(0, (top[at] ?? 0) - ERRORS_OF_A_SESSION),
  )
}

/**
 * Errors by attempt over the days of the baseline, without days that are incidents themselves: those with more errors than one day
 * in a thousand has at half more than the mean of the others. A mean without the highest days alone would be too low where errors
 * are few, and each error would look like an excess.
 */
function rateOf(row: ErrorRow, hours: Hours, { from, day }: Baseline): number {
  const errors = rolling(errorsWithoutLoops(row, hours), 24)
  const attempts = rolling(dense(row.hours, row.attempts, hours), 24)
  const days: { readonly tried: number; readonly failed: number }[] = []
  for (let at = day - 1; at >= from + 23; at -= 24) {
    if ((attempts[at] ?? 0) > 0) days.push({ tried: attempts[at] ?? 0, failed: errors[at] ?? 0 })
  }
  const rates = days.filter(({ tried }) => tried >= 10).map(({ tried, failed }) => failed / tried)
  const first = 1.5 * meanWithoutTop(rates, 0.1)
  const usual = days.filter(
    ({ tried, failed }) => tailSurprise(failed, { mean: Math.max(first * tried, 1), noise: 0.1 }) < Math.log(1000),
  )
  const sum = (of: (each: (typeof days)[number]) => number): number =>
    usual.reduce((total, each) => total + of(each), 0)
  return (
    sum(({ failed }) => failed) /
    Math.max(
      1,
      sum(({ tried }) => tried),
    )
  )
}
