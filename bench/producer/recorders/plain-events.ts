/** The events of a session as a program without this project would record them: plain objects with ids and times. */
import { randomUUID } from 'node:crypto'
import type { SessionScript } from '../../support/sessions.ts'

export const AGENT = 'customer-service'
export const MODEL = 'gpt-4o-2024-11-20'

export interface PlainEvent {
  readonly event_id: string
  /** ISO 8601. */
  readonly timestamp: string
  readonly event_type: string
  readonly session_id: string
  readonly session_seq: number
  readonly agent_id: string
  readonly model_id: string
  readonly [field: string]: unknown
}

export function toPlainEvents({ start, events }: SessionScript): PlainEvent[] {
  const session_id = randomUUID()
  const all = [{ event_type: 'session_start', ...start }, ...events, { event_type: 'session_end', outcome: 'success' }]
  return all.map((event, session_seq) => ({
    ...event,
    event_id: randomUUID(),
    timestamp: new Date().toISOString(),
    session_id,
    agent_id: AGENT,
    model_id: MODEL,
    session_seq,
  }))
}

/** The event as the value of a Kafka message. */
export function toMessages(script: SessionScript): { key: string; value: string }[] {
  return toPlainEvents(script).map((event) => ({ key: event.session_id, value: JSON.stringify(event) }))
}

export function bytesOf(messages: readonly { value: string }[]): number {
  return messages.reduce((sum, { value }) => sum + value.length, 0)
}
