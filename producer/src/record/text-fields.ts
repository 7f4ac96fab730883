/** The text fields that a caller fills. */
import type { AuditRecord } from '@agent-audit/schemas'

/** Fields whose value is text or null. */
export type TextField = {
  [Name in keyof AuditRecord]: string | null extends AuditRecord[Name] ? Name : never
}[keyof AuditRecord]

/** What was said and done. A cut leaves these texts readable. */
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

/** Names of persons and things: an event without them is worth little, so they are never cut. */
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

/** Content that is JSON text, canonical in tool_input. tool_output is JSON only when the tool returned no string. */
export const JSON_FIELDS: ReadonlySet<string> = new Set([
  'input_messages',
  'tool_calls_requested',
  'tool_input',
  'content',
])
