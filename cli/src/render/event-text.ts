/** One text for an event: the fields that matter most for its type. */
import type { TrailEvent } from '@agent-audit/analytics'

/** Any length, with control characters: the caller cuts and cleans it. */
export function describeEvent(event: TrailEvent): string {
  return join([...actionOf(event), mainText(event)])
}

function mainText(event: TrailEvent): string {
  const describe = DESCRIBED.get(event.event_type)
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

/** A map: any text may be an event's type, also the name of a method that every object has. */
const DESCRIBED: ReadonlyMap<string, (event: TrailEvent) => string> = new Map(
  Object.entries<(event: TrailEvent) => string>({
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
  }),
)

/** In front, where the cut of the line does not reach. A confirmed effect is the usual case, and not shown. */
function actionOf(event: TrailEvent): (string | null)[] {
  const { on_behalf_of: principal, reason_code: code, effect, policy } = event
  const [id, version] = ['id', 'version'].map((key) => textOf(memberOf(policy, key)))
  return [
    principal === null ? null : `as ${principal}`,
    effect === null || effect === 'confirmed' ? null : `effect ${effect}`,
    policy === null ? null : ['policy', id, version].join(' ').trimEnd(),
    code,
  ]
}

function describeLlmCall(event: TrailEvent): string {
  const requested = event.tool_calls_requested
  // Text: what another producer wrote, or JSON that cannot be parsed without loss.
  const calls = (Array.isArray(requested) ? (requested as unknown[]) : []).map((call) => {
    const { name, input } = (call ?? {}) as { name?: unknown; input?: unknown }
    return `${textOf(name)}(${input === undefined ? '' : textOf(input)})`
  })
  const asked = typeof requested === 'string' ? requested : calls.join(', ')
  return join([event.error, event.output_text, asked === '' ? null : `-> ${asked}`])
}

function by(event: TrailEvent): string | null {
  return event.approver_id === null ? null : `by ${event.approver_id}${howApproved(event)}`
}

/** Kind of the approver, where it was authenticated, whether it asked for the action, and what it changed. */
function howApproved({ approval }: TrailEvent): string {
  const [kind, source] = ['approver_kind', 'identity_source'].map((key) => textOf(memberOf(approval, key)))
  const self = memberOf(approval, 'self_approval') === true ? 'who asked for it' : ''
  const how = [kind === 'person' ? '' : kind, source, self].filter((part) => part !== '').join(', ')
  const modified = memberOf(approval, 'modified')
  const changed = Array.isArray(modified) && modified.length > 0 ? `, changed ${modified.map(textOf).join(', ')}` : ''
  return `${how === '' ? '' : ` (${how})`}${changed}`
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
  return memberOf(event.content, key)
}

function memberOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined
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
