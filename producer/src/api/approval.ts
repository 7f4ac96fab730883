/** What an approver is asked, answers and overrides: plain JSON that travels between processes. */
import type { Maybe } from '@agent-audit/schemas'
import type { SessionRef } from './session-ref.ts'

/** A question to an approver: may the tool run with exactly these arguments, until `expires_at`? */
export interface ApprovalRequest {
  /** event_id of the approval_request. */
  readonly approval_id: string
  /** The session that asks. */
  readonly session: SessionRef
  /** The tool that is to run. */
  readonly tool_name: string
  /** The call that is to run. */
  readonly tool_call_id: string
  /** The arguments as JSON, before redaction: the approver sees the arguments that will run. */
  readonly tool_input: unknown
  /** SHA-256 of the canonical arguments (RFC 8785), 64 hex digits. */
  readonly arguments_sha256: string
  /** Why the agent asks. */
  readonly reason: string | null
  /** ISO 8601, UTC. */
  readonly expires_at: string
}

/** An approver's answer. */
export interface Verdict {
  /** The decision. */
  approval_status: 'approved' | 'rejected'
  /** The approver's id. Required: an approval without an approver proves nothing. */
  approver_id: string
  /** Short, without personal data. */
  reason?: Maybe<string>
}

/** A verdict on record. Carry it to the process that runs the action. */
export interface ApprovalDecision extends Readonly<Verdict> {
  /** approval_id of the request. */
  readonly approval_id: string
  /** The decision. */
  readonly approval_status: 'approved' | 'rejected'
  /** event_id of the approval_decision. */
  readonly event_id: string
  /** The session that asked. */
  readonly session_id: string
  /** The tool that may run. */
  readonly tool_name: string
  /** SHA-256 of the canonical arguments it may run with, 64 hex digits. */
  readonly arguments_sha256: string
  /** Until when it may run: ISO 8601, UTC. */
  readonly expires_at: string
}

export interface ApprovalOptions {
  /** Why the agent asks; short, without personal data. */
  reason?: Maybe<string>
  /** How long the approval may be decided and used, milliseconds. @defaultValue 3600000 */
  ttlMs?: number | undefined
}

/** A person overrides a refusal and takes responsibility. */
export interface OverrideOptions {
  /** Id of the person who overrides. */
  approver_id: string
  /** Why the person overrides. */
  reason: string
  /** The approval that was rejected, expired or used, if there is one: a UUID. */
  approval_id?: string | undefined
  /** How long the call may run under this override, milliseconds. @defaultValue 3600000 */
  ttlMs?: number | undefined
}

/** An override on record: this tool, exactly these arguments, until `expires_at`, once. Carry it to the guard. */
export interface Override {
  /** event_id of the human_intervention. */
  readonly event_id: string
  /** The session that it is for. */
  readonly session_id: string
  /** The tool that may run. */
  readonly tool_name: string
  /** SHA-256 of the canonical arguments it may run with, 64 hex digits. */
  readonly arguments_sha256: string
  /** Id of the person who takes responsibility. */
  readonly approver_id: string
  /** Why the person overrides. */
  readonly reason: string
  /** Until when it may run: ISO 8601, UTC. */
  readonly expires_at: string
}
