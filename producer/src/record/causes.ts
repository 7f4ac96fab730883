/** Parents and steps of one session: which event led to which. */
import type { Maybe } from '@agent-audit/schemas'
import type { EventRecord } from './event-record.ts'

/** An event that others can follow from. */
export interface Cause {
  readonly event_id: string
  readonly step: number
}

interface GivenCause {
  readonly parent_event_id?: Maybe<string>
  readonly step_number?: Maybe<number>
}

/** Outcomes of a tool_call that was recorded instead of running the tool. */
const NOT_RUN: ReadonlySet<string | null> = new Set<string | null>(['denied', 'blocked', 'error'])
/** Types that carry a call's id before the call is recorded, and the call itself. */
const OF_A_CALL: ReadonlySet<string> = new Set([
  'llm_call',
  'decision',
  'tool_call',
  'approval_request',
  'final_output',
])

/**
 * A result follows its call. A call or decision follows the model call before it. A model call follows the newest event
 * that the model has read: a message, a result or the start. Every other event follows the newest event. llm_call and
 * tool_call make a new step; every other event shares the step of its cause.
 */
export class Causes {
  #step: number
  #newest: Cause | undefined
  #read: Cause | undefined
  #modelCall: Cause | undefined
  /** Calls without a result yet, by tool_call_id. Some providers repeat ids: a result answers the oldest such call. */
  readonly #openCalls: Map<string, Cause[]> = new Map<string, Cause[]>()

  /** @param origin - The event that the session follows from: the newest one of its parent or of an earlier run. */
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

  /**
   * Fills in parent_event_id and step_number, unless the caller gave them.
   * @param scope - The guarded call in which the event is recorded: all events but the result of an open call follow from it.
   */
  assign(record: EventRecord, given: GivenCause, scope: Cause | undefined): void {
    const cause = this.#openCall(record)?.[0] ?? scope ?? this.#causeOf(record)
    const ownStep = record.event_type === 'llm_call' || record.event_type === 'tool_call'
    record.parent_event_id = given.parent_event_id ?? cause?.event_id ?? null
    record.step_number = given.step_number ?? (ownStep ? this.#step + 1 : (cause?.step ?? this.#step))
  }

  /** Takes note of a record that has its event_id. */
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
        // A call that is not run has no result: the model reads the refusal.
        if (NOT_RUN.has(record.outcome)) this.#read = cause
        else this.#open(record.tool_call_id ?? '', cause)
        break
      case 'tool_result':
        this.#read = cause
        this.#close(record)
        break
      default:
    }
  }

  #causeOf(record: EventRecord): Cause | undefined {
    switch (record.event_type) {
      case 'llm_call':
        return this.#read ?? this.#newest
      case 'decision':
      case 'approval_request':
      case 'tool_call':
      case 'final_output':
        return this.#modelCall ?? this.#newest
      default:
        return this.#newest
    }
  }

  #openCall(record: EventRecord): readonly Cause[] | undefined {
    if (record.tool_call_id === null || OF_A_CALL.has(record.event_type)) return undefined
    return this.#openCalls.get(record.tool_call_id)
  }

  #open(id: string, cause: Cause): void {
    const open = this.#openCalls.get(id)
    if (open === undefined) this.#openCalls.set(id, [cause])
    else open.push(cause)
  }

  #close(record: EventRecord): void {
    const id = record.tool_call_id ?? ''
    const open = this.#openCalls.get(id)
    if (open === undefined) return
    const own = open.findIndex((call) => call.event_id === record.parent_event_id)
    open.splice(Math.max(own, 0), 1)
    if (open.length === 0) this.#openCalls.delete(id)
  }
}
