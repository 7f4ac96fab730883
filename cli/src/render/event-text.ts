/** One text for an event: the fields that matter most for its type. */
import type { TrailEvent } from '@agent-audit/analytics'

/** Any length, with control characters: the caller cuts and cleans it. */
export function describeEvent(event: TrailEvent): string {
  const describe = DESCRIBED[event.event_type]
  const text = describe === undefined ? '' : describe(event)
  if (text !== '') return text
  return (
    event.error ??
    event.reason ??
    event.reasoning ??
    event.output_text ??
    (event.content === null ? '' : textOf(event.content))
  )
}

const DESCRIBED: Readonly<Record<string, (event: TrailEvent) => string>> = {
  session_start: (event) => textOf(keyOf(event, 'user_message')),
  user_message: (event) => textOf(keyOf(event, 'message')),
  llm_call: describeLlmCall,
  decision: (event) => event.reasoning ?? '',
  tool_call: (event) => join([event.reason, approvalOf(event), textOf(event.tool_input)]),
  tool_result: (event) => join([event.reason, event.error ?? event.tool_output]),
  approval_request: (event) => join([event.reason, textOf(event.tool_input), until(event)]),
  approval_decision: (event) =>
    join([by(event), event.outcome === 'denied' ? 'does not count' : null, event.reason, argumentsOf(event)]),
  human_intervention: (event) => join([by(event), event.reason, argumentsOf(event), until(event)]),
  sandbox_crossing: (event) =>
    join([textOf(keyOf(event, 'direction')), textOf(keyOf(event, 'boundary')), textOf(keyOf(event, 'resource'))]),
  state_snapshot: (event) => textOf(keyOf(event, 'state')),
  error: (event) => [event.error_type, event.error].filter((part) => part !== null).join(': '),
  final_output: (event) => event.output_text ?? '',
  session_end: (event) => join([event.reason, event.output_text]),
  session_timeout: (event) => join([event.reason, event.output_text]),
}

function describeLlmCall(event: TrailEvent): string {
  const requested = Array.isArray(event.tool_calls_requested) ? (event.tool_calls_requested as unknown[]) : []
  const calls = requested.map((call) => {
    const { name, input } = (call ?? {}) as { name?: unknown; input?: unknown }
    return `${textOf(name)}(${input === undefined ? '' : textOf(input)})`
  })
  return join([event.error, event.output_text, calls.length === 0 ? null : `-> ${calls.join(', ')}`])
}

/** The approver, and what is not usual about the approval. */
function by({ approver_id: id, approval }: TrailEvent): string | null {
  if (id === null) return null
  const { approver_kind: kind, self_approval: self, modified } = (approval ?? {}) as Record<string, unknown>
  const named = kind === undefined || kind === 'person' ? `by ${id}` : `by ${textOf(kind)} ${id}`
  const changed = Array.isArray(modified) ? `changed ${modified.map(textOf).join(', ')}` : ''
  const notes = [self === true ? 'who asked for it' : '', changed].filter((note) => note !== '')
  return notes.length === 0 ? named : `${named} (${notes.join('; ')})`
}

/** A person's decision on the action. */
function approvalOf(event: TrailEvent): string | null {
  // Without a status: the person who overrode a refusal.
  if (event.approval_status === null || event.approver_id === null) return by(event)
  return `${event.approval_status} ${by(event)}`
}

function argumentsOf({ tool_input: input }: TrailEvent): string | null {
  return input === null ? null : textOf(input)
}

function until(event: TrailEvent): string | null {
  const expires = textOf(keyOf(event, 'expires_at'))
  return expires === '' ? null : `until ${expires}`
}

function keyOf(event: TrailEvent, key: string): unknown {
  const content = event.content
  return typeof content === 'object' && content !== null ? (content as Record<string, unknown>)[key] : undefined
}

/** The text of a message, if it is text or consists of text parts; else its JSON. */
function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  if (value === undefined || value === null) return ''
  if (typeof value === 'object' && 'content' in value && 'role' in value) return textOf(value.content)
  const parts = Array.isArray(value) ? (value as unknown[]).map(textPart) : []
  if (parts.length > 0 && parts.every((part) => part !== undefined)) return parts.join(' ')
  return JSON.stringify(value)
}

function textPart(part: unknown): string | undefined {
  const text = (part as { text?: unknown } | null)?.text
  return typeof text === 'string' ? text : undefined
}

function join(parts: readonly (string | null)[]): string {
  return parts.filter((part) => part !== null && part !== '').join(' | ')
}
