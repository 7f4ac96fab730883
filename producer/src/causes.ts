/** Parents and steps: which event led to which. One session's knowledge of its own order. */
import type { EventRecord } from './event-record.ts'

/** An event that others can follow from. */
export interface Cause {
  readonly event_id: string
  readonly step: number
}

/**
 * A result follows its call, a call or decision the model call before it, a model call what it had read: the newest
 * message, result or start. Everything else follows the newest event. llm_call and tool_call make a step of their own;
 * the others share that of their cause.
 */
export class Causes {
  #step: number
  #newest: Cause | undefined
  #read: Cause | undefined
  #modelCall: Cause | undefined
  /** Calls without a result yet, by tool_call_id: the ids of some providers repeat, so the oldest is answered first. */
  readonly #openCalls: Map<string, Cause[]> = new Map<string, Cause[]>()

  /** @param origin - What the session goes on from: the newest event of its parent or of an earlier run. */
  constructor(origin?: Cause) {
    this.#newest = origin
    this.#read = origin
    this.#step = origin?.step ?? 0
  }

  /** The newest event and the step reached. */
  get newest(): Cause | undefined {
    return this.#newest
  }

  get step(): number {
    return this.#step
  }

  /** Fills in parent_event_id and step_number, unless they are given. */
  place(
    record: EventRecord,
    given: { parent_event_id?: string | null | undefined; step_number?: number | null | undefined },
  ): void {
    const cause = this.#causeOf(record)
    const ownStep = record.event_type === 'llm_call' || record.event_type === 'tool_call'
    record.parent_event_id = given.parent_event_id ?? cause?.event_id ?? null
    record.step_number = given.step_number ?? (ownStep ? this.#step + 1 : (cause?.step ?? this.#step))
  }

  /** Takes note of a record that has its event_id now. */
  follow(record: EventRecord): void {
    const cause = { event_id: record.event_id, step: record.step_number }
    this.#newest = cause
    if (record.step_number > this.#step) this.#step = record.step_number
    switch (record.event_type) {
      case 'session_start':
      case 'user_message':
        this.#read = cause
        break
      case 'llm_call':
        this.#modelCall = cause
        break
      case 'tool_call':
        this.#open(record.tool_call_id ?? '', cause)
        break
      case 'tool_result':
        this.#read = cause
        this.#close(record.tool_call_id ?? '')
        break
      default:
    }
  }

  #causeOf(record: EventRecord): Cause | undefined {
    switch (record.event_type) {
      case 'llm_call':
        return this.#read ?? this.#newest
      case 'decision':
      case 'tool_call':
      case 'final_output':
        return this.#modelCall ?? this.#newest
      default:
        return (
          (record.tool_call_id === null ? undefined : this.#openCalls.get(record.tool_call_id)?.[0]) ?? this.#newest
        )
    }
  }

  #open(id: string, cause: Cause): void {
    const open = this.#openCalls.get(id)
    if (open === undefined) this.#openCalls.set(id, [cause])
    else open.push(cause)
  }

  #close(id: string): void {
    const open = this.#openCalls.get(id)
    if (open === undefined) return
    if (open.length > 1) open.shift()
    else this.#openCalls.delete(id)
  }
}
