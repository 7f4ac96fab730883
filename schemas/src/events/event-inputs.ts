/** Input of a caller, by event type. Meanings and units of the fields: avro/audit-event.avsc. */
import type { ActionFields, Maybe, ReasonCode } from './action-fields.ts'

export const OUTCOMES = ['allowed', 'denied', 'blocked', 'error', 'success'] as const
/** Outcome of an action. A refused action (denied, blocked) is recorded too. */
export type Outcome = (typeof OUTCOMES)[number]

/** Fields that any event may have. The producer fills in identity, order and parent. */
export interface Common {
  /** The event that led to this one. @defaultValue the cause known to the session */
  parent_event_id?: Maybe<string>
  /** @defaultValue counted by the session */
  step_number?: Maybe<number>
  /** When it happened; for imports. @defaultValue now */
  timestamp?: Maybe<Date>
  /** Outcome of the action. @defaultValue the usual outcome of the type */
  outcome?: Maybe<Outcome>
  /** Short cause, without personal data: developers may read it. */
  reason?: Maybe<string>
  /** Why the action was denied, blocked or failed, to group by. */
  reason_code?: Maybe<ReasonCode>
  /** All other data, as a JSON object. */
  content?: Maybe<Record<string, unknown>>
}

/** Opens a session. */
export interface SessionStart extends Common {
  /** 1 to 200 characters. @defaultValue a UUIDv7 */
  session_id?: Maybe<string>
  /** The person the agent acts for; stamped on every event of the session. */
  user_id?: Maybe<string>
  /** Message of the user, text or JSON; kept in content. */
  user_message?: unknown
  /** Names of the tools the agent may call; kept in content. */
  tools_available?: readonly string[] | undefined
  /** Stamped on every event of the session. @defaultValue the trail's */
  agent_id?: Maybe<string>
  /** Stamped on every event of the session. @defaultValue the trail's */
  agent_version?: Maybe<string>
  /** Stamped on every event of the session. @defaultValue the trail's */
  model_id?: Maybe<string>
  /** Recorded as its hash; the text itself is recorded once in each run. */
  system_prompt?: Maybe<string>
}

/** A later message of the user in the same session. */
export interface UserMessage extends Common {
  /** Text or JSON; kept in content. */
  message: unknown
  /** Author of the message. @defaultValue the session's user_id */
  user_id?: Maybe<string>
}

/** A tool call the model asked for. Further fields of a provider's object are recorded as they are. */
export interface ToolCallRequest {
  /** Id that the model gave the call; the tool_call and its result carry it too. */
  id?: string | undefined
  /** Name of the tool. */
  name: string
  /** Arguments of the call, JSON. */
  input: unknown
}

/** The model answered, or the call failed. */
export interface LlmCall extends Common {
  /** The whole history; the record omits the messages that the session has recorded already. */
  input_messages: readonly unknown[]
  /** Text of the answer; null when it has none. */
  output_text: string | null
  /** Tool calls that the model asks for. */
  tool_calls_requested?: readonly ToolCallRequest[] | undefined
  /** The model's own reasoning, where the provider gives it: claimed by the model, no evidence of itself. */
  reasoning?: Maybe<string>
  /** Why the model stopped, as the provider spells it. */
  stop_reason?: Maybe<string>
  /** Provider of the model as OpenTelemetry spells it, such as `anthropic`. */
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
  /** Any thrown value. */
  error?: unknown
}

/** The agent made a choice, and says why in its own words. */
export interface Decision extends Common, Pick<ActionFields, 'policy'> {
  /** Why the agent chose so: claimed by the model, no evidence of itself. */
  reasoning: string
}

/** A tool is about to run, or was refused. */
export interface ToolCall<I = unknown>
  extends Common, Pick<ActionFields, 'on_behalf_of' | 'idempotency_key' | 'policy'> {
  /** Name of the tool. */
  tool_name: string
  /** Arguments of the call, JSON; recorded with the SHA-256 of their canonical form (RFC 8785). */
  tool_input: I
  /** Id of the call in the model's request. @defaultValue the id of the event */
  tool_call_id?: Maybe<string>
  /** Whether a person has to approve the call first. @defaultValue false */
  requires_approval?: boolean | undefined
}

/** A tool has returned, or has thrown. */
export interface ToolResult extends Common, Pick<ActionFields, 'effect'> {
  /** tool_call_id of the call. */
  tool_call_id: string
  /** tool_name of the call. */
  tool_name: string
  /** Text or JSON. Where the record does not hold all of it, output_sha256 is its digest. */
  tool_output?: unknown
  /** Any thrown value. */
  error?: unknown
  /** Milliseconds; rounded. */
  execution_time_ms?: Maybe<number>
  /** Origin of the data. */
  source?: Maybe<string>
  /** Whether the output may contain instructions from an untrusted party. */
  untrusted?: boolean | undefined
}

/** A person stopped, corrected or overrode the agent. */
export interface HumanIntervention extends Common, Pick<ActionFields, 'approval'> {
  /** The person. */
  approver_id: string
  /** Why the person stepped in. */
  reason: string
  /** tool_call_id of the call that the person acted on. */
  tool_call_id?: Maybe<string>
  /** tool_name of that call. */
  tool_name?: Maybe<string>
  /** Arguments of that call, if the person decided on exactly these: recorded with the digest of their canonical JSON. */
  tool_input?: unknown
  /** The approval that the person acted on, a UUID. */
  approval_id?: Maybe<string>
}

/** The agent reached a boundary of the sandbox, and crossed it or not. */
export interface SandboxCrossing extends Common, Pick<ActionFields, 'on_behalf_of' | 'policy' | 'effect'> {
  /** The boundary, such as `network` or `filesystem`. */
  boundary: string
  /** Into the sandbox or out of it. */
  direction: 'in' | 'out'
  /** The resource beyond the boundary, such as a host or a path. */
  resource: string
  /** Whether the crossing was allowed. */
  outcome: Outcome
  /** tool_call_id of the call that reached the boundary. */
  tool_call_id?: Maybe<string>
}

/** State of the agent that its other events do not show. */
export interface StateSnapshot extends Common {
  /** JSON; kept in content. */
  state: unknown
}

/** An error outside tools. */
export interface ErrorEvent extends Common, Pick<ActionFields, 'effect'> {
  /** Any thrown value. */
  error: unknown
  /** Class or code of the error, to group by. @defaultValue the class of the thrown value */
  error_type?: Maybe<string>
}

/** The final answer of the agent. */
export interface FinalOutput extends Common {
  /** Text of the answer. */
  output_text: string
}

/** The session ends: no event follows in this session of this run. */
export interface SessionEnd extends Common {
  /** Text of the final answer, if there was one. */
  output_text?: Maybe<string>
}

/** The session ended because a limit was reached. */
export interface SessionTimeout extends SessionEnd {
  /** The limit. */
  reason: string
}

/** An event type that the caller defines, under a dotted name. */
export type CustomEvent = Common &
  ActionFields &
  Optional<Omit<LlmCall & ToolCall & ToolResult, keyof (Common & ActionFields)>> & { approver_id?: Maybe<string> }
type Optional<T> = { [Key in keyof T]?: T[Key] | undefined }

/** Input by event type, for the types that a caller records in an open session. */
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
/** An event as data, for `session.record`. */
export type EventInput = Tagged<EventInputs> | ({ event_type: `${string}.${string}` } & CustomEvent)
