/** What a caller says of an event, by event type. Field meanings and units: avro/audit-event.avsc. */

/** A value that may be left out. */
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
  /** What became of it. @defaultValue what the type usually means */
  outcome?: Maybe<Outcome>
  /** Short cause, without personal data: developers see it. */
  reason?: Maybe<string>
  /** Everything else, as a JSON object. */
  content?: Maybe<Record<string, unknown>>
}

/** Opens a session. */
export interface SessionStart extends Common {
  /** 1 to 200 characters. @defaultValue a UUIDv7 */
  session_id?: Maybe<string>
  /** On whose behalf; stamped on every event of the session. */
  user_id?: Maybe<string>
  /** What the person said, text or JSON; kept in content. */
  user_message?: unknown
  /** Names of the tools the agent may call; kept in content. */
  tools_available?: readonly string[] | undefined
  /** Stamped on every event of the session. @defaultValue the trail's */
  agent_id?: Maybe<string>
  /** Stamped on every event of the session. @defaultValue the trail's */
  agent_version?: Maybe<string>
  /** Stamped on every event of the session. @defaultValue the trail's */
  model_id?: Maybe<string>
  /** Hashed; the text itself is recorded once a run. */
  system_prompt?: Maybe<string>
}

/** A later message of the person in the same session. */
export interface UserMessage extends Common {
  /** Text or JSON; kept in content. */
  message: unknown
  /** Who said it. @defaultValue the session's */
  user_id?: Maybe<string>
}

/** A tool call the model asked for. */
export interface ToolCallRequest {
  /** The model's id of it, which the tool_call and its result carry. */
  id?: string | undefined
  /** Name of the tool. */
  name: string
  /** Its arguments, JSON. */
  input: unknown
}

/** The model answered, or failed to. */
export interface LlmCall extends Common {
  /** The whole history; what the session has recorded already is left out of the record. */
  input_messages: readonly unknown[]
  /** The words of the answer; null when there were none. */
  output_text: string | null
  /** What the model wants done. */
  tool_calls_requested?: readonly ToolCallRequest[] | undefined
  /** The model's own reasoning, where the provider gives it. */
  reasoning?: Maybe<string>
  /** Why it stopped, as the provider spells it. */
  stop_reason?: Maybe<string>
  /** Such as `anthropic`, as OpenTelemetry spells it. */
  provider?: Maybe<string>
  /** The model that answered. @defaultValue the session's */
  model_id?: Maybe<string>
  /** Tokens, cached ones included. */
  input_tokens?: Maybe<number>
  /** Tokens, reasoning included. */
  output_tokens?: Maybe<number>
  /** Tokens of the input that came from the provider's cache. */
  cache_read_tokens?: Maybe<number>
  /** Tokens of the input that were written to the provider's cache. */
  cache_write_tokens?: Maybe<number>
  /** Milliseconds; rounded. */
  latency_ms?: Maybe<number>
  /** US dollars. */
  cost_usd?: Maybe<number>
  /** Anything thrown. */
  error?: unknown
}

/** The agent chose, in words of its own. */
export interface Decision extends Common {
  /** Why it chose so. */
  reasoning: string
}

/** A tool is about to run, or is not. */
export interface ToolCall<I = unknown> extends Common {
  /** Name of the tool. */
  tool_name: string
  /** Its arguments, JSON; recorded with the SHA-256 of their canonical form (RFC 8785). */
  tool_input: I
  /** Id of the model's request. @defaultValue made */
  tool_call_id?: Maybe<string>
  /** Whether a person has to approve it first. @defaultValue false */
  requires_approval?: boolean | undefined
}

/** A tool has run, or has thrown. */
export interface ToolResult extends Common {
  /** That of the call. */
  tool_call_id: string
  /** That of the call. */
  tool_name: string
  /** Text or JSON. */
  tool_output?: unknown
  /** Anything thrown. */
  error?: unknown
  /** Milliseconds; rounded. */
  execution_time_ms?: Maybe<number>
  /** Where the data came from. */
  source?: Maybe<string>
  /** Whether it may hold instructions of strangers. */
  untrusted?: boolean | undefined
}

/** A person stopped, corrected or overrode the agent. */
export interface HumanIntervention extends Common {
  /** Who. */
  approver_id: string
  /** Why. */
  reason: string
  /** The call it is about. */
  tool_call_id?: Maybe<string>
  /** Its tool. */
  tool_name?: Maybe<string>
  /** Its arguments, where the person's word is about exactly these: recorded with the digest of their canonical JSON. */
  tool_input?: unknown
  /** The approval it is about, a UUID. */
  approval_id?: Maybe<string>
}

/** An edge of the sandbox was met, and crossed or not. */
export interface SandboxCrossing extends Common {
  /** Which edge, such as `network` or `filesystem`. */
  boundary: string
  /** Into the sandbox or out of it. */
  direction: 'in' | 'out'
  /** What was reached for, such as a host or a path. */
  resource: string
  /** Whether it was let through. */
  outcome: Outcome
  /** The call it happened in. */
  tool_call_id?: Maybe<string>
}

/** The agent's state beside its trail. */
export interface StateSnapshot extends Common {
  /** JSON; kept in content. */
  state: unknown
}

/** An error outside tools. */
export interface ErrorEvent extends Common {
  /** Anything thrown. */
  error: unknown
  /** What to group by. @defaultValue its class */
  error_type?: Maybe<string>
}

/** The answer given. */
export interface FinalOutput extends Common {
  /** Its words. */
  output_text: string
}

/** Nothing follows in this session of this run. */
export interface SessionEnd extends Common {
  /** The answer given, if there was one. */
  output_text?: Maybe<string>
}

/** The session ended because a limit was reached. */
export interface SessionTimeout extends SessionEnd {
  /** Which limit. */
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
