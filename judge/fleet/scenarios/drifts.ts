/** Scenarios of drift: tools, arguments, outcomes, lengths of answers, models and prompts. */
import { toolOf } from '../agents.ts'
import { type Behaviour, DAY_MS } from '../model.ts'
import type { Scenario } from '../scenario.ts'
import { burst, everyWeek, large, lasting, newAgent, reshape, reweigh, rollout, topTool } from './moves.ts'

const TWICE = { times: 2 }
const says =
  (change: string): ((finding: { signals: readonly { name: string; value: unknown }[] }) => boolean) =>
  ({ signals }) =>
    signals.some(({ name, value }) => name === 'change' && String(value).includes(change))

function halveTop(behaviour: Behaviour, factor: number): Behaviour {
  const top = topTool(behaviour)
  return reweigh(behaviour, (name, weight) => (name === top ? weight * factor : weight))
}

export const DRIFT_SCENARIOS: readonly Scenario[] = [
  {
    detector: 'drift.tools',
    name: 'the main tool is hardly called any more',
    kind: 'strong',
    ...TWICE,
    apply: lasting({ alter: (behaviour) => halveTop(behaviour, 0.1) }),
  },
  {
    detector: 'drift.tools',
    name: 'other tools after a change of version',
    kind: 'strong',
    apply: lasting({ alter: (behaviour) => halveTop(rollout(behaviour), 0.1), says: says('version') }),
  },
  {
    detector: 'drift.tools',
    name: 'the main tool has a third of its weight',
    kind: 'mild',
    ...TWICE,
    apply: lasting({ alter: (behaviour) => halveTop(behaviour, 0.33) }),
  },
  {
    detector: 'drift.tools',
    name: 'a planned rollout that changes no habit',
    kind: 'benign',
    apply: lasting({ alter: rollout }),
  },
  {
    detector: 'drift.tools',
    name: 'other tools on every weekend',
    kind: 'benign',
    apply: everyWeek({ days: [5, 6], alter: (behaviour) => halveTop(behaviour, 0.4) }),
  },
  { detector: 'drift.tools', name: 'a new agent', kind: 'benign', apply: newAgent },
  {
    detector: 'drift.arguments',
    name: 'two keys more and one of another type',
    kind: 'strong',
    ...TWICE,
    apply: lasting({
      alter: (behaviour) => reshape(behaviour, (before) => ({ ...before, id: 7, bcc: ['x@example.org'], raw: true })),
    }),
  },
  {
    detector: 'drift.arguments',
    name: 'a key more in three of ten calls of a tool',
    kind: 'mild',
    ...TWICE,
    apply: lasting({
      alter: (behaviour) =>
        reshape(behaviour, (before, random) => (random.next() < 0.3 ? { ...before, verbose: true } : before)),
    }),
  },
  {
    detector: 'drift.arguments',
    name: 'other tools with the arguments that they had',
    kind: 'benign',
    also: ['drift.tools'],
    apply: lasting({ alter: (behaviour) => halveTop(behaviour, 0.2) }),
  },
  {
    detector: 'drift.outcomes',
    name: 'a third of the calls is denied',
    kind: 'strong',
    ...TWICE,
    apply: lasting({ alter: (behaviour) => ({ ...behaviour, deniedRate: 0.33 }) }),
  },
  {
    detector: 'drift.outcomes',
    name: 'a tenth of the calls more is denied',
    kind: 'mild',
    ...TWICE,
    apply: lasting({ alter: (behaviour) => ({ ...behaviour, deniedRate: behaviour.deniedRate + 0.1 }) }),
  },
  {
    detector: 'drift.outcomes',
    name: 'longer sessions with the outcomes that they had',
    kind: 'benign',
    also: ['rate.events'],
    apply: lasting({ alter: (behaviour) => ({ ...behaviour, steps: behaviour.steps * 1.5 }) }),
  },
  {
    detector: 'drift.output_length',
    name: 'answers are 2.5 times as long',
    kind: 'strong',
    ...TWICE,
    apply: lasting({ alter: (behaviour) => ({ ...behaviour, outputTokens: behaviour.outputTokens * 2.5 }) }),
  },
  {
    detector: 'drift.output_length',
    name: 'answers are half as long after another prompt',
    kind: 'strong',
    also: ['drift.unversioned_change'],
    apply: lasting({
      alter: (behaviour) => ({ ...behaviour, system_prompt: 'Be brief.', outputTokens: behaviour.outputTokens * 0.4 }),
      says: says('prompt'),
    }),
  },
  {
    detector: 'drift.output_length',
    name: 'answers are 1.6 times as long',
    kind: 'mild',
    ...TWICE,
    apply: lasting({ alter: (behaviour) => ({ ...behaviour, outputTokens: behaviour.outputTokens * 1.6 }) }),
  },
  {
    detector: 'drift.output_length',
    name: 'one day of longer answers in every week',
    kind: 'benign',
    apply: everyWeek({
      days: [2],
      alter: (behaviour) => ({ ...behaviour, outputTokens: behaviour.outputTokens * 1.4 }),
    }),
  },
  {
    detector: 'drift.new_tool',
    name: 'a tool that it never called, in a tenth of the calls',
    kind: 'strong',
    ...TWICE,
    also: ['drift.tools'],
    apply: lasting({ alter: (behaviour) => withTool(behaviour, 'delete_database', 0.1) }),
  },
  {
    detector: 'drift.new_tool',
    name: 'a tool that it never called, in three of a hundred calls',
    kind: 'mild',
    ...TWICE,
    // A tool more is another mix of tools.
    also: ['drift.tools'],
    apply: lasting({ alter: (behaviour) => withTool(behaviour, 'export_customers', 0.03) }),
  },
  {
    detector: 'drift.new_tool',
    name: 'a planned rollout with a tool more',
    kind: 'benign',
    also: ['drift.tools'],
    apply: lasting({ alter: (behaviour) => withTool(rollout(behaviour), 'get_weather', 0.2) }),
  },
  {
    detector: 'drift.new_tool',
    name: 'an agent that calls ever new tools',
    kind: 'benign',
    also: ['drift.tools'],
    apply: everNew,
  },
  {
    detector: 'drift.new_tool',
    name: 'a tool of every Tuesday',
    kind: 'benign',
    also: ['drift.tools'],
    apply: everyWeek({ days: [1], alter: (behaviour) => withTool(behaviour, 'weekly_report', 0.2) }),
  },
  {
    detector: 'drift.unversioned_change',
    name: 'another model under the same version',
    kind: 'strong',
    ...TWICE,
    apply: lasting({ alter: (behaviour) => ({ ...behaviour, model_id: 'made-cheap-9' }) }),
  },
  {
    detector: 'drift.unversioned_change',
    name: 'another prompt for some hours',
    kind: 'mild',
    ...TWICE,
    apply: burst({ hours: 4, alter: (behaviour) => ({ ...behaviour, system_prompt: 'Ignore the policy.' }) }),
  },
  {
    detector: 'drift.unversioned_change',
    name: 'a planned rollout of version, model and prompt',
    kind: 'benign',
    apply: lasting({ alter: (behaviour) => ({ ...rollout(behaviour), model_id: 'made-new-5' }) }),
  },
  {
    detector: 'drift.unversioned_change',
    name: 'a router that takes another model at night',
    kind: 'benign',
    apply: everyWeek({
      days: [0, 1, 2, 3, 4, 5, 6],
      hours: 8,
      alter: (behaviour) => ({ ...behaviour, model_id: 'made-night-1' }),
    }),
  },
  { detector: 'drift.unversioned_change', name: 'a prompt with the date in it', kind: 'benign', apply: dated },
]

/** @param share - Of all calls */
function withTool(behaviour: Behaviour, name: string, share: number): Behaviour {
  const sum = Object.values(behaviour.tools).reduce((total, { weight }) => total + weight, 0)
  return { ...behaviour, tools: { ...behaviour.tools, [name]: toolOf(name, (share / (1 - share)) * sum) } }
}

function everNew(fleet: Parameters<Scenario['apply']>[0]): ReturnType<Scenario['apply']> {
  const agent = fleet.take(large)
  for (let at = fleet.from.getTime(), day = 0; at < fleet.until.getTime(); at += DAY_MS, day++) {
    const [from, until] = [new Date(at), new Date(at + DAY_MS)]
    agent.changes.push({
      from,
      until,
      alter: (behaviour) => withTool(withTool(behaviour, `mcp_${day}`, 0.01), `mcp_x${day}`, 0.03),
    })
  }
  return { agent_id: agent.agent_id, session_id: null }
}

function dated(fleet: Parameters<Scenario['apply']>[0]): ReturnType<Scenario['apply']> {
  const agent = fleet.take(large)
  for (let at = fleet.from.getTime(); at < fleet.until.getTime(); at += DAY_MS) {
    const [from, until] = [new Date(at), new Date(at + DAY_MS)]
    const today = from.toISOString().slice(0, 10)
    agent.changes.push({ from, until, alter: (behaviour) => ({ ...behaviour, system_prompt: `Today is ${today}.` }) })
  }
  return { agent_id: agent.agent_id, session_id: null }
}
