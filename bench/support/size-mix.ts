/**
 * Sessions with the size mix of real sessions: from the recorded file that AUDIT_SESSIONS_FILE names (OpenAI chat format, one
 * session a line, plain or gzip), else generated sessions of the same sizes.
 */
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import type { EventInput } from '@agent-audit/schemas'
import { createRandom, makeSessions, type SessionScript } from './sessions.ts'

export interface SizeMix {
  readonly source: 'recorded' | 'synthetic'
  readonly sessions: readonly SessionScript[]
}

/**
 * Bytes that this share of the encoded records of the 100 recorded tau-bench airline sessions does not exceed; their mean
 * is 1041. The generated mix is linear between two points.
 */
const RECORD_BYTES: readonly (readonly [share: number, bytes: number])[] = [
  [0, 278],
  [0.05, 316],
  [0.1, 333],
  [0.25, 359],
  [0.5, 678],
  [0.75, 1191],
  [0.9, 1750],
  [0.95, 2227],
  [0.99, 6924],
  [1, 10_902],
]
/** Bytes of a generated record without its text. */
const BARE_RECORD_BYTES = 290
const SYNTHETIC_SESSIONS = 130

export function readSizeMix(file: string | undefined): SizeMix {
  if (file !== undefined && file !== '') return { source: 'recorded', sessions: readRecorded(file) }
  const random = createRandom(11)
  return {
    source: 'synthetic',
    sessions: makeSessions(SYNTHETIC_SESSIONS, () => recordBytes(random()) - BARE_RECORD_BYTES, 13),
  }
}

function recordBytes(share: number): number {
  const above = RECORD_BYTES.findIndex(([point]) => point >= share)
  const [high, highBytes] = RECORD_BYTES[above] ?? [1, 0]
  const [low, lowBytes] = RECORD_BYTES[above - 1] ?? [0, highBytes]
  return high === low ? highBytes : lowBytes + ((highBytes - lowBytes) * (share - low)) / (high - low)
}

interface ChatMessage {
  readonly role: string
  readonly content: string | null
  readonly name?: string
  readonly tool_call_id?: string
  readonly tool_calls?: readonly { id: string; function: { name: string; arguments: string } }[]
}

function readRecorded(file: string): SessionScript[] {
  const bytes = readFileSync(file)
  const text = (bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes).toString()
  const lines = text.split('\n').filter((line) => line !== '')
  return lines.map((line) => toScript((JSON.parse(line) as { messages: ChatMessage[] }).messages))
}

function toScript(messages: readonly ChatMessage[]): SessionScript {
  const opening = messages.findIndex((message) => message.role === 'user')
  const events = messages.flatMap((message, index) => (index === opening ? [] : toEvents(message, messages, index)))
  return { start: { user_message: messages[opening]?.content }, events }
}

function toEvents(message: ChatMessage, all: readonly ChatMessage[], index: number): EventInput[] {
  if (message.role === 'user') return [{ event_type: 'user_message', message: message.content }]
  if (message.role === 'tool') {
    const [tool_name, tool_call_id] = [message.name ?? 'unknown', message.tool_call_id ?? 'unknown']
    return [{ event_type: 'tool_result', tool_name, tool_call_id, tool_output: message.content }]
  }
  if (message.role !== 'assistant') return []
  const calls = (message.tool_calls ?? []).map(({ id, function: { name, arguments: input } }) => ({
    id,
    name,
    input: JSON.parse(input) as unknown,
  }))
  return [
    {
      event_type: 'llm_call',
      input_messages: all.slice(0, index),
      output_text: message.content,
      tool_calls_requested: calls,
    },
    ...calls.map((call): EventInput => ({
      event_type: 'tool_call',
      tool_name: call.name,
      tool_call_id: call.id,
      tool_input: call.input,
    })),
  ]
}
