/** The fields of a record that hold text of the agent's own, by what their text is for. */
import type { AuditRecord } from '@agent-audit/schemas'

/** Fields whose value is text or null. */
type TextField = {
  [Name in keyof AuditRecord]: string | null extends AuditRecord[Name] ? Name : never
}[keyof AuditRecord]

/** What was said and done: what they mean survives a cut. */
export const CONTENT_FIELDS: readonly TextField[] = [
  'reason',
  'reasoning',
  'output_text',
  'input_messages',
  'tool_calls_requested',
  'tool_input',
  'tool_output',
  'error',
  'content',
]

/** Who and which: an event without them is worth little. */
export const NAME_FIELDS: readonly TextField[] = [
  'user_id',
  'approver_id',
  'tool_call_id',
  'tool_name',
  'model_id',
  'provider',
  'stop_reason',
  'error_type',
]
