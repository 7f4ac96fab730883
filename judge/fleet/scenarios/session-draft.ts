/** Writes made sessions, event by event, as detectors of sessions get them. */
import { createHash } from 'node:crypto'
import { type Session, SESSION_FIELDS, type SessionEvent } from '@agent-audit/detect'

/** One anomaly within a session, or what only looks like one. */
export interface SessionScenario {
  /** Name of the detector that has to find it, or must not accuse it. */
  readonly detector: string
  readonly kind: 'strong' | 'mild' | 'benign'
  readonly name: string
  write(draft: SessionDraft, random: Draw): void
}

export interface Draw {
  /** A whole number, both bounds included. */
  (low: number, high: number): number
}

const NOTHING = Object.fromEntries(SESSION_FIELDS.map((name) => [name, null])) as unknown as SessionEvent
const START = Date.parse('2026-11-24T10:00:00Z')

export class SessionDraft {
  readonly #events: SessionEvent[] = []
  #now = START
  readonly id: string
  readonly #draw: Draw
  /** Milliseconds between two events, about: each session has its own pace. */
  readonly #pace: number

  constructor(id: string, draw: Draw) {
    this.id = id
    this.#draw = draw
    this.#pace = 300 * 15 ** (draw(0, 100) / 100)
  }

  wait(ms: number): this {
    this.#now += ms
    return this
  }

  now(): number {
    return this.#now
  }

  add(event_type: string, fields: Partial<SessionEvent> = {}): SessionEvent {
    const number = this.#events.length
    const event = {
      ...NOTHING,
      event_id: `${this.id}-${number}`,
      timestamp: new Date(this.#now).toISOString(),
      event_type,
      session_id: this.id,
      agent_id: 'support',
      user_id: 'alice',
      run_id: '01',
      run_seq: number,
      step_number: number,
      requires_approval: false,
      ...fields,
    }
    this.#events.push(event)
    this.#now += Math.round((this.#pace * this.#draw(50, 150)) / 100)
    return event
  }

  /** A model call, the call that it asks for, and what came of it: a text, or `!text` for an error. */
  call(tool_name: string, tool_input: unknown, came: string, more: Partial<SessionEvent> = {}): SessionEvent {
    this.add('llm_call', { outcome: 'success' })
    return this.act(tool_name, tool_input, came, more)
  }

  /** A call without a model call right before it, and what came of it. */
  act(tool_name: string, tool_input: unknown, came: string, more: Partial<SessionEvent> = {}): SessionEvent {
    const about = { tool_name, tool_call_id: `${this.id}-c${this.#events.length}` }
    const call = this.add('tool_call', { ...about, ...argumentsOf(tool_input), outcome: 'allowed', ...more })
    const result = came.startsWith('!')
      ? { outcome: 'error', error: came.slice(1), error_type: 'Error' }
      : { outcome: 'success', tool_output: came }
    this.add('tool_result', { ...about, parent_event_id: call.event_id, ...result })
    return call
  }

  /** A pause, in seconds, between the two bounds. */
  pause(low: number, high: number): this {
    return this.wait(this.#draw(low, high) * 1000)
  }

  /** Calls as every session has them, each with an answer of its own. */
  ordinary(count: number): this {
    for (let index = 0; index < count; index++) {
      const at = this.#events.length
      this.call(['get_customer', 'get_order', 'search_docs'][at % 3] ?? '', { id: at }, `record ${at}`)
    }
    return this
  }

  session(): Session {
    return { session_id: this.id, agent_id: 'support', events: this.#events }
  }
}

export function argumentsOf(tool_input: unknown): Pick<SessionEvent, 'tool_input' | 'arguments_sha256'> {
  return { tool_input, arguments_sha256: createHash('sha256').update(JSON.stringify(tool_input)).digest('hex') }
}

export function times(count: number, work: (index: number) => void): void {
  for (let index = 0; index < count; index++) work(index)
}
