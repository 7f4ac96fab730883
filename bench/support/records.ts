/** Makes records from scripts, as the producer writes them: the input of the consumer benchmark. */
import type { AuditRecord, EventInput, LlmCall } from '@agent-audit/schemas'
import { EMPTY_RECORD, encodeRecord } from '../../test/support/records.ts'
import { createRandom, newMessages, type SessionScript } from './sessions.ts'

/** A record in Avro single-object encoding, and its partition. */
export interface Message {
  readonly key: string
  readonly value: Buffer
  readonly partition: number
}

type Fields = Partial<AuditRecord>

/** Open sessions of one run at a time, so that their events alternate in the topic. */
const SESSIONS_AT_ONCE = 16
const MODEL = { model_id: 'gpt-4o-2024-11-20' }

interface OpenSession {
  readonly id: string
  readonly partition: number
  readonly plan: readonly Fields[]
  seq: number
  parent: string | null
}

/** One start of a producer: run_seq is contiguous over all of its sessions, and each session has one partition. */
export class Run {
  readonly #id: Buffer
  readonly #random: () => number
  readonly #plans: readonly (readonly Fields[])[]
  readonly #partitions: number
  readonly #open: OpenSession[] = []
  readonly #promptHash: Buffer
  #seq = 0
  #sessions: number
  #time = Date.now() * 1000

  constructor(number: number, plans: readonly (readonly Fields[])[], partitions: number) {
    this.#random = createRandom(1000 + number)
    this.#id = this.#bytes(16)
    this.#promptHash = this.#bytes(32)
    this.#plans = plans
    this.#partitions = partitions
    this.#sessions = number * 1000
  }

  /** 32 hex digits. */
  get id(): string {
    return this.#id.toString('hex')
  }

  next(): Message {
    const turn = this.#seq % SESSIONS_AT_ONCE
    let session = this.#open[turn]
    if (session === undefined || session.seq === session.plan.length) session = this.#open[turn] = this.#startSession()
    const value = this.#encode(session)
    this.#seq++
    session.seq++
    return { key: session.id, value, partition: session.partition }
  }

  #startSession(): OpenSession {
    const number = this.#sessions++
    const plan = this.#plans[number % this.#plans.length] ?? []
    return { id: this.#uuid(), partition: number % this.#partitions, plan, seq: 0, parent: null }
  }

  #encode(session: OpenSession): Buffer {
    this.#time += 1 + Math.floor(this.#random() * 200)
    const event_id = this.#uuid()
    const record: AuditRecord = {
      ...EMPTY_RECORD,
      ...MODEL,
      run_id: this.#id,
      run_seq: this.#seq,
      producer_id: 'bench',
      session_seq: session.seq,
      retention_class: 'default',
      event_id,
      timestamp: this.#time,
      session_id: session.id,
      agent_id: 'customer-service',
      system_prompt_hash: this.#promptHash,
      step_number: session.seq >> 1,
      parent_event_id: session.parent,
      requires_approval: false,
      ...session.plan[session.seq],
    }
    session.parent = event_id
    return encodeRecord(record)
  }

  /** An event id as the producer makes it: milliseconds, bits of the run, run_seq. */
  #uuid(): string {
    const ms = Math.floor(this.#time / 1000)
      .toString(16)
      .padStart(12, '0')
    const run = this.#id.toString('hex')
    const seq = (this.#seq * 2 + (this.#sessions & 1)).toString(16).padStart(8, '0')
    return `${ms.slice(0, 8)}-${ms.slice(8)}-7${run.slice(0, 3)}-8${run.slice(3, 6)}-${run.slice(6, 10)}${seq}`
  }

  #bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => Math.floor(this.#random() * 256)))
  }
}

/** The fields that differ between the records of a session. */
export function fieldsOf(script: SessionScript): Fields[] {
  let previous: LlmCall | undefined
  const start = { event_type: 'session_start', content: JSON.stringify({ user_message: script.start.user_message }) }
  const events = script.events.map((event) => {
    const fields = fieldsOfEvent(event, previous)
    if (event.event_type === 'llm_call') previous = event
    return fields
  })
  return [start, ...events, { event_type: 'session_end', outcome: 'success' }]
}

function fieldsOfEvent(event: EventInput, previous: LlmCall | undefined): Fields {
  switch (event.event_type) {
    case 'llm_call':
      return {
        event_type: event.event_type,
        input_messages: JSON.stringify(newMessages(event, previous)),
        output_text: event.output_text,
        tool_calls_requested:
          event.tool_calls_requested === undefined ? null : JSON.stringify(event.tool_calls_requested),
        input_tokens: event.input_tokens ?? null,
        output_tokens: event.output_tokens ?? null,
        latency_ms: event.latency_ms ?? null,
      }
    case 'tool_call':
      return {
        event_type: event.event_type,
        tool_name: event.tool_name,
        tool_call_id: event.tool_call_id ?? null,
        tool_input: JSON.stringify(event.tool_input),
        outcome: 'allowed',
      }
    case 'tool_result':
      return {
        event_type: event.event_type,
        tool_name: event.tool_name,
        tool_call_id: event.tool_call_id,
        tool_output: String(event.tool_output),
        execution_time_ms: event.execution_time_ms ?? null,
        outcome: 'success',
      }
    case 'user_message':
      return { event_type: event.event_type, content: JSON.stringify({ message: event.message }) }
    default:
      throw new Error(`the scripts have no ${event.event_type}`)
  }
}
