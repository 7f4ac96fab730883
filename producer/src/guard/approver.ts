/** The approver of an action: what its records keep, and whether the approver is the one that asks. */
import type { Approval, ErrorCode, Maybe, ReasonCode } from '@agent-audit/schemas'
import type { Approver } from '../api/approval.ts'
import type { GuardHost } from './recording-session.ts'

/** Why a call, a verdict or an override is refused. */
export interface Fault {
  readonly code: ErrorCode
  readonly why: string
}

const REASON_CODES: Partial<Record<ErrorCode, ReasonCode>> = {
  DENIED: 'policy_denied',
  BLOCKED: 'policy_denied',
  APPROVAL_REQUIRED: 'approval_required',
  APPROVAL_REJECTED: 'approval_rejected',
  APPROVAL_EXPIRED: 'approval_expired',
  APPROVAL_ALTERED: 'approval_invalid',
  APPROVAL_USED: 'approval_invalid',
  APPROVAL_UNSIGNED: 'approval_unverified',
  APPROVAL_UNVERIFIED: 'approval_unverified',
  SELF_APPROVAL: 'self_approval',
}

/** The reason_code of a refusal's record. */
export function reasonCodeOf(code: ErrorCode): ReasonCode | undefined {
  return REASON_CODES[code]
}

/** The principal whose authority the action uses, where that is not the session's user. */
type OnBehalfOf = Maybe<string>

/** The record's `approval`. @param more - What the approver was shown, and changed. */
export function describeApprover(
  host: GuardHost,
  { approver_id, identity_source, approver_kind = 'person' }: Approver,
  { on_behalf_of, ...more }: Omit<Approval, keyof Approver> & { readonly on_behalf_of: OnBehalfOf },
): Approval {
  return markSelf(host, { approver_id, on_behalf_of }, { approver_kind, identity_source, ...more })
}

/** Notes that the approver asked for the action, as the trail allows. */
export function markSelf(host: GuardHost, approver: ApproverOf, approval: Approval): Approval {
  return isRequester(host, approver) ? { ...approval, self_approval: true } : approval
}

/** Refuses an approver who asked for the action, unless the trail allows that. */
export function findSelfApproval(host: GuardHost, approver: ApproverOf): Fault | undefined {
  if (host.trail.options.allowSelfApproval || !isRequester(host, approver)) return undefined
  return { code: 'SELF_APPROVAL', why: 'the approver is the agent that asks, or the user that it acts for' }
}

interface ApproverOf {
  readonly approver_id: string
  readonly on_behalf_of: OnBehalfOf
}

/** Ids that differ in case or in spaces around them count as one: two persons never differ in no more. */
function isRequester({ session }: GuardHost, { approver_id, on_behalf_of }: ApproverOf): boolean {
  const approver = plain(approver_id)
  return [...session.requesters, on_behalf_of].some((id) => typeof id === 'string' && plain(id) === approver)
}

function plain(id: string): string {
  return id.normalize('NFKC').trim().toLowerCase()
}
