/** Writes the events of a made agent over weeks, as the trail stores them: for detectors that compare a day with those before. */
import type { FleetEvent } from '../model.ts'
import { argumentsOf, type Draw } from './session-draft.ts'

/** One anomaly of an agent on the judged day, or what only looks like one. */
export interface StoredScenario {
  /** Name of the detector that has to find it, or must not accuse it. */
  readonly detector: string
  readonly kind: 'strong' | 'mild' | 'benign'
  readonly name: string
  write(draft: AgentDraft, draw: Draw): void
}

export const JUDGED_DAY: Date = new Date('2026-11-24T00:00:00Z')
const DAY_MS = 24 * 60 * 60 * 1000
const MINUTE_MS = 60_000

export class AgentDraft {
  readonly id: string
  readonly events: FleetEvent[] = []
  readonly #draw: Draw
  readonly #number: number
  #session = ''
  #run = ''
  #sessions = 0
  #now = 0
  /** Milliseconds that the producer's clock is ahead of the broker's, and that the log takes, at a time of the broker. */
  clock: { aheadMs: number; delayMs(at: number): number }

  constructor(number: number, draw: Draw) {
    this.id = `agent-${number}`
    this.#number = number
    this.#draw = draw
    this.clock = { aheadMs: 0, delayMs: () => draw(100, 3000) }
  }

  /** A new session and run, so many days before the judged one (0: on it), between 8 and 18 o'clock. */
  begin(daysAgo: number, fields: Partial<FleetEvent> = {}): this {
    this.#sessions++
    this.#session = `${this.id}-s${this.#sessions}`
    this.#run = this.#hex(32, this.#sessions)
    this.#now = JUDGED_DAY.getTime() - daysAgo * DAY_MS + this.#draw(8 * 60, 18 * 60) * MINUTE_MS
    return this.add('session_start', { content: { user_message: 'please look at my case' }, ...fields })
  }

  wait(ms: number): this {
    this.#now += ms
    return this
  }

  now(): number {
    return this.#now
  }

  add(event_type: string, fields: Partial<FleetEvent> = {}): this {
    this.#now += this.#draw(500, 5000)
    this.events.push({
      event_id: this.#uuid(),
      timestamp: new Date(this.#now + this.clock.aheadMs).toISOString(),
      log_time: new Date(this.#now + this.clock.delayMs(this.#now)).toISOString(),
      event_type,
      session_id: this.#session,
      run_id: this.#run,
      agent_id: this.id,
      agent_version: '1.0.0',
      ...fields,
    })
    return this
  }

  call(tool_name: string, tool_input: unknown, tool_output = 'ok', more: Partial<FleetEvent> = {}): this {
    const about = { tool_name, tool_call_id: `c${this.events.length}` }
    this.add('tool_call', { ...about, ...argumentsOf(tool_input), outcome: 'allowed', ...more })
    return this.add('tool_result', { ...about, outcome: 'success', tool_output })
  }

  #hex(digits: number, number: number): string {
    return `${this.#number.toString(16).padStart(8, '0')}${number.toString(16).padStart(digits - 8, '0')}`
  }

  #uuid(): string {
    const time = this.#now.toString(16).padStart(12, '0')
    const rest = this.#hex(16, this.events.length)
    return `${time.slice(0, 8)}-${time.slice(8)}-7000-8${rest.slice(1, 4)}-${rest.slice(4)}`
  }
}
