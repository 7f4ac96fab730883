/** What an agent of a made fleet is, and how it acts at a time. */
import type { TrailEvent } from '@agent-audit/analytics'
import type { Random } from './random.ts'

export const DAY_MS = 24 * 60 * 60 * 1000
export const HOUR_MS = 60 * 60 * 1000

/** Fields of an event to store; those that are absent are null or filled in. A `log_time` later than the event is a late arrival. */
export type FleetEvent = Partial<TrailEvent> &
  Pick<TrailEvent, 'event_id' | 'timestamp' | 'event_type' | 'session_id' | 'agent_id'>

export interface Tool {
  /** How often it is called, relative to the others. */
  readonly weight: number
  input(random: Random): Record<string, unknown>
}

/** How an agent acts at a time. */
export interface Behaviour {
  /** Factor on its sessions. */
  readonly rate: number
  /** Tool calls of a session, median. */
  readonly steps: number
  readonly agent_version: string
  readonly model_id: string
  /** Text whose SHA-256 is the prompt's hash. */
  readonly system_prompt: string
  /** Of a model call, milliseconds, median. */
  readonly latencyMs: number
  /** Of a model call, median. */
  readonly inputTokens: number
  readonly outputTokens: number
  readonly usdPerMillionTokens: number
  /** Share of tool results that are errors, and of calls that a policy denies. */
  readonly errorRate: number
  readonly deniedRate: number
  readonly tools: Readonly<Record<string, Tool>>
}

export interface Change {
  readonly from: Date
  /** @defaultValue for good */
  readonly until?: Date | undefined
  alter(behaviour: Behaviour): Behaviour
}

export interface Agent {
  readonly agent_id: string
  /** When it works: in office hours, in evenings, in a nightly batch, always. */
  readonly season: 'office' | 'evening' | 'night' | 'always'
  /** IANA time zone of its seasons, with daylight saving time. */
  readonly zone: string
  readonly sessionsPerDay: number
  /** Factor on Mondays. */
  readonly monday: number
  /** Growth a week, 0.05 for 5 %. */
  readonly growth: number
  /** Shape of the gamma noise of an hour and of a day: the smaller, the noisier. */
  readonly hourShape: number
  readonly dayShape: number
  /** Spread of the number of steps of a session. */
  readonly stepSigma: number
  /** First day of the agent. */
  born: Date
  readonly base: Behaviour
  readonly changes: Change[]
  /** How long the log receives its events after they happened, milliseconds. @defaultValue a second */
  delayMs?: ((timestamp: number) => number) | undefined
}

/** How an agent acts at a time: its base, altered by each change in force. */
export function behaviourAt(agent: Agent, at: number): Behaviour {
  let behaviour = agent.base
  for (const change of agent.changes) {
    const over = change.until !== undefined && at >= change.until.getTime()
    if (at >= change.from.getTime() && !over) behaviour = change.alter(behaviour)
  }
  return behaviour
}
