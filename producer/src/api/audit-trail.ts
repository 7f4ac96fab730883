/** A trail: one start of a producer. The public contract; every other file of this folder is part of it. */
import type { ErrorCode, SessionStart } from '@agent-audit/schemas'
import type { ApprovalDecision, ApprovalRequest, Verdict } from './approval.ts'
import type { SessionRef } from './session-ref.ts'
import type { AuditSession } from './session.ts'

/** Events since the trail was created. */
export interface DrainResult {
  /** Acknowledged by the broker. */
  readonly acked: number
  /** Recorded and not acknowledged; safe in the spool with durability `disk`. */
  readonly pending: number
  /** Refused or lost: their receipts reject, and events_lost events explain the gaps. */
  readonly refused: number
}

/** Gauges and counters of a trail. Reading them costs nothing. */
export interface TrailStats extends DrainResult {
  /** Events recorded, the trail's own events and refused events included. */
  readonly recorded: number
  /** Bytes of events in memory that do not have the trail's durability yet. */
  readonly bufferBytes: number
  /**
   * Events refused or lost, by error code; a code without any is missing. Beside the refused events of this run it counts
   * those of dead runs whose spools this run found damaged.
   */
  readonly lost: Readonly<Partial<Record<ErrorCode, number>>>
  /** Events on disk that are not acknowledged yet; those of dead runs that this run sends included. */
  readonly spoolEvents: number
  /** Their bytes. */
  readonly spoolBytes: number
  /** Age of the oldest event on disk that is not acknowledged, milliseconds; 0 when there is none. */
  readonly spoolOldestMs: number
  /** Events of dead runs that this run has adopted from the spool directory and sent. */
  readonly adopted: number
  /** Times that delivery has failed unexpectedly and was started again. */
  readonly restarts: number
  /** Whether a client is connected to the broker. */
  readonly connected: boolean
  /** The newest error that `onProblem` was called with, or would have been without its pause; null before the first. */
  readonly lastError: ErrorCode | null
}

/** How long to wait. Without a time-out there is no limit. */
export interface WaitOptions {
  /** Milliseconds, 0 to 2147483647. */
  timeoutMs?: number | undefined
}

/**
 * Recording returns at once and never throws because of the pipeline. Two trails in one process share nothing.
 */
export interface AuditTrail extends AsyncDisposable {
  /** 32 hex digits, new for each trail. */
  readonly runId: string
  /** How many events are recorded, acknowledged, pending and refused so far. */
  stats(): TrailStats
  /**
   * Records session_start. A session may live for days, in any number of async contexts. A session_id may be started again:
   * session_seq goes on counting, within a run, while a session object of the id is in use, and for the 10,000 ids that were
   * started, ended or referred to last. Beyond them it counts from 0 again.
   * @throws InvalidInputError `EVENT_INVALID` naming every wrong field, `TRAIL_CLOSED`.
   */
  startSession(start?: SessionStart): AuditSession
  /**
   * Goes on with a session that another process began, or this one, and records session_resumed. Earlier writers may still
   * write. session_seq as for {@link startSession}.
   */
  resumeSession(ref: SessionRef): AuditSession
  /**
   * Records an approver's verdict in the asking session, from any process, and resolves once it is stored.
   * @throws InvalidInputError `EVENT_INVALID`, for example for a verdict without approver_id or identity_source.
   * @throws ActionRefusedError `APPROVAL_ALTERED` (the request no longer matches its digest), `APPROVAL_EXPIRED`,
   * `SELF_APPROVAL` (the approver is the one that asks).
   * @throws AuditUnavailableError `NOT_RECORDED`: the verdict does not count.
   */
  decideApproval(request: ApprovalRequest, verdict: Verdict): Promise<ApprovalDecision>
  /**
   * Starts a session, runs `work` with it as the current session, and ends it unless `work` has. When `work` throws, the
   * trail records an error and a session_end with outcome error, and throws the same error again.
   */
  withSession<T>(start: SessionStart, work: (session: AuditSession) => T | Promise<T>): Promise<T>
  /**
   * Resolves when there is room for new work, at once if there is: await it before taking new work. There is no room from
   * seven eighths of `spoolMaxBytes` on until half of it is free, nor while half of `maxBufferBytes` is in use: the other
   * half is for the work under way.
   */
  writable(): Promise<void>
  /**
   * Waits until every event recorded before the call is acknowledged, or time is up. Never rejects; says how many are left.
   * @throws InvalidInputError `OPTIONS_INVALID` for an unknown option or a wrong time.
   */
  flush(options?: WaitOptions): Promise<DrainResult>
  /**
   * Takes nothing new, waits for the guards under way, whose tools may still record, then records trail_stopped, flushes and
   * releases the spool: 10000 ms for both waits, unless told otherwise. A guard that has not run its tool by then does not
   * run it: `TRAIL_CLOSED`. Not to be awaited within a guarded tool, which it would wait for. The next run on the spool's directory sends the events that are left. Idempotent.
   * @throws InvalidInputError as {@link flush}; the trail stays open.
   */
  close(options?: WaitOptions): Promise<DrainResult>
}
