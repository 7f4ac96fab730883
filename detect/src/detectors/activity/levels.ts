/** Latencies and tokens of model calls above what they were with the same model. */
import type { QueryDetector } from '../../detector.ts'
import { findExcesses, type StandsOut } from './excess-detector.ts'
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
import { bornAt, type Baseline, rolling } from './season.ts'
import { median, quantile } from './statistics.ts'

/** One agent with one model. */
interface LevelRow extends AgentRow {
  /** The model, once. */
  readonly model: readonly string[]
  readonly hours: readonly number[]
  readonly calls: readonly number[]
  /** Sum of the logarithms of the values. */
  readonly logs: readonly number[]
  readonly top_hours: readonly number[]
  /** Mean logarithm of each session of the hour, parted by spaces; at most 50 of them. */
  readonly session_logs: readonly string[]
  readonly top_ids: readonly string[]
}

function levelSql(value: string): string {
  const calls = `${AGENTS} AND event_type = 'llm_call' AND ${value} IS NOT NULL`
  const log = `log(greatest(assumeNotNull(${value}), 1))`
  return `
SELECT agent_id, [model_id] AS model, hours, calls, logs, top_hours, session_logs, top_ids
FROM (
  SELECT agent_id, model_id, groupArray(hour) AS hours, groupArray(n) AS calls, groupArray(log_sum) AS logs
  FROM (
    SELECT agent_id, ifNull(model_id, '') AS model_id, ${HOUR_NUMBER} AS hour, count() AS n, sum(${log}) AS log_sum
    FROM ${EVENTS} WHERE ${calls} AND ${history(HISTORY_DAYS)}
    GROUP BY agent_id, model_id, hour
  )
  GROUP BY agent_id, model_id
) AS history
LEFT JOIN (
  SELECT agent_id, model_id, groupArray(hour) AS top_hours, groupArray(session_means) AS session_logs, groupArray(id) AS top_ids
  FROM (
    SELECT agent_id, model_id, hour, toString(argMax(highest, log_mean)) AS id,
      arrayStringConcat(groupArray(50)(toString(round(log_mean, 3))), ' ') AS session_means
    FROM (
      SELECT agent_id, ifNull(model_id, '') AS model_id, ${HOUR_NUMBER} AS hour, session_id, avg(${log}) AS log_mean,
        argMax(event_id, ${value}) AS highest
      FROM ${EVENTS}
      WHERE ${calls} AND timestamp >= {since:DateTime64(6)} - INTERVAL ${LEAD_HOURS + 6} HOUR AND timestamp < {until:DateTime64(6)}
      GROUP BY agent_id, model_id, hour, session_id
    )
    GROUP BY agent_id, model_id, hour
  )
  GROUP BY agent_id, model_id
) AS latest USING (agent_id, model_id)`
}

const THRESHOLDS = {
  min_z: 6,
  tail_factor: 1.2,
  min_ratio: 1.4,
  min_calls: 8,
  min_sessions: 4,
  min_history_days: 7,
  min_hours: 24,
}
type Limits = typeof THRESHOLDS

interface Level {
  readonly name: string
  readonly noun: string
  readonly signal: string
  readonly finds: string
  readonly value: string
  readonly limits?: Partial<Limits>
}

function levelDetector({ name, noun, signal, finds, value, limits: own }: Level): QueryDetector<LevelRow, Limits> {
  return {
    unit: 'query',
    name,
    version: 1,
    finds,
    method:
      'The geometric mean over the calls of an hour, and of the three and six hours up to it, is compared with the hours of the 28 days before that had enough calls of the same agent to the same model: median and MAD of the logarithms, the MAD widened where the hour has fewer calls than those. The median session has to show it too, of four or more: one session with a long context does not. A model that is new to the agent has no baseline.',
    source:
      'Median and MAD as robust location and scale (Leys et al., 2013), on logarithms since latencies and lengths are close to log-normal. Thresholds were tuned on two made fleets (judge/fleet).',
    thresholds: { ...THRESHOLDS, ...own },
    sql: levelSql(value),
    schema: agentRow({
      model: 'texts',
      hours: 'numbers',
      calls: 'numbers',
      logs: 'numbers',
      top_hours: 'numbers',
      session_logs: 'texts',
      top_ids: 'texts',
    }),
    find: (rows, limits, window) =>
      findExcesses(rows, window, {
        signal,
        noun,
        minDays: limits.min_history_days,
        born: (row, hours) => bornAt(dense(row.hours, row.calls, hours)),
        signals: (row) => [{ name: 'model_id', value: row.model[0] ?? '' }],
        evidence: (row, hour) => row.top_ids.filter((_, index) => row.top_hours[index] === hour),
        judge: (row, of) => judge(row, of, limits),
      }),
  }
}

interface Judged {
  readonly hours: Hours
  readonly baseline: Baseline
  readonly width: number
}

function judge(row: LevelRow, of: Judged, limits: Limits): (at: number) => StandsOut | undefined {
  const { hours, baseline, width } = of
  const calls = rolling(dense(row.hours, row.calls, hours), width)
  const logs = rolling(dense(row.hours, row.logs, hours), width)
  const logOf = (at: number): number => (logs[at] ?? 0) / (calls[at] ?? 1)
  const usable: number[] = []
  for (let at = baseline.from; at < baseline.day; at++) if ((calls[at] ?? 0) >= limits.min_calls) usable.push(at)
  if (usable.length < limits.min_hours) return () => undefined
  const usual = median(usable.map(logOf))
  const spread = Math.max(0.03, 1.4826 * median(usable.map((at) => Math.abs(logOf(at) - usual))))
  const typical = median(usable.map((at) => calls[at] ?? 0))
  const spreadAt = (at: number): number => spread * Math.max(1, Math.sqrt(typical / (calls[at] ?? 1)))
  const zOf = (at: number): number => (logOf(at) - usual) / spreadAt(at)
  const limit = Math.max(limits.min_z, limits.tail_factor * quantile(usable.map(zOf), 0.99))
  return (at) => {
    if ((calls[at] ?? 0) < limits.min_calls || zOf(at) < limit) return undefined
    const sessions = sessionsOf(row, { until: hours.origin + at, width })
    const level = Math.min(logOf(at), sessions.length < limits.min_sessions ? -Infinity : median(sessions))
    const [value, expected, z] = [Math.exp(level), Math.exp(usual), (level - usual) / spreadAt(at)]
    return z >= limit && value >= limits.min_ratio * expected ? { value, expected, z, limit, width } : undefined
  }
}

/** Mean logarithms of the sessions of the hours up to one. */
function sessionsOf(row: LevelRow, { until, width }: { until: number; width: number }): number[] {
  return row.top_hours.flatMap((hour, index) => {
    const within = hour > until - width && hour <= until
    return within ? (row.session_logs[index] ?? '').split(' ').filter(Boolean).map(Number) : []
  })
}

export const latency: QueryDetector<LevelRow, Limits> = levelDetector({
  name: 'rate.latency',
  noun: 'milliseconds a model call',
  signal: 'latency_ms',
  finds: 'The model calls of an agent take far longer than they did with the same model.',
  value: 'latency_ms',
})

export const tokens: QueryDetector<LevelRow, Limits> = levelDetector({
  name: 'rate.tokens',
  noun: 'tokens a model call',
  signal: 'tokens_per_call',
  finds:
    'The model calls of an agent take far more tokens than they did with the same model. That there are more calls is found by rate.sessions and rate.events.',
  value: '(input_tokens + ifNull(output_tokens, 0))',
  limits: { min_ratio: 1.6 },
})
