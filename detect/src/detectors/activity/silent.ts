/** Agents that should have acted by their own season, and did not. */
import type { Finding, QueryDetector } from '../../detector.ts'
import {
  agentRow,
  type AgentRow,
  BASELINE_DAYS,
  dense,
  EVENTS,
  history,
  HOUR_NUMBER,
  type Hours,
  hoursOf,
  isoHour,
  OF_THE_AGENT,
} from './rows.ts'
import { bornAt } from './season.ts'
import { median, scoreOf, short } from './statistics.ts'

interface SilenceRow extends AgentRow {
  readonly hours: readonly number[]
  readonly events: readonly number[]
  readonly sessions: readonly number[]
  /** The last event of each hour of the last days. */
  readonly last_hours: readonly number[]
  readonly last_ids: readonly string[]
}

/** A silence may have begun long before the window. */
const DAYS = BASELINE_DAYS + 7
/** All agents: a silent one has no new events. */
const SQL = `
SELECT agent_id, hours, events, sessions, last_hours, last_ids
FROM (
  SELECT agent_id, groupArray(hour) AS hours, groupArray(n) AS events, groupArray(started) AS sessions
  FROM (
    SELECT agent_id, hour, sumIf(count, ${OF_THE_AGENT}) AS n, sumIf(count, event_type = 'session_start') AS started
    FROM (
      SELECT agent_id, event_type, ${HOUR_NUMBER} AS hour, count() AS count
      FROM ${EVENTS} WHERE ${history(DAYS)}
      GROUP BY agent_id, event_type, toStartOfHour(timestamp)
    )
    GROUP BY agent_id, hour HAVING n > 0
  )
  GROUP BY agent_id
) AS history
LEFT JOIN (
  SELECT agent_id, groupArray(hour) AS last_hours, groupArray(id) AS last_ids
  FROM (
    SELECT agent_id, ${HOUR_NUMBER} AS hour, toString(argMax(event_id, timestamp)) AS id
    FROM ${EVENTS} WHERE ${history(3)} AND ${OF_THE_AGENT}
    GROUP BY agent_id, hour
  )
  GROUP BY agent_id
) AS latest USING (agent_id)`

const THRESHOLDS = {
  /** How improbable a silence must be: minus the natural logarithm of its probability. Of 10^5 hours one may reach 11.5. */
  min_surprise: 15,
  /** Least `a` of the variance m + a * m^2 of an hour's sessions. */
  min_noise: 0.1,
  /** Full hours; a few quiet ones are noise. */
  min_hours: 6,
  /** Times the most improbable silence of the weeks before. */
  tail_factor: 1.5,
  /** Share of its usual sessions that an always active agent has on the quietest day of the fleet. */
  always_floor: 0.3,
  min_history_days: 14,
}
type Limits = typeof THRESHOLDS

export const silentAgent: QueryDetector<SilenceRow, Limits> = {
  unit: 'query',
  name: 'silence.agent',
  version: 1,
  always: true,
  finds: 'An agent is silent at a time at which it acts by its own season.',
  method:
    "How improbable full hours without an event are, if the sessions of an hour are negative binomial: their mean is that of the same hours of like days without the highest and lowest ones, of the hour and its neighbours the least, times what the other agents of its kind (rests on weekends, or does not) did at that time beside their own season: on a public holiday none of them is expected. Their spread is the agent's own. Silent if that is less probable than the limit for thousands of judged hours, and than any silence of the agent before. One finding for each silence.",
  source:
    'A run test on a seasonal negative binomial rate; the factor of the fleet is a median of ratios, as batch effects are taken out elsewhere (Anders and Huber, 2010). Thresholds were tuned on made fleets (judge/fleet).',
  thresholds: THRESHOLDS,
  sql: SQL,
  schema: agentRow({
    hours: 'numbers',
    events: 'numbers',
    sessions: 'numbers',
    last_hours: 'numbers',
    last_ids: 'texts',
  }),
  find(rows, limits, window) {
    const { since, origin } = hoursOf(window, DAYS)
    // The last hour is not over.
    const hours = { since, origin, until: Math.floor(window.until.getTime() / 3_600_000) }
    const agents = rows.flatMap((row) => agentOf(row, hours, limits) ?? [])
    const factors = { resting: factorsOf(agents, true, hours), always: factorsOf(agents, false, hours) }
    return agents.flatMap((agent) => silencesOf(agent, { hours, limits, factors }))
  },
}

interface SeasonedAgent {
  readonly row: SilenceRow
  readonly events: Float64Array
  readonly sessions: Float64Array
  readonly born: number
  /** Rests on weekends. */
  readonly resting: boolean
  /** Sessions expected at least, and usually, by hour. */
  readonly low: Float64Array
  readonly usual: Float64Array
  /** `a` of the variance. */
  readonly noise: number
}

function agentOf(row: SilenceRow, hours: Hours, limits: Limits): SeasonedAgent | undefined {
  const events = dense(row.hours, row.events, hours)
  const sessions = dense(row.hours, row.sessions, hours)
  const born = bornAt(events)
  if (events.length - born < limits.min_history_days * 24) return undefined
  const [low, usual] = [new Float64Array(events.length), new Float64Array(events.length)]
  const [work, weekend] = [
    [0, 0],
    [0, 0],
  ] as [[number, number], [number, number]]
  const slots: number[][] = Array.from({ length: 48 }, () => [])
  for (let at = born + 1; at < events.length; at++) {
    const kind = kindOf(hours.origin + at)
    slots[kind]?.push(sessions[at] ?? 0)
    const sum = kind < 24 ? work : weekend
    sum[0] += sessions[at] ?? 0
    sum[1]++
  }
  const middle = slots.map((values) => trimmedMean(values))
  for (let at = 0; at < events.length; at++) {
    const near = [-1, 0, 1].map((step) => kindOf(hours.origin + at + step))
    low[at] = Math.min(...near.map((slot) => middle[slot] ?? 0))
    usual[at] = middle[kindOf(hours.origin + at)] ?? 0
  }
  const resting = weekend[0] / Math.max(1, weekend[1]) < 0.5 * (work[0] / Math.max(1, work[1]))
  const noise = Math.max(limits.min_noise, noiseOf(sessions, usual, born))
  return { row, events, sessions, born, resting, low, usual, noise }
}

/** 0 to 23 on working days, 24 to 47 on weekends. */
function kindOf(hour: number): number {
  const day = (Math.floor(hour / 24) + 4) % 7
  return (hour % 24) + (day === 0 || day === 6 ? 24 : 0)
}

function trimmedMean(values: readonly number[]): number {
  const cut = Math.floor(values.length * 0.15)
  const kept = values.toSorted((a, b) => a - b).slice(cut, values.length - cut)
  return kept.reduce((sum, value) => sum + value, 0) / Math.max(1, kept.length)
}

/** By moments, over all hours: a silence makes an agent noisier, but of weeks it is a small part. */
function noiseOf(sessions: Float64Array, usual: Float64Array, born: number): number {
  let [excess, squares] = [0, 0]
  for (let at = born; at < sessions.length; at++) {
    const expected = usual[at] ?? 0
    excess += ((sessions[at] ?? 0) - expected) ** 2 - expected
    squares += expected ** 2
  }
  return squares === 0 ? 1 : excess / squares
}

const FLEET_HOURS = 6

/** What the agents of a kind did beside their season, by hour: a median over those that have enough to do then, at most 1. */
function factorsOf(agents: readonly SeasonedAgent[], resting: boolean, { origin, until }: Hours): Float64Array {
  const factors = new Float64Array(until - origin).fill(1)
  const kind = agents.filter((agent) => agent.resting === resting)
  for (let at = FLEET_HOURS; at < factors.length; at++) {
    const ratios = kind.flatMap(({ sessions, usual, born }) => {
      if (born > at - FLEET_HOURS) return []
      const sum = (values: Float64Array): number =>
        values.subarray(at - FLEET_HOURS + 1, at + 1).reduce((a, b) => a + b, 0)
      const expected = sum(usual)
      return expected >= 3 ? [sum(sessions) / expected] : []
    })
    if (ratios.length >= 3) factors[at] = Math.min(1, median(ratios))
  }
  return factors
}

interface Judged {
  readonly hours: Hours
  readonly limits: Limits
  readonly factors: { readonly resting: Float64Array; readonly always: Float64Array }
}

interface Silence {
  /** Its first and the hour after its last silent hour. */
  readonly from: number
  readonly until: number
  /** Sessions that its hours had otherwise. */
  readonly missed: number
  /** Minus the logarithm of its probability. */
  readonly surprise: number
}

function silencesOf(agent: SeasonedAgent, { hours, limits, factors }: Judged): Finding[] {
  const expected = (at: number): number =>
    (agent.low[at] ?? 0) *
    (agent.resting ? (factors.resting[at] ?? 1) : Math.max(limits.always_floor, factors.always[at] ?? 1))
  const silences: Silence[] = []
  let [from, missed, surprise] = [agent.born, 0, 0]
  for (let at = agent.born; at <= agent.events.length; at++) {
    if (at < agent.events.length && agent.events[at] === 0) {
      missed += expected(at)
      surprise += Math.log1p(agent.noise * expected(at)) / agent.noise
    } else {
      if (at > from) silences.push({ from, until: at, missed, surprise })
      ;[from, missed, surprise] = [at + 1, 0, 0]
    }
  }
  return silences.flatMap((silence, index) => {
    const inWindow = silence.until + hours.origin > hours.since
    const longest = Math.max(0, ...silences.slice(0, index).map((each) => each.surprise))
    const limit = Math.max(limits.min_surprise, limits.tail_factor * longest)
    const young = silence.from - agent.born < limits.min_history_days * 24
    const long = silence.until - silence.from >= limits.min_hours
    return inWindow && !young && long && silence.surprise >= limit ? [describe(agent, silence, { hours, limit })] : []
  })
}

function describe(
  { row }: SeasonedAgent,
  silence: Silence,
  { hours, limit }: { hours: Hours; limit: number },
): Finding {
  const since = isoHour(hours.origin + silence.from)
  const length = silence.until - silence.from
  const before = row.last_hours.indexOf(hours.origin + silence.from - 1)
  const still = silence.until + hours.origin >= hours.until
  return {
    cause: `${row.agent_id}/silent since ${since}`,
    severity: silence.surprise >= 3 * limit ? 'high' : 'medium',
    summary: `${row.agent_id}: no event for ${length} hours since ${since}; about ${short(silence.missed)} sessions were expected`,
    score: scoreOf(silence.surprise, limit / 2),
    agent_id: row.agent_id,
    session_id: null,
    signals: [
      { name: 'silent_hours', value: length },
      { name: 'sessions_missed', value: 0, expected: short(silence.missed) },
      { name: 'surprise', value: short(silence.surprise), expected: short(limit) },
      { name: 'still_silent', value: still },
    ],
    evidence: before < 0 ? [] : [row.last_ids[before] ?? ''],
  }
}
