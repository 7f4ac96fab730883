/** Scenarios of rates, latency, errors, budget and silence. */
import type { Fleet } from '../fleet.ts'
import { type Agent, DAY_MS, type FleetEvent, HOUR_MS } from '../model.ts'
import type { Random } from '../random.ts'
import type { Scenario } from '../scenario.ts'
import { eventsOfAgent, makeSession } from '../sessions.ts'
import { burst, busy, busyAllDay, busyFrom, everyWeek, large, lasting, newAgent, rollout } from './moves.ts'

const TWICE = { times: 2 }
const times = (factor: number, of: 'rate' | 'steps' | 'inputTokens' | 'latencyMs', hours: number): Scenario['apply'] =>
  burst({ hours, fits: busy, alter: (behaviour) => ({ ...behaviour, [of]: behaviour[of] * factor }) })

/** One session of many steps, in which calls fail or take long where `alter` says so. */
function longSession(steps: number, alter: (agent: Agent) => Agent['changes'] = () => []): Scenario['apply'] {
  return (fleet, random) => {
    const agent = fleet.take(large)
    const at = busyFrom(agent, { fleet, day: 1, hours: 1 }).getTime()
    fleet.sessions.push(makeSession({ ...agent, changes: alter(agent) }, at, random, steps))
    return { agent_id: agent.agent_id, session_id: null }
  }
}

/** The events of a day arrive 20 hours late, all at once. */
const lateSpool: Scenario['apply'] = (fleet) => {
  const agent = fleet.take(large)
  const from = fleet.judgedFrom.getTime() + DAY_MS
  const arrival = from + DAY_MS + 20 * HOUR_MS
  agent.delayMs = (at) => (at >= from && at < from + DAY_MS ? arrival - at : 1000)
  return { agent_id: agent.agent_id, session_id: null }
}

export const RATE_SCENARIOS: readonly Scenario[] = [
  {
    detector: 'rate.sessions',
    name: 'eight times the sessions for 3 hours',
    kind: 'strong',
    ...TWICE,
    apply: times(8, 'rate', 3),
  },
  {
    detector: 'rate.sessions',
    name: 'four times the sessions for 6 hours',
    kind: 'mild',
    ...TWICE,
    apply: times(4, 'rate', 6),
  },
  {
    detector: 'rate.sessions',
    name: 'a peak of every Monday',
    kind: 'benign',
    apply: everyWeek({ days: [0], hours: 3, alter: (behaviour) => ({ ...behaviour, rate: 4 }) }),
  },
  { detector: 'rate.sessions', name: 'a big spool that arrives late', kind: 'benign', apply: lateSpool },
  { detector: 'rate.sessions', name: 'a new agent', kind: 'benign', apply: newAgent },
  {
    detector: 'rate.events',
    name: 'five times the steps for 3 hours',
    kind: 'strong',
    ...TWICE,
    apply: times(5, 'steps', 3),
  },
  {
    detector: 'rate.events',
    name: 'three times the steps for 6 hours',
    kind: 'mild',
    ...TWICE,
    apply: times(3, 'steps', 6),
  },
  { detector: 'rate.events', name: 'one session of 120 steps', kind: 'benign', apply: longSession(120) },
  {
    detector: 'rate.events',
    name: 'more events, since there are four times the sessions',
    kind: 'benign',
    also: ['rate.sessions'],
    apply: times(4, 'rate', 3),
  },
  {
    detector: 'rate.tokens',
    name: 'eight times the input tokens for 3 hours',
    kind: 'strong',
    ...TWICE,
    apply: times(8, 'inputTokens', 3),
  },
  {
    detector: 'rate.tokens',
    name: 'three times the input tokens for 6 hours',
    kind: 'mild',
    ...TWICE,
    apply: times(3, 'inputTokens', 6),
  },
  {
    detector: 'rate.tokens',
    name: 'one session of 60 steps with a long context',
    kind: 'benign',
    apply: longSession(60, ({ base }) => [
      { from: new Date(0), alter: () => ({ ...base, inputTokens: base.inputTokens * 10 }) },
    ]),
  },
  {
    detector: 'rate.errors',
    name: 'half of the results fail for 3 hours',
    kind: 'strong',
    ...TWICE,
    also: ['drift.outcomes'],
    apply: burst({ hours: 3, fits: busy, alter: (behaviour) => ({ ...behaviour, errorRate: 0.5 }) }),
  },
  {
    detector: 'rate.errors',
    name: 'every fifth result more fails for 8 hours',
    kind: 'mild',
    ...TWICE,
    also: ['drift.outcomes'],
    apply: burst({
      hours: 8,
      fits: busy,
      alter: (behaviour) => ({ ...behaviour, errorRate: behaviour.errorRate + 0.2 }),
    }),
  },
  {
    detector: 'rate.errors',
    name: 'one session of 40 steps that all fail',
    kind: 'benign',
    also: ['drift.outcomes'],
    apply: longSession(40, ({ base }) => [{ from: new Date(0), alter: () => ({ ...base, errorRate: 1 }) }]),
  },
  {
    detector: 'rate.latency',
    name: 'four times the latency for 3 hours',
    kind: 'strong',
    ...TWICE,
    apply: times(4, 'latencyMs', 3),
  },
  {
    detector: 'rate.latency',
    name: '1.8 times the latency for 6 hours',
    kind: 'mild',
    ...TWICE,
    apply: times(1.8, 'latencyMs', 6),
  },
  {
    detector: 'rate.latency',
    name: 'a planned rollout with a slower model',
    kind: 'benign',
    apply: lasting({
      alter: (behaviour) => ({ ...rollout(behaviour), model_id: 'made-new-4', latencyMs: behaviour.latencyMs * 2 }),
    }),
  },
  {
    detector: 'rate.latency',
    name: 'one session of 60 slow steps',
    kind: 'benign',
    also: ['rate.events'],
    apply: longSession(60, ({ base }) => [
      { from: new Date(0), alter: () => ({ ...base, latencyMs: base.latencyMs * 6 }) },
    ]),
  },
  {
    detector: 'budget.ahead',
    name: 'a budget of 0.88 of the month',
    kind: 'strong',
    ...TWICE,
    apply: withBudget(0.88),
  },
  { detector: 'budget.ahead', name: 'a budget of 0.94 of the month', kind: 'mild', ...TWICE, apply: withBudget(0.94) },
  { detector: 'budget.ahead', name: 'a budget of 1.08 of the month', kind: 'benign', apply: withBudget(1.08) },
  { detector: 'budget.ahead', name: 'a budget that ample days hide', kind: 'benign', apply: withBudget(1.2) },
  {
    detector: 'silence.agent',
    name: 'silent for two days',
    kind: 'strong',
    ...TWICE,
    apply: burst({ hours: 48, fits: (agent) => large(agent) && agent.season !== 'office', alter: silent }),
  },
  {
    detector: 'silence.agent',
    name: 'silent for 14 busy hours',
    kind: 'mild',
    ...TWICE,
    apply: burst({ hours: 14, fits: busyAllDay, alter: silent }),
  },
  { detector: 'silence.agent', name: 'a new agent that stops again', kind: 'benign', apply: stops },
]

function silent<T>(behaviour: T): T {
  return { ...behaviour, rate: 0 }
}

function stops(fleet: Fleet, random: Random): ReturnType<Scenario['apply']> {
  const truth = newAgent(fleet, random)
  const agent = fleet.agents.find(({ agent_id }) => agent_id === truth.agent_id)
  agent?.changes.push({ from: new Date(fleet.judgedFrom.getTime() + 2 * DAY_MS), alter: silent })
  return truth
}

/** A budget of a share of what the agent will have spent in the month that ends in the judged week. */
function withBudget(share: number): Scenario['apply'] {
  return (fleet) => {
    const agent = fleet.take(large)
    const end = Date.UTC(fleet.until.getUTCFullYear(), fleet.until.getUTCMonth(), 1)
    const start = Date.UTC(fleet.until.getUTCFullYear(), fleet.until.getUTCMonth() - 1, 1)
    const events: FleetEvent[] = eventsOfAgent(agent, { until: new Date(end), random: fleet.randomOf(agent) })
    const spent = events
      .filter(({ timestamp }) => Date.parse(timestamp) >= start)
      .reduce((sum, { cost_usd }) => sum + (cost_usd ?? 0), 0)
    const usd_a_month = Math.max(0.01, share * spent)
    return {
      agent_id: agent.agent_id,
      session_id: null,
      thresholds: { usd_a_month },
      // Ahead: not all of it is spent.
      says: ({ signals }) => Number(signals.find(({ name }) => name === 'spent_usd')?.value) <= usd_a_month,
    }
  }
}
