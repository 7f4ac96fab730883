/**
 * Recorded sessions in the chat format, as the events that our producer records of them when it plays them, made in memory:
 * the same types and the fields that detectors read (input_messages holds what is new to the session, an llm_call the calls it
 * requested). The recordings have no times: event k happened k seconds after the session began.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { DETECTORS, type Session, SESSION_FIELDS, type SessionDetector, type SessionEvent } from '@agent-audit/detect'

export const injectionFollowed: SessionDetector = detectorNamed('injection.followed')
export const injectionRead: SessionDetector = detectorNamed('injection.read')

function detectorNamed(name: string): SessionDetector {
  const detector = DETECTORS.find((each) => each.name === name)
  if (detector?.unit !== 'session') throw new Error(`no detector of sessions is named ${name}`)
  return detector
}

interface ChatCall {
  readonly id: string
  readonly function: { readonly name: string; readonly arguments: string }
}
export interface ChatMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool'
  readonly content: string | null
  readonly tool_calls?: readonly ChatCall[] | null
  readonly tool_call_id?: string
  readonly name?: string
}
export interface Chat {
  readonly session: string
  readonly agent: string
  readonly messages: readonly ChatMessage[]
}
/** What is known of an attacked run: a line of `labels.jsonl`. */

export interface Label {
  readonly session: string
  readonly suite: string
  readonly label: 'benign' | 'injected_resisted' | 'injected_followed'
  readonly user_task: string
  readonly injection_task: string | null
  readonly attack: string | null
  readonly pair: string | null
  readonly marks: readonly string[]
}

/** A file of sessions, one a line, gzip. */
export async function readChats(path: string): Promise<Chat[]> {
  return readLines<Chat>(gunzipSync(await readFile(path)).toString())
}

export async function readLabels(directory: string): Promise<Label[]> {
  return readLines<Label>(await readFile(join(directory, 'labels.jsonl'), 'utf8'))
}

function readLines<T>(text: string): T[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => JSON.parse(line) as T)
}

const EMPTY = Object.fromEntries(SESSION_FIELDS.map((name) => [name, null])) as unknown as SessionEvent

/** @returns Events whose id is `<session>/<index of the message>/<event_type>`. */
export function toSession({ session, agent, messages }: Chat): Session {
  const events: SessionEvent[] = []
  const prompt = messages.find(({ role }) => role === 'system')
  const opening = messages.find(({ role }) => role === 'user')
  const record = (index: number, event_type: string, fields: Partial<SessionEvent>): void => {
    events.push({
      ...EMPTY,
      event_id: `${session}/${index}/${event_type}${events.some(({ event_id }) => event_id === `${session}/${index}/${event_type}`) ? `/${events.length}` : ''}`,
      event_type,
      session_id: session,
      agent_id: agent,
      run_seq: events.length,
      timestamp: new Date(Date.UTC(2026, 0, 1) + events.length * 1000).toISOString().replace('Z', '000Z'),
      requires_approval: false,
      ...fields,
    })
  }
  record(0, 'session_start', { content: { user_message: opening?.content, system_prompt: prompt?.content } })
  let given = 0
  messages.forEach((message, index) => {
    if (message === prompt || message === opening) return
    if (message.role === 'user') record(index, 'user_message', { content: { message: message.content } })
    if (message.role === 'tool') record(index, 'tool_result', resultOf(message, messages))
    if (message.role !== 'assistant') return
    const calls = (message.tool_calls ?? []).map((call) => ({
      id: call.id,
      name: call.function.name,
      input: inputOf(call),
    }))
    record(index, 'llm_call', {
      input_messages: messages.slice(given, index),
      output_text: message.content,
      tool_calls_requested: calls.length === 0 ? null : calls,
    })
    given = index + 1
    for (const { id, name, input } of calls) {
      record(index, 'tool_call', { tool_call_id: id, tool_name: name, tool_input: input, outcome: 'allowed' })
    }
  })
  record(messages.length, 'session_end', {})
  return { session_id: session, agent_id: agent, events }
}

function inputOf(call: ChatCall): unknown {
  try {
    return JSON.parse(call.function.arguments) as unknown
  } catch {
    return call.function.arguments
  }
}

function resultOf(message: ChatMessage, messages: readonly ChatMessage[]): Partial<SessionEvent> {
  const called = messages.flatMap(({ tool_calls }) => tool_calls ?? []).find(({ id }) => id === message.tool_call_id)
  return {
    tool_call_id: message.tool_call_id ?? null,
    tool_name: message.name ?? called?.function.name ?? null,
    tool_output: message.content,
  }
}
