/** What scenarios of activity have in common: when an agent is busy, and changes of its behaviour over a time. */
import type { Fleet } from '../fleet.ts'
import { type Agent, type Behaviour, DAY_MS, HOUR_MS } from '../model.ts'
import type { Random } from '../random.ts'
import type { Scenario, Truth } from '../scenario.ts'

/** Hour of UTC at which an agent is busiest in the judged week. */
const BUSIEST: Readonly<Record<Agent['season'], number>> = { office: 9, evening: 19, night: 1, always: 13 }
const OFFSET: Readonly<Record<string, number>> = { 'Europe/Berlin': 1, 'America/New_York': -4 }

/** The start of `hours` around the busiest hour of a day of the judged week, 0 for its Monday. */
export function busyFrom(agent: Agent, { fleet, day, hours }: { fleet: Fleet; day: number; hours: number }): Date {
  const hour = BUSIEST[agent.season] - (OFFSET[agent.zone] ?? 0) - Math.floor(hours / 2)
  return new Date(fleet.judgedFrom.getTime() + day * DAY_MS + Math.max(0, hour) * HOUR_MS)
}

export const large = (agent: Agent): boolean => agent.sessionsPerDay >= 16
export const busy = (agent: Agent): boolean => agent.sessionsPerDay >= 45
export const busyAllDay = (agent: Agent): boolean => large(agent) && agent.season === 'always'

interface Burst {
  readonly hours: number
  readonly fits?: ((agent: Agent) => boolean) | undefined
  readonly alter: (behaviour: Behaviour) => Behaviour
}

/** Another behaviour for some hours of one day, Monday to Thursday, when the agent is busy. */
export function burst({ hours, fits = large, alter }: Burst): Scenario['apply'] {
  return (fleet, random) => {
    const agent = fleet.take(fits)
    const from = busyFrom(agent, { fleet, day: Math.floor(random.between(0, 4)), hours })
    const until = new Date(from.getTime() + hours * HOUR_MS)
    agent.changes.push({ from, until, alter })
    return { agent_id: agent.agent_id, session_id: null, from, until }
  }
}

interface Lasting {
  readonly fits?: ((agent: Agent) => boolean) | undefined
  readonly says?: Truth['says']
  readonly alter: (behaviour: Behaviour) => Behaviour
}

/** Another behaviour from Tuesday of the judged week on. */
export function lasting({ fits = large, says, alter }: Lasting): Scenario['apply'] {
  return (fleet) => {
    const agent = fleet.take(fits)
    const from = new Date(fleet.judgedFrom.getTime() + DAY_MS + 8 * HOUR_MS)
    agent.changes.push({ from, alter })
    return { agent_id: agent.agent_id, session_id: null, from, says }
  }
}

interface Again {
  readonly fits?: ((agent: Agent) => boolean) | undefined
  /** The days of a week that it is so, 0 for Monday. */
  readonly days: readonly number[]
  /** @defaultValue all day */
  readonly hours?: number | undefined
  readonly alter: (behaviour: Behaviour) => Behaviour
}

/** Another behaviour on the same days of each week: a habit, and no anomaly. */
export function everyWeek({ fits = large, days, hours, alter }: Again): Scenario['apply'] {
  return (fleet) => {
    const agent = fleet.take(fits)
    for (let week = fleet.from.getTime(); week < fleet.until.getTime(); week += 7 * DAY_MS) {
      for (const day of days) {
        const start = busyFrom(agent, { fleet, day, hours: hours ?? 0 }).getTime() - fleet.judgedFrom.getTime()
        const from = new Date(week + (hours === undefined ? day * DAY_MS : start))
        const until = new Date(from.getTime() + (hours === undefined ? DAY_MS : hours * HOUR_MS))
        agent.changes.push({ from, until, alter })
      }
    }
    return { agent_id: agent.agent_id, session_id: null }
  }
}

/** A rollout that was planned: the version says so. */
export function rollout(behaviour: Behaviour): Behaviour {
  return { ...behaviour, agent_version: '2.0.0', system_prompt: `${behaviour.system_prompt} Be polite.` }
}

/** The agent is new: it begins on the Wednesday before the judged week. */
export const newAgent: Scenario['apply'] = (fleet) => {
  const agent = fleet.take(large)
  agent.born = new Date(fleet.judgedFrom.getTime() - 5 * DAY_MS)
  return { agent_id: agent.agent_id, session_id: null }
}

/** The first tool of an agent by weight. */
export function topTool({ tools }: Behaviour): string {
  return Object.entries(tools).toSorted(([, a], [, b]) => b.weight - a.weight)[0]?.[0] ?? ''
}

/** The tools with other weights. */
export function reweigh(behaviour: Behaviour, weigh: (name: string, weight: number) => number): Behaviour {
  const tools = Object.entries(behaviour.tools).map(([name, tool]) => [
    name,
    { ...tool, weight: weigh(name, tool.weight) },
  ])
  return { ...behaviour, tools: Object.fromEntries(tools) as Behaviour['tools'] }
}

/** One tool with other arguments. */
export function reshape(
  behaviour: Behaviour,
  input: (before: Record<string, unknown>, random: Random) => Record<string, unknown>,
): Behaviour {
  const name = topTool(behaviour)
  const tool = behaviour.tools[name]
  if (tool === undefined) return behaviour
  const changed = { ...tool, input: (random: Random) => input(tool.input(random), random) }
  return { ...behaviour, tools: { ...behaviour.tools, [name]: changed } }
}
