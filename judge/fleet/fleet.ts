/**
 * A made fleet: agents with seasons, growth and noise, whose sessions become events of the trail. Everything follows from the
 * seed. A scenario changes the behaviour of an agent over a time, or adds whole sessions; each agent draws from a source of
 * its own, so the other agents stay as they were.
 */
import { makeAgent } from './agents.ts'
import { type Agent, DAY_MS, type FleetEvent } from './model.ts'
import { type Random, seededRandom } from './random.ts'
import { eventsOfAgent } from './sessions.ts'

export interface FleetOptions {
  readonly seed: number
  /** @defaultValue 80 */
  readonly agents?: number | undefined
  /** Midnight of a Monday. @defaultValue 2026-09-28, so that daylight saving time ends before the judged week */
  readonly from?: Date | undefined
  /** @defaultValue 5: four of history, one that is judged */
  readonly weeks?: number | undefined
}

export interface Fleet {
  readonly seed: number
  readonly from: Date
  /** Start of the judged week. */
  readonly judgedFrom: Date
  readonly until: Date
  readonly agents: readonly Agent[]
  /** Whole sessions beside those of the agents. */
  readonly sessions: FleetEvent[][]
  /** An agent that no scenario has taken yet. @throws Error if no agent is left that fits */
  take(fits?: (agent: Agent) => boolean): Agent
  /** The source that the agent's events are drawn from. */
  randomOf(agent: Agent): Random
  /** All events, an agent at a time, then the sessions beside: a fleet is large. In order of time within each. */
  events(): Iterable<readonly FleetEvent[]>
}

export function makeFleet({
  seed,
  agents: count = 80,
  from = new Date('2026-09-28T00:00:00Z'),
  weeks = 5,
}: FleetOptions): Fleet {
  const random = seededRandom(seed)
  const until = new Date(from.getTime() + weeks * 7 * DAY_MS)
  const agents = Array.from({ length: count }, (_, index) => makeAgent(index, from, random.fork(`agent ${index}`)))
  const free = new Set(agents)
  const sessions: FleetEvent[][] = []
  return {
    seed,
    from,
    judgedFrom: new Date(until.getTime() - 7 * DAY_MS),
    until,
    agents,
    sessions,
    take(fits = () => true) {
      const agent = [...free].find(fits)
      if (agent === undefined) throw new Error('no agent of the fleet is left that fits: make a larger fleet')
      free.delete(agent)
      return agent
    },
    randomOf: (agent) => random.fork(agent.agent_id),
    *events() {
      for (const agent of agents) yield eventsOfAgent(agent, { until, random: random.fork(agent.agent_id) })
      yield* sessions
    },
  }
}
