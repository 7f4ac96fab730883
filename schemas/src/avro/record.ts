/**
 * The audit record in memory, as it goes on the wire, and which of its fields hold what. What each field means and holds
 * stands in avro/audit-event.avsc alone; a test compares the types below with it.
 */
import { NEWEST_SCHEMA, type RecordField } from './avro-schema.ts'

/**
 * One flat record. Digests and ids that machines compare are bytes, JSON fields hold JSON text, null means "does not apply
 * or not known". The order is the order on the wire.
 */
export interface AuditRecord {
  /** 16 bytes. */
  run_id: Uint8Array
  run_seq: number
  producer_id: string
  session_seq: number
  retention_class: string
  event_id: string
  /** Microseconds since 1970-01-01 UTC. */
  timestamp: number
  event_type: string
  session_id: string
  agent_id: string
  user_id: string | null
  agent_version: string | null
  model_id: string | null
  /** 32 bytes. */
  system_prompt_hash: Uint8Array | null
  step_number: number
  parent_event_id: string | null
  parent_session_id: string | null
  trace_id: string | null
  span_id: string | null
  outcome: string | null
  reason: string | null
  provider: string | null
  stop_reason: string | null
  reasoning: string | null
  output_text: string | null
  input_messages: string | null
  tool_calls_requested: string | null
  input_tokens: number | null
  output_tokens: number | null
  cache_read_tokens: number | null
  cache_write_tokens: number | null
  latency_ms: number | null
  cost_usd: number | null
  tool_call_id: string | null
  tool_name: string | null
  tool_input: string | null
  tool_output: string | null
  /** 32 bytes. */
  arguments_sha256: Uint8Array | null
  error: string | null
  error_type: string | null
  execution_time_ms: number | null
  requires_approval: boolean
  approval_id: string | null
  approval_status: string | null
  approver_id: string | null
  content: string | null
  field_notes: string | null
  replay_of: string | null
  environment: string | null
  on_behalf_of: string | null
  idempotency_key: string | null
  reason_code: string | null
  effect: string | null
  /** 32 bytes. */
  output_sha256: Uint8Array | null
  policy: string | null
  approval: string | null
}

/** Fields whose value is text or null. */
export type TextField = {
  [Name in keyof AuditRecord]: string | null extends AuditRecord[Name] ? Name : never
}[keyof AuditRecord]

/** Fields whose text is JSON. */
export type JsonField =
  | 'input_messages'
  | 'tool_calls_requested'
  | 'tool_input'
  | 'content'
  | 'field_notes'
  | 'policy'
  | 'approval'

/** Fields whose text is JSON, in the order of the wire. */
export const JSON_FIELDS: readonly JsonField[] = fieldsWith(({ format }) => format === 'json')

/** Fields whose end may be cut off, in the order of the wire. */
export const CUT_FIELDS: readonly TextField[] = fieldsWith(({ cut }) => cut)

/** Fields that redaction looks at, in the order of the wire. */
export const REDACTED_FIELDS: readonly TextField[] = fieldsWith(({ redact }) => redact !== false)

/** Of {@link REDACTED_FIELDS} those that lose secret tokens only: an event without its names is worth little. */
export const TOKENS_ONLY_FIELDS: readonly TextField[] = fieldsWith(({ redact }) => redact === 'tokens')

/** The caller names the type; a test compares it with the .avsc. */
function fieldsWith<Name extends TextField>(matches: (field: RecordField) => boolean): Name[] {
  return NEWEST_SCHEMA.fields.filter(matches).map(({ name }) => name as Name)
}
