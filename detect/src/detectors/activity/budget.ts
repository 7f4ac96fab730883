/** Cost that will exceed a budget, before it does. */
import type { Finding, QueryDetector, QueryWindow } from '../../detector.ts'
import {
  AGENTS,
  agentRow,
  type AgentRow,
  dense,
  EVENTS,
  HOUR_MS,
  history,
  HOUR_NUMBER,
  type Hours,
  hoursOf,
  isoHour,
} from './rows.ts'
import { bornAt } from './season.ts'
import { mean, scoreOf, short, sumOf } from './statistics.ts'

interface CostRow extends AgentRow {
  readonly hours: readonly number[]
  readonly usd: readonly number[]
  /** Calls without a cost. */
  readonly unpriced: readonly number[]
  readonly dearest: readonly string[]
}

/** A month before the window's, and the days that a forecast is made of. */
const DAYS = 60
const SQL = `
SELECT agent_id, groupArray(hour) AS hours, groupArray(cost) AS usd, groupArray(without) AS unpriced, groupArray(id) AS dearest
FROM (
  SELECT agent_id, ${HOUR_NUMBER} AS hour, ifNull(sum(cost_usd), 0) AS cost,
    countIf(event_type = 'llm_call' AND cost_usd IS NULL) AS without, toString(argMax(event_id, ifNull(cost_usd, 0))) AS id
  FROM ${EVENTS} WHERE ${AGENTS} AND ${history(DAYS)} AND (cost_usd IS NOT NULL OR event_type = 'llm_call')
  GROUP BY agent_id, hour
)
GROUP BY agent_id`

const THRESHOLDS = {
  /** Budget of each agent for a calendar month, UTC; 0: none. */
  usd_a_month: 0,
  /** Budget of each agent for a day, UTC; 0: none. */
  usd_a_day: 0,
  /** How sure the forecast has to be: standard deviations. */
  certainty: 1.5,
  min_history_days: 7,
}
type Limits = typeof THRESHOLDS

export const budget: QueryDetector<CostRow, Limits> = {
  unit: 'query',
  name: 'budget.ahead',
  version: 1,
  finds: 'An agent will exceed its budget of the day or the month, or has. Without a budget it finds nothing.',
  method:
    'The rest of the day or month is forecast from the cost of the same hours of the week in the 28 days before, times the level of the last week; what is spent already is added. It is told when the lower bound of the forecast is above the budget: certainty standard deviations of the weekday-corrected daily cost below the forecast. Once a period.',
  source:
    'A seasonal naive forecast with level (Hyndman and Athanasopoulos, Forecasting: principles and practice, 2021, section 5.2).',
  thresholds: THRESHOLDS,
  sql: SQL,
  schema: agentRow({ hours: 'numbers', usd: 'numbers', unpriced: 'numbers', dearest: 'texts' }),
  find(rows, limits, window) {
    const periods = (['usd_a_day', 'usd_a_month'] as const).filter((name) => limits[name] > 0)
    return rows.flatMap((row) => periods.flatMap((name) => ahead(row, { name, limits, window }) ?? []))
  },
}

interface Asked {
  readonly name: 'usd_a_day' | 'usd_a_month'
  readonly limits: Limits
  readonly window: QueryWindow
}

/** The first hour of the window by which a budget is sure to be exceeded; one of each period. */
function ahead(row: CostRow, { name, limits, window }: Asked): Finding[] {
  const hours = hoursOf(window, DAYS)
  const cost = dense(row.hours, row.usd, hours)
  const born = bornAt(cost)
  const found = new Map<number, Finding>()
  // The month is forecast once a day, at midnight and at the end of the window; the day by the hour.
  for (let now = hours.since + 1; now <= hours.until; now++) {
    const first = periodStart(now - 1, name)
    if (found.has(first) || (name === 'usd_a_month' && now % 24 !== 0 && now !== hours.until)) continue
    const end = periodEnd(first, name)
    const forecast = forecastOf(cost, {
      now: now - hours.origin,
      first: first - hours.origin,
      end: end - hours.origin,
      born,
      limits,
      hours,
    })
    if (forecast === undefined || forecast.low <= limits[name]) continue
    found.set(first, describe(row, { name, budget: limits[name], first, now, forecast }))
  }
  return [...found.values()]
}

function periodStart(hour: number, name: Asked['name']): number {
  const date = new Date(hour * HOUR_MS)
  const day = name === 'usd_a_day' ? date.getUTCDate() : 1
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), day) / HOUR_MS
}

function periodEnd(first: number, name: Asked['name']): number {
  const date = new Date(first * HOUR_MS)
  return name === 'usd_a_day' ? first + 24 : Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1) / HOUR_MS
}

interface Forecast {
  readonly spent: number
  readonly total: number
  readonly low: number
}
interface Forecasted {
  readonly now: number
  readonly first: number
  readonly end: number
  readonly born: number
  readonly limits: Limits
  readonly hours: Hours
}

function forecastOf(cost: Float64Array, { now, first, end, born, limits, hours }: Forecasted): Forecast | undefined {
  const from = Math.max(born, now - 28 * 24)
  if (now - from < limits.min_history_days * 24) return undefined
  const spent = sumOf(cost.subarray(Math.max(0, first), now))
  const slots: number[][] = Array.from({ length: 168 }, () => [])
  for (let at = from; at < now; at++) slots[(hours.origin + at) % 168]?.push(cost[at] ?? 0)
  const means = slots.map(mean)
  const expected = (start: number, stop: number): number => {
    let sum = 0
    for (let at = start; at < stop; at++) sum += means[(hours.origin + at) % 168] ?? 0
    return sum
  }
  const lastWeek = sumOf(cost.subarray(Math.max(from, now - 168), now))
  const level = Math.min(3, Math.max(0.3, lastWeek / Math.max(1e-9, expected(Math.max(from, now - 168), now))))
  const days: number[] = []
  for (let at = now - 24; at >= from; at -= 24) {
    const usual = expected(at, at + 24)
    if (usual > 0) days.push(sumOf(cost.subarray(at, at + 24)) / usual - 1)
  }
  const deviation = Math.max(0.1, Math.sqrt(mean(days.map((value) => value ** 2))))
  const rest = level * expected(now, end)
  // The deviations of days partly cancel; the error of the level does not.
  const left = Math.max(1, (end - now) / 24)
  const error = deviation * Math.sqrt(1 / left + 1 / 7)
  return { spent, total: spent + rest, low: spent + rest * Math.max(0, 1 - limits.certainty * error) }
}

interface Described {
  readonly name: Asked['name']
  readonly budget: number
  readonly first: number
  readonly now: number
  readonly forecast: Forecast
}

function describe(row: CostRow, { name, budget: limit, first, now, forecast }: Described): Finding {
  const period = name === 'usd_a_day' ? isoHour(first).slice(0, 10) : isoHour(first).slice(0, 7)
  const { spent, total, low } = forecast
  const over = spent > limit
  const within = row.hours.map((hour, index) => ({ hour, index })).filter(({ hour }) => hour >= first && hour < now)
  const dearest = within.toSorted((a, b) => (row.usd[b.index] ?? 0) - (row.usd[a.index] ?? 0))
  return {
    cause: `${row.agent_id}/${period}/${name}`,
    severity: over || total > 1.5 * limit ? 'high' : 'medium',
    summary: over
      ? `${row.agent_id}: ${short(spent)} USD spent in ${period}, the budget is ${limit}`
      : `${row.agent_id}: ${short(total)} USD are forecast for ${period}, the budget is ${limit}; ${short(spent)} are spent by ${isoHour(now)}`,
    score: over ? 1 : scoreOf(low, limit),
    agent_id: row.agent_id,
    session_id: null,
    signals: [
      { name: 'forecast_usd', value: short(total), expected: limit },
      { name: 'spent_usd', value: short(spent) },
      { name: 'lower_bound_usd', value: short(low) },
      { name: 'calls_without_cost', value: within.reduce((sum, { index }) => sum + (row.unpriced[index] ?? 0), 0) },
    ],
    evidence: dearest.slice(0, 5).map(({ index }) => row.dearest[index] ?? ''),
  }
}
