/** What a caller says of an event, by event type. Field meanings and units: avro/audit-event.avsc. */

export type Maybe<T> = T | null | undefined
export const OUTCOMES = ['allowed', 'denied', 'blocked', 'error', 'success'] as const
/** What became of an action. Judged and not taken (denied, blocked) is recorded too. */
export type Outcome = (typeof OUTCOMES)[number]

/** What any event may say. Identity, order and parent are filled in by the producer. */
export interface Common {
  /** The event that led to this one. @defaultValue the cause the session knows */
  parent_event_id?: Maybe<string>
  /** @defaultValue counted by the session */
  step_number?: Maybe<number>
  /** When it happened; for imports. @defaultValue now */
  timestamp?: Maybe<Date>
  outcome?: Maybe<Outcome>
  /** Short cause, without personal data: developers see it. */
  reason?: Maybe<string>
  /** Everything else, as a JSON object. */
  content?: Maybe<Record<string, unknown>>
}

export interface SessionStart extends Common {
  /** 1 to 200 characters. @defaultValue a UUIDv7 */
  session_id?: Maybe<string>
  user_id?: Maybe<string>
  user_message?: unknown
  tools_available?: readonly string[] | undefined
  agent_id?: Maybe<string>
  agent_version?: Maybe<string>
  model_id?: Maybe<string>
  /** Hashed; the text itself is recorded once a run. */
  system_prompt?: Maybe<string>
}

export interface UserMessage extends Common {
  message: unknown
  user_id?: Maybe<string>
}

export interface ToolCallRequest {
  id?: string | undefined
  name: string
  input: unknown
}

export interface LlmCall extends Common {
  /** The whole history; what the session has recorded already is left out of the record. */
  input_messages: readonly unknown[]
  output_text: string | null
  tool_calls_requested?: readonly ToolCallRequest[] | undefined
  reasoning?: Maybe<string>
  stop_reason?: Maybe<string>
  provider?: Maybe<string>
  model_id?: Maybe<string>
  /** Tokens, cached ones included. */
  input_tokens?: Maybe<number>
  /** Tokens, reasoning included. */
  output_tokens?: Maybe<number>
  cache_read_tokens?: Maybe<number>
  cache_write_tokens?: Maybe<number>
  /** Milliseconds; rounded. */
  latency_ms?: Maybe<number>
  /** US dollars. */
  cost_usd?: Maybe<number>
  /** Anything thrown. */
  error?: unknown
}

export interface Decision extends Common {
  reasoning: string
}

export interface ToolCall<I = unknown> extends Common {
  tool_name: string
  tool_input: I
  /** Id of the model's request. @defaultValue made */
  tool_call_id?: Maybe<string>
  requires_approval?: boolean | undefined
}

export interface ToolResult extends Common {
  tool_call_id: string
  tool_name: string
  tool_output?: unknown
  /** Anything thrown. */
  error?: unknown
  /** Milliseconds; rounded. */
  execution_time_ms?: Maybe<number>
  /** Where the data came from. */
  source?: Maybe<string>
  untrusted?: boolean | undefined
}

export interface HumanIntervention extends Common {
  approver_id: string
  reason: string
  tool_call_id?: Maybe<string>
  approval_id?: Maybe<string>
}

export interface SandboxCrossing extends Common {
  boundary: string
  direction: 'in' | 'out'
  resource: string
  outcome: Outcome
  tool_call_id?: Maybe<string>
}

export interface StateSnapshot extends Common {
  state: unknown
}

export interface ErrorEvent extends Common {
  /** Anything thrown. */
  error: unknown
  error_type?: Maybe<string>
}

export interface FinalOutput extends Common {
  output_text: string
}

export interface SessionEnd extends Common {
  output_text?: Maybe<string>
}

export interface SessionTimeout extends SessionEnd {
  reason: string
}

/** A type of one's own, under a dotted name. */
export type CustomEvent = Common &
  Optional<Omit<LlmCall & ToolCall & ToolResult, keyof Common>> & { approver_id?: Maybe<string> }
type Optional<T> = { [Key in keyof T]?: T[Key] | undefined }

/** Input by event type, for the types a caller records in a session that is open. */
export interface EventInputs {
  user_message: UserMessage
  llm_call: LlmCall
  decision: Decision
  tool_call: ToolCall
  tool_result: ToolResult
  human_intervention: HumanIntervention
  sandbox_crossing: SandboxCrossing
  state_snapshot: StateSnapshot
  error: ErrorEvent
  final_output: FinalOutput
}

/** Input of the events that open and close a session. */
export interface SessionInputs {
  session_start: SessionStart
  session_end: SessionEnd
  session_timeout: SessionTimeout
}

type Tagged<Inputs> = { [Type in keyof Inputs]: { event_type: Type } & Inputs[Type] }[keyof Inputs]
/** An event as data: what `session.record` takes. */
export type EventInput = Tagged<EventInputs> | ({ event_type: `${string}.${string}` } & CustomEvent)
