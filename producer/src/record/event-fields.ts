/** From the input of an event to the fields of its record, type by type. */
import type {
  ActionFields,
  Common,
  CustomEvent,
  EventInputs,
  Maybe,
  Outcome,
  SessionInputs,
  ToolCall,
} from '@agent-audit/schemas'
import { UNNAMED } from './event-record.ts'
import type { EventRecord } from './event-record.ts'
import type { FieldWriter } from './field-writer.ts'
import { describeThrown } from './thrown.ts'

/** Input of the events that only the approval methods record. */
export interface ApprovalInputs {
  approval_request: ToolCall & { expires_at: string }
  approval_decision: Common &
    Pick<ActionFields, 'approval'> & {
      tool_name: string
      tool_call_id: string
      /** Of the arguments that the approver decided on. */
      arguments_sha256: string
      /** Those arguments, where they are not the ones asked for. */
      tool_input?: unknown
    }
}

type AllInputs = EventInputs & SessionInputs & ApprovalInputs & { custom: CustomEvent }
type Fill<Input> = (record: EventRecord, input: Input, fields: FieldWriter) => void

/** Fills in the fields of a built-in type, or of a custom one. `input` has passed the check at the edge. */
export function fillEvent(record: EventRecord, input: Common, fields: FieldWriter): void {
  const type = record.event_type
  const fill = Object.hasOwn(FILL, type) ? FILL[type as keyof AllInputs] : FILL.custom
  record.outcome = input.outcome ?? null
  record.reason = fields.text('reason', input.reason)
  record.reason_code = input.reason_code ?? null
  ;(fill as Fill<Common>)(record, input, fields)
}

const FILL: { [Type in keyof AllInputs]: Fill<AllInputs[Type]> } = {
  session_start(record, input, fields) {
    const { user_message, tools_available, system_prompt } = input
    record.content = fields.content(input.content, {
      user_message,
      tools_available,
      system_prompt: system_prompt ?? undefined,
    })
  },
  user_message(record, input, fields) {
    record.user_id = fields.text('user_id', input.user_id) ?? record.user_id
    record.content = fields.content(input.content, { message: input.message })
  },
  llm_call(record, input, fields) {
    fillModelCall(record, input, fields)
    const code = fillError(record, input, fields)
    record.content = fields.content(input.content, code)
  },
  decision(record, input, fields) {
    record.reasoning = fields.text('reasoning', input.reasoning)
    record.policy = fields.json('policy', input.policy)
    record.content = fields.content(input.content)
  },
  tool_call(record, input, fields) {
    fillToolCall(record, input, fields)
    record.approval = fields.json('approval', (input as ActionFields).approval) // Of a guarded call.
    record.tool_call_id ??= UNNAMED
    record.outcome = outcomeOf(input, 'allowed')
    record.content = fields.content(input.content)
  },
  tool_result(record, input, fields) {
    record.tool_call_id = fields.text('tool_call_id', input.tool_call_id)
    record.tool_name = fields.text('tool_name', input.tool_name)
    const code = fillToolResult(record, input, fields)
    record.outcome = outcomeOf(input, (input.error ?? null) === null ? 'success' : 'error')
    const { source, untrusted } = input
    const own =
      source === undefined && untrusted === undefined ? code : { source: source ?? undefined, untrusted, ...code }
    record.content = fields.content(input.content, own)
  },
  approval_request(record, input, fields) {
    fillToolCall(record, input, fields)
    record.tool_call_id ??= UNNAMED
    record.approval_id = UNNAMED
    record.approval_status = 'pending'
    record.content = fields.content(input.content, { expires_at: input.expires_at })
  },
  approval_decision(record, input, fields) {
    record.tool_call_id = fields.text('tool_call_id', input.tool_call_id)
    record.tool_name = fields.text('tool_name', input.tool_name)
    if (input.tool_input !== undefined) fillArguments(record, input.tool_input, fields)
    else record.arguments_sha256 = Buffer.from(input.arguments_sha256, 'hex')
    record.approval = fields.json('approval', input.approval)
    record.content = fields.content(input.content)
  },
  human_intervention(record, input, fields) {
    record.approver_id = fields.text('approver_id', input.approver_id)
    record.tool_call_id = fields.text('tool_call_id', input.tool_call_id)
    record.tool_name = fields.text('tool_name', input.tool_name)
    if (input.tool_input !== undefined) fillArguments(record, input.tool_input, fields)
    record.approval_id = input.approval_id ?? null
    record.approval = fields.json('approval', input.approval)
    record.content = fields.content(input.content)
  },
  sandbox_crossing(record, input, fields) {
    const { boundary, direction, resource } = input
    record.tool_call_id = fields.text('tool_call_id', input.tool_call_id)
    record.on_behalf_of = fields.text('on_behalf_of', input.on_behalf_of)
    record.policy = fields.json('policy', input.policy)
    record.effect = input.effect ?? null
    record.content = fields.content(input.content, { boundary, direction, resource })
  },
  state_snapshot(record, input, fields) {
    record.content = fields.content(input.content, { state: input.state })
  },
  error(record, input, fields) {
    const code = describeError(record, input.error, fields)
    record.error_type = fields.text('error_type', input.error_type) ?? record.error_type
    record.effect = input.effect ?? null
    record.content = fields.content(input.content, code)
  },
  final_output(record, input, fields) {
    record.output_text = fields.text('output_text', input.output_text)
    record.content = fields.content(input.content)
  },
  session_end(record, input, fields) {
    record.output_text = fields.text('output_text', input.output_text)
    record.outcome = outcomeOf(input, 'success')
    record.content = fields.content(input.content)
  },
  session_timeout(record, input, fields) {
    record.output_text = fields.text('output_text', input.output_text)
    record.outcome = outcomeOf(input, 'error')
    record.content = fields.content(input.content)
  },
  custom(record, input, fields) {
    fillModelCall(record, input, fields)
    fillToolCall(record, input, fields)
    record.approver_id = fields.text('approver_id', input.approver_id)
    record.approval = fields.json('approval', input.approval)
    const code = fillToolResult(record, input, fields)
    const { source, untrusted } = input
    record.content = fields.content(input.content, { source: source ?? undefined, untrusted, ...code })
  },
}

/** Not input_messages: what of them is recorded depends on the session (complete-record.ts). */
function fillModelCall(record: EventRecord, input: Loose<AllInputs['llm_call']>, fields: FieldWriter): void {
  record.output_text = fields.text('output_text', input.output_text)
  record.tool_calls_requested = fields.json('tool_calls_requested', input.tool_calls_requested)
  record.reasoning = fields.text('reasoning', input.reasoning)
  record.stop_reason = fields.text('stop_reason', input.stop_reason)
  record.provider = fields.text('provider', input.provider)
  record.model_id = fields.text('model_id', input.model_id) ?? record.model_id
  record.input_tokens = input.input_tokens ?? null
  record.output_tokens = input.output_tokens ?? null
  record.cache_read_tokens = input.cache_read_tokens ?? null
  record.cache_write_tokens = input.cache_write_tokens ?? null
  record.latency_ms = round(input.latency_ms)
  record.cost_usd = input.cost_usd ?? null
}

function fillToolCall(record: EventRecord, input: Loose<AllInputs['tool_call']>, fields: FieldWriter): void {
  record.tool_call_id = fields.text('tool_call_id', input.tool_call_id)
  record.tool_name = fields.text('tool_name', input.tool_name)
  record.requires_approval = input.requires_approval ?? false
  record.on_behalf_of = fields.text('on_behalf_of', input.on_behalf_of)
  record.idempotency_key = fields.text('idempotency_key', input.idempotency_key)
  record.policy = fields.json('policy', input.policy)
  // A tool_call always has it; a custom event may be about a call without its arguments.
  if (input.tool_input !== undefined) fillArguments(record, input.tool_input, fields)
}

function fillArguments(record: EventRecord, given: unknown, fields: FieldWriter): void {
  const { text, sha256 } = fields.canonical('tool_input', given)
  record.tool_input = text
  record.arguments_sha256 = sha256
}

function fillToolResult(
  record: EventRecord,
  input: Loose<AllInputs['tool_result']>,
  fields: FieldWriter,
): ErrorCodeContent | undefined {
  record.tool_output = fields.output(input.tool_output)
  record.effect = input.effect ?? null
  record.execution_time_ms = round(input.execution_time_ms)
  return fillError(record, input, fields)
}

// An alias, not an interface: TypeScript assigns only an alias to Record<string, unknown>.
type ErrorCodeContent = { readonly error_code: string | number }

/** Every key may be missing, or undefined. */
type Loose<T> = { readonly [Key in keyof T]?: T[Key] | undefined }

/** Fills in the error, if there is one. @returns its code, for the record's content. */
function fillError(
  record: EventRecord,
  { error }: { readonly error?: unknown },
  fields: FieldWriter,
): ErrorCodeContent | undefined {
  return error === undefined || error === null ? undefined : describeError(record, error, fields)
}

function describeError(record: EventRecord, thrown: unknown, fields: FieldWriter): ErrorCodeContent | undefined {
  const { message, type, code } = describeThrown(thrown)
  record.error = fields.text('error', message)
  record.error_type = fields.text('error_type', type)
  return code === undefined ? undefined : { error_code: code }
}

function round(milliseconds: Maybe<number>): number | null {
  return milliseconds === null || milliseconds === undefined ? null : Math.round(milliseconds)
}

/** Null means that the caller does not know, as in imports of recordings; undefined means the usual outcome. */
function outcomeOf(input: Common, usual: Outcome): Outcome | null {
  return input.outcome === undefined ? usual : input.outcome
}
