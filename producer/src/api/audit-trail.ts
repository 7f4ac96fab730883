/** The public face of the producer: a trail, its sessions, and what recording an event gives back. */
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
import type { ApprovalDecision, ApprovalOptions, ApprovalRequest, Verdict } from '../guard/approval.ts'
import type { GuardOptions } from '../guard/guard.ts'
import type { Override, OverrideOptions } from '../guard/override.ts'
import type { Durability } from '../options/options.ts'

/** How one event is recorded. */
export interface RecordOptions {
  /** For this event. `disk` needs a trail whose own durability is `disk`. @defaultValue the trail's */
  durability?: Durability | undefined
}

/** Where the broker keeps an event. */
export interface Acknowledgement {
  /** Topic of the trail's retention class. */
  readonly topic: string
  /** That of the event's session. */
  readonly partition: number
  /** Place in the partition. */
  readonly offset: number
}

/**
 * What recording an event gives back, at once. The promises are made when they are read and never become unhandled
 * rejections. A receipt is no promise itself: an event that nobody waits for leaves none floating.
 */
export interface Receipt {
  /** UUIDv7 of the event. */
  readonly event_id: string
  /**
   * Resolves when the event has the durability asked for.
   * Rejects with AuditUnavailableError `BUFFER_FULL` or `SPOOL_FULL` if it was refused, `SPOOL_UNAVAILABLE` if it was
   * lost; an events_lost event then explains the gap.
   */
  readonly stored: Promise<void>
  /** Resolves when the event is in all in-sync replicas; rejects as `stored` does. */
  readonly acked: Promise<Acknowledgement>
}

/** Events since the trail was created. */
export interface DrainResult {
  /** Acknowledged by the broker. */
  readonly acked: number
  /** Recorded and not acknowledged; safe in the spool with durability `disk`. */
  readonly pending: number
  /** Refused or lost: their receipts reject, and events_lost events explain them. */
  readonly refused: number
}

/** Gauges and counts of a trail; reading them costs nothing. */
export interface TrailStats extends DrainResult {
  /** Events recorded, the trail's own and refused ones included. */
  readonly recorded: number
  /** Bytes of events in memory that do not have the trail's durability yet. */
  readonly bufferBytes: number
  /** Bytes of events on disk that are not acknowledged yet. */
  readonly spoolBytes: number
  /** Age of the oldest of them, milliseconds; 0 when there is none. */
  readonly spoolOldestMs: number
  /** Events of dead runs that were taken over from this directory so far. */
  readonly adopted: number
  /** Whether the broker answers. */
  readonly connected: boolean
}

/** A session by name, as JSON, without content: carry it to another process for {@link AuditTrail.resumeSession}. */
export interface SessionRef {
  /** The session's. */
  readonly session_id: string
  /** The run that made this reference, 32 hex digits. */
  readonly run_id: string
  /** The newest event then, which the next one follows from. */
  readonly last_event_id: string
  /** Its step. */
  readonly step_number: number
  /** Trace of the session's first event, 32 hex digits. */
  readonly trace_id: string | null
  /** What the session stamps on every event, by field. */
  readonly stamped: Readonly<Record<string, string>>
}

/** The options' wait is bounded; without it, there is no limit. */
export interface WaitOptions {
  /** Milliseconds. */
  timeoutMs?: number | undefined
}

/**
 * One start of a producer. Recording returns at once and never throws because of the pipeline.
 * Two trails in one process share nothing.
 */
export interface AuditTrail extends AsyncDisposable {
  /** 32 hex digits, new for each trail. */
  readonly runId: string
  /** What has become of the events so far. */
  stats(): TrailStats
  /**
   * Records session_start. A session may live for days, in any number of async contexts.
   * @throws InvalidInputError `EVENT_INVALID` naming every wrong field, `TRAIL_CLOSED`.
   */
  startSession(start?: SessionStart): AuditSession
  /** Goes on with a session begun in another process, and records session_resumed. Earlier writers may still write. */
  resumeSession(ref: SessionRef): AuditSession
  /**
   * Records a person's verdict in the asking session, from any process, and resolves once it is stored.
   * @throws InvalidInputError `EVENT_INVALID`: above all, a verdict of nobody.
   * @throws ActionRefusedError `APPROVAL_ALTERED` (the request no longer matches its digest), `APPROVAL_EXPIRED`.
   * @throws AuditUnavailableError `NOT_RECORDED`: the verdict does not count.
   */
  decideApproval(request: ApprovalRequest, verdict: Verdict): Promise<ApprovalDecision>
  /**
   * Starts a session, runs `work` with it as the current one, and ends it unless `work` has. On a throw: an error event,
   * session_end with outcome error, and the same throw again.
   */
  withSession<T>(start: SessionStart, work: (session: AuditSession) => T | Promise<T>): Promise<T>
  /**
   * Resolves when there is room, at once if there is: await it before taking new work. There is none from seven eighths of
   * `spoolMaxBytes` on until half of it is free, nor with half of `maxBufferBytes` in use: that is for the work under way.
   */
  writable(): Promise<void>
  /** Waits until all that was recorded before the call is acknowledged, or time is up. Never rejects; says what is left. */
  flush(options?: WaitOptions): Promise<DrainResult>
  /**
   * Takes no more, records trail_stopped, flushes (default 10000 ms) and releases the spool; what is left goes out with
   * the next run on its directory. Idempotent.
   */
  close(options?: WaitOptions): Promise<DrainResult>
}

/**
 * A session. Its methods record one event each and return at once. parent_event_id and step_number are filled in unless
 * they are given. All throw InvalidInputError only: `EVENT_INVALID` naming every wrong field (nothing is recorded then),
 * `RECORD_TOO_LARGE`, `SESSION_ENDED`, `TRAIL_CLOSED`.
 */
export interface AuditSession {
  /** The caller's, or a UUIDv7. */
  readonly session_id: string
  /** For {@link AuditTrail.resumeSession}, as of now. */
  readonly ref: SessionRef
  /** A later message of the person. */
  userMessage(event: UserMessage, options?: RecordOptions): Receipt
  /** The model answered or failed. */
  llmCall(event: LlmCall, options?: RecordOptions): Receipt
  /** What the agent chose, in words of its own. */
  decision(event: Decision, options?: RecordOptions): Receipt
  /** Before the tool runs (outcome allowed, the default), or instead of it. */
  toolCall(event: ToolCall, options?: RecordOptions): Receipt
  /** After it ran or threw. */
  toolResult(event: ToolResult, options?: RecordOptions): Receipt
  /** A person stopped, corrected or overrode. */
  humanIntervention(event: HumanIntervention, options?: RecordOptions): Receipt
  /** An edge of the sandbox was met, crossed or not. */
  sandboxCrossing(event: SandboxCrossing, options?: RecordOptions): Receipt
  /** The agent's state beside its trail, as JSON. */
  stateSnapshot(state: unknown, options?: RecordOptions): Receipt
  /** Anything thrown outside of tools: name, message and code are kept, the stack is not. */
  error(error: unknown, options?: RecordOptions): Receipt
  /** The answer given. */
  finalOutput(event: FinalOutput, options?: RecordOptions): Receipt
  /** The same as data, and types of your own under a dotted name. */
  record(event: EventInput, options?: RecordOptions): Receipt
  /**
   * No record, no action. Stores a tool_call, then runs `work` with a frozen copy of exactly the arguments recorded, then
   * records its tool_result. In `work` this session is the current one and the tool_call is the parent of what it records.
   * @throws AuditUnavailableError `NOT_RECORDED`: the tool was not run.
   * @throws ActionRefusedError denied, blocked, or approval missing, rejected, expired, used, or for something else:
   * recorded, and not run. Else what `work` throws.
   */
  guard<I, T>(call: ToolCall<I>, work: (input: I) => T | Promise<T>, options?: GuardOptions<T>): Promise<T>
  /**
   * Asks a person; resolves once the question is stored. Carry it to them by any means, and what decideApproval gives
   * back to the guard.
   * @throws AuditUnavailableError `NOT_RECORDED`.
   */
  requestApproval(call: ToolCall, options?: ApprovalOptions): Promise<ApprovalRequest>
  /**
   * A person takes it upon them that this call runs, with exactly these arguments, though a guard refuses it: recorded as
   * human_intervention; resolves once that is stored. Give it to {@link guard}, in this process or another.
   * @throws InvalidInputError `EVENT_INVALID`: above all, who and why are required.
   * @throws AuditUnavailableError `NOT_RECORDED`: it does not count.
   */
  override(call: ToolCall, options: OverrideOptions): Promise<Override>
  /** A sub-agent: a session of its own, whose parent is the guarded call we are in, or else this one's newest event. */
  startChild(start: SessionStart & { agent_id: string }): AuditSession
  /** Runs `work` with this session as the current one. */
  run<T>(work: () => T): T
  /** Nothing follows; outcome is success unless given. */
  end(event?: SessionEnd, options?: RecordOptions): Receipt
  /** A limit was reached; outcome is error unless given. */
  timeout(event: SessionTimeout, options?: RecordOptions): Receipt
}
