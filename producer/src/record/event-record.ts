/** A record that is being filled in. All fields are there from the start, in one order: one hidden class for V8. */
import type { AuditRecord } from '@agent-audit/schemas'

/** Fields that every record of a run carries. */
export interface RunStamps {
  readonly run_id: Uint8Array
  readonly producer_id: string
  readonly retention_class: string
  readonly environment: string | null
}

/** Fields that every record of a session carries. */
export interface SessionStamps {
  readonly session_id: string
  readonly agent_id: string
  readonly agent_version: string | null
  readonly model_id: string | null
  readonly user_id: string | null
  readonly system_prompt_hash: Uint8Array | null
}

/** Placeholder of an id that is made when the record is numbered; as long as the id, so that the size is right before. */
export const UNNAMED = '00000000-0000-0000-0000-000000000000'

/** Starts with the stamps; every other field is null, zero or false until it is filled in. */
export class EventRecord implements AuditRecord {
  run_id: Uint8Array
  run_seq = 0
  producer_id: string
  session_seq = 0
  retention_class: string
  event_id: string = UNNAMED
  timestamp = 0
  event_type: string
  session_id: string
  agent_id: string
  user_id: string | null
  agent_version: string | null
  model_id: string | null
  system_prompt_hash: Uint8Array | null
  step_number = 0
  parent_event_id: string | null = null
  parent_session_id: string | null = null
  trace_id: string | null = null
  span_id: string | null = null
  outcome: string | null = null
  reason: string | null = null
  provider: string | null = null
  stop_reason: string | null = null
  reasoning: string | null = null
  output_text: string | null = null
  input_messages: string | null = null
  tool_calls_requested: string | null = null
  input_tokens: number | null = null
  output_tokens: number | null = null
  cache_read_tokens: number | null = null
  cache_write_tokens: number | null = null
  latency_ms: number | null = null
  cost_usd: number | null = null
  tool_call_id: string | null = null
  tool_name: string | null = null
  tool_input: string | null = null
  tool_output: string | null = null
  arguments_sha256: Uint8Array | null = null
  error: string | null = null
  error_type: string | null = null
  execution_time_ms: number | null = null
  requires_approval = false
  approval_id: string | null = null
  approval_status: string | null = null
  approver_id: string | null = null
  content: string | null = null
  field_notes: string | null = null
  replay_of: string | null = null
  environment: string | null
  on_behalf_of: string | null = null
  idempotency_key: string | null = null
  reason_code: string | null = null
  effect: string | null = null
  output_sha256: Uint8Array | null = null
  policy: string | null = null
  approval: string | null = null

  constructor(eventType: string, run: RunStamps, session: SessionStamps) {
    this.run_id = run.run_id
    this.producer_id = run.producer_id
    this.retention_class = run.retention_class
    this.event_type = eventType
    this.session_id = session.session_id
    this.agent_id = session.agent_id
    this.user_id = session.user_id
    this.agent_version = session.agent_version
    this.model_id = session.model_id
    this.system_prompt_hash = session.system_prompt_hash
    this.environment = run.environment
  }

  /**
   * Gives the record its number in the run. A call without an id of the model gets the event's id, and so does an approval.
   */
  identify(runSeq: number, eventId: string, timestamp: number): void {
    this.run_seq = runSeq
    this.event_id = eventId
    this.timestamp = timestamp
    if (this.tool_call_id === UNNAMED) this.tool_call_id = eventId
    if (this.approval_id === UNNAMED) this.approval_id = eventId
  }
}
