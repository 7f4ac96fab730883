/** What an approver is asked, answers and overrides: plain JSON that travels between processes. */
import type { Approval, Maybe } from '@agent-audit/schemas'
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
  /** The principal whose authority the action uses, where that is not the session's user. */
  readonly on_behalf_of: string | null
  /** ISO 8601, UTC. */
  readonly expires_at: string
}

/** Who approves, and how that is known. An approval without both proves nothing. */
export interface Approver {
  /**
   * Id of the person, policy or agent that approves. Not the agent that asks, nor the user or principal that it acts for,
   * unless the trail has `allowSelfApproval`.
   */
  approver_id: string
  /** Where that identity was authenticated: an OIDC issuer, an mTLS subject, a user of the operating system, a policy's service. */
  identity_source: string
  /** Kind of the approver. @defaultValue 'person' */
  approver_kind?: Approval['approver_kind'] | undefined
}

/** An approver's answer. */
export interface Verdict extends Approver {
  /** The decision. */
  approval_status: 'approved' | 'rejected'
  /** Short, without personal data. */
  reason?: Maybe<string>
  /** What the approver was shown, text or JSON; recorded, and bound by its digest. @defaultValue the request's tool_input */
  shown?: unknown
  /**
   * Arguments that the approver approves in place of the ones asked for, JSON: the tool runs with these, and only with
   * these. The tool must check their form, as it does with a model's.
   */
  modified_input?: unknown
  /**
   * This answer to this request, as `signVerdict` signs it where the approver decides: a signed note.
   * @defaultValue signed by the trail's key (`approvalSigning`), if it has one
   */
  signature?: string | undefined
}

/** A verdict on record. Carry it to the process that runs the action. */
export interface ApprovalDecision {
  /** approval_id of the request. */
  readonly approval_id: string
  /** The decision. */
  readonly approval_status: 'approved' | 'rejected'
  /** Id of the approver. */
  readonly approver_id: string
  /** Short, without personal data. */
  readonly reason?: Maybe<string>
  /** How the approval came about, as its records say it. */
  readonly approval: Approval
  /** event_id of the approval_decision. */
  readonly event_id: string
  /** The session that asked. */
  readonly session_id: string
  /** The tool that may run. */
  readonly tool_name: string
  /** SHA-256 of the canonical arguments it may run with, 64 hex digits. */
  readonly arguments_sha256: string
  /** Set if the approver changed the arguments. */
  readonly modified?:
    | {
        /** The arguments to run with, JSON. */
        readonly tool_input: unknown
        /** SHA-256 of the canonical arguments that were asked for, 64 hex digits. */
        readonly requested_sha256: string
      }
    | undefined
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
export interface OverrideOptions extends Omit<Approver, 'approver_kind'> {
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
  /** How that person is known, as the records say it. */
  readonly approval: Approval
  /** Why the person overrides. */
  readonly reason: string
  /** Until when it may run: ISO 8601, UTC. */
  readonly expires_at: string
}
