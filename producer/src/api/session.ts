/** A session, as an agent sees it. */
import type {
  Decision,
  EventInput,
  FinalOutput,
  HumanIntervention,
  LlmCall,
  SandboxCrossing,
  SessionEnd,
  SessionStart,
  SessionTimeout,
  ToolCall,
  ToolResult,
  UserMessage,
} from '@agent-audit/schemas'
import type { ApprovalOptions, ApprovalRequest, Override, OverrideOptions } from './approval.ts'
import type { GuardOptions } from './guard-options.ts'
import type { Receipt, RecordOptions } from './receipt.ts'
import type { SessionRef } from './session-ref.ts'

/**
 * Each method records one event and returns at once. The session fills in parent_event_id and step_number unless the
 * caller gives them. All methods throw InvalidInputError only: `EVENT_INVALID` naming every wrong field or option (nothing is recorded then),
 * `RECORD_TOO_LARGE`, `SESSION_ENDED`, `TRAIL_CLOSED`.
 */
export interface AuditSession {
  /** The caller's id, or a UUIDv7. */
  readonly session_id: string
  /** A reference to the session as it stands now, for {@link AuditTrail.resumeSession}. */
  readonly ref: SessionRef
  /** A later message of the person. */
  userMessage(event: UserMessage, options?: RecordOptions): Receipt
  /** The model answered or failed. */
  llmCall(event: LlmCall, options?: RecordOptions): Receipt
  /** The agent chose; the reasoning is the agent's own claim. */
  decision(event: Decision, options?: RecordOptions): Receipt
  /** To be called before the tool runs (outcome allowed, the default), or instead of running it. */
  toolCall(event: ToolCall, options?: RecordOptions): Receipt
  /** To be called after the tool ran or threw. */
  toolResult(event: ToolResult, options?: RecordOptions): Receipt
  /** A person stopped, corrected or overrode. */
  humanIntervention(event: HumanIntervention, options?: RecordOptions): Receipt
  /** The agent reached an edge of the sandbox, and crossed it or not. */
  sandboxCrossing(event: SandboxCrossing, options?: RecordOptions): Receipt
  /** The agent's state beside its trail, as JSON. */
  stateSnapshot(state: unknown, options?: RecordOptions): Receipt
  /** An error outside of tools: name, message and code are kept, the stack is not. */
  error(error: unknown, options?: RecordOptions): Receipt
  /** The agent's answer. */
  finalOutput(event: FinalOutput, options?: RecordOptions): Receipt
  /** The same events as data, and event types of the caller's under a dotted name. */
  record(event: EventInput, options?: RecordOptions): Receipt
  /**
   * No record, no action. Stores a tool_call, then runs `work` with a frozen copy of exactly the arguments recorded, then
   * records its tool_result. In `work` this session is the current one and the tool_call is the parent of what it records.
   * @throws AuditUnavailableError `NOT_RECORDED`: the tool was not run.
   * @throws ActionRefusedError denied, blocked, or approval missing, rejected, expired, used, for something else, or by the one that asks:
   * recorded, and not run. Else the error that `work` throws.
   * @throws ResultNotRecordedError with `onResultUnavailable: 'throw'`: the tool has run. Do not repeat the call.
   */
  guard<I, T>(call: ToolCall<I>, work: (input: I) => T | Promise<T>, options?: GuardOptions<T>): Promise<T>
  /**
   * Asks an approver; resolves once the question is stored. The caller carries the request to the approver, and the
   * result of decideApproval back to the guard, by any means.
   * @throws AuditUnavailableError `NOT_RECORDED`.
   */
  requestApproval(call: ToolCall, options?: ApprovalOptions): Promise<ApprovalRequest>
  /**
   * A person overrides the guard's refusal of this call, with exactly these arguments, and takes responsibility. Recorded
   * as human_intervention; resolves once that is stored. Give the result to {@link guard}, in this process or another.
   * @throws InvalidInputError `EVENT_INVALID`; approver_id, identity_source and reason are required.
   * @throws ActionRefusedError `SELF_APPROVAL`: recorded, and the override does not count.
   * @throws AuditUnavailableError `NOT_RECORDED`: the override does not count.
   */
  override(call: ToolCall, options: OverrideOptions): Promise<Override>
  /** Opens a session for a sub-agent. Its parent is the guarded call under way, or else this session's newest event. */
  startChild(start: SessionStart & { agent_id: string }): AuditSession
  /** Runs `work` with this session as the current one. */
  run<T>(work: () => T): T
  /** Ends the session; outcome is success unless given. */
  end(event?: SessionEnd, options?: RecordOptions): Receipt
  /** Ends the session because a limit was reached; outcome is error unless given. */
  timeout(event: SessionTimeout, options?: RecordOptions): Receipt
}
