/** Records requests, verdicts and overrides. Each is stored before the producer acts on it. */
import { ActionRefusedError, AuditUnavailableError } from '@agent-audit/schemas'
import type { Maybe, ReasonCode, ToolCall } from '@agent-audit/schemas'
import type {
  ApprovalDecision,
  ApprovalOptions,
  ApprovalRequest,
  Override,
  OverrideOptions,
  Verdict,
} from '../api/approval.ts'
import type { Receipt } from '../api/receipt.ts'
import { redactErrors } from '../redaction/redactor.ts'
import { describeApprover, findSelfApproval, reasonCodeOf } from './approver.ts'
import type { Fault } from './approver.ts'
import { bindInput, changedFields, frozenCopy } from './bound-input.ts'
import type { BoundInput } from './bound-input.ts'
import { checkVerdict } from './check-approvals.ts'
import type { GuardHost } from './recording-session.ts'

const DEFAULT_TTL_MS = 3_600_000

/**
 * @param bound - The call, checked, with its arguments bound.
 * @throws AuditUnavailableError `NOT_RECORDED`: a question must be on record before an approver sees it.
 */
export async function askApproval(
  { session, trail }: GuardHost,
  { call, sha256 }: { readonly call: ToolCall; readonly sha256: string },
  { reason, ttlMs = DEFAULT_TTL_MS }: ApprovalOptions,
): Promise<ApprovalRequest> {
  const expires_at = new Date(trail.nowMs() + ttlMs).toISOString()
  const event = { ...call, outcome: undefined, reason: reason ?? call.reason, expires_at, requires_approval: true }
  const receipt = session.recordChecked('approval_request', event)
  const ref = session.ref
  await stored(trail, receipt, 'approval_request')
  const { tool_name, tool_input, tool_call_id, on_behalf_of } = call
  return frozenCopy({
    approval_id: receipt.event_id,
    session: ref,
    tool_name,
    tool_call_id: tool_call_id ?? receipt.event_id,
    tool_input,
    arguments_sha256: sha256,
    reason: event.reason ?? null,
    on_behalf_of: on_behalf_of ?? null,
    expires_at,
  })
}

/**
 * @param bound - The call, checked, with its arguments bound.
 * @throws ActionRefusedError `SELF_APPROVAL`; AuditUnavailableError `NOT_RECORDED`: the override does not count.
 */
export async function recordOverride(
  host: GuardHost,
  { call, sha256 }: { readonly call: ToolCall; readonly sha256: string },
  { approval_id, ttlMs = DEFAULT_TTL_MS, ...by }: OverrideOptions,
): Promise<Override> {
  const { session, trail } = host
  const { approver_id, reason } = by
  const { tool_name, tool_input, tool_call_id, parent_event_id, on_behalf_of } = call
  const expires_at = new Date(trail.nowMs() + ttlMs).toISOString()
  const approval = describeApprover(host, by, { on_behalf_of })
  const about = { approver_id, tool_name, tool_input, tool_call_id, approval_id, parent_event_id, approval }
  const content = { ...call.content, expires_at }
  const fault = findSelfApproval(host, { approver_id, on_behalf_of })
  if (fault !== undefined) {
    const { event_id } = session.recordChecked('human_intervention', { ...about, ...refusalOf(fault), content })
    throw new ActionRefusedError(fault.code, `the override does not count: ${fault.why}`, { event_id })
  }
  const receipt = session.recordChecked('human_intervention', { ...about, outcome: 'allowed', reason, content })
  await stored(trail, receipt, 'human_intervention')
  const { event_id } = receipt
  const { session_id } = session
  return { event_id, session_id, tool_name, arguments_sha256: sha256, approver_id, approval, reason, expires_at }
}

/** A verdict that does not count, as it is on record: the request is still undecided. */
export interface Uncounted
  extends Fault, Pick<ApprovalDecision, 'approver_id' | 'approval_id' | 'event_id' | 'approval'> {
  readonly approval_status: 'pending'
}

/**
 * @param host - The asking session, or one that goes on with it in this process.
 * @param request - Its form is checked; whether it still is the question that was asked is checked here.
 * @throws ActionRefusedError `APPROVAL_ALTERED`, `APPROVAL_EXPIRED`, `SELF_APPROVAL`; else as {@link recordVerdict}.
 */
export async function decide(host: GuardHost, request: ApprovalRequest, given: Verdict): Promise<ApprovalDecision> {
  const decision = await recordVerdict(host, request, given)
  if (decision.approval_status !== 'pending') return decision
  const { code, why, event_id } = decision
  throw new ActionRefusedError(code, `the decision does not count: ${why}`, { event_id })
}

/** @throws InvalidInputError `EVENT_INVALID`; AuditUnavailableError `NOT_RECORDED`: the verdict does not count. */
export async function recordVerdict(
  host: GuardHost,
  request: ApprovalRequest,
  given: Verdict,
): Promise<ApprovalDecision | Uncounted> {
  const { session, trail } = host
  const verdict = checkVerdict(given, trail.redactor)
  const { asked, shown, changed } = redactErrors(trail.redactor, () => bindVerdict(request, verdict))
  const { approval_id, on_behalf_of, tool_name, expires_at } = request
  const { approval_status, approver_id, reason } = verdict
  const modified = changed === undefined ? undefined : changedFields(asked.input, changed.input)
  const approval = describeApprover(host, verdict, { shown_sha256: shown.sha256, modified, on_behalf_of })
  const arguments_sha256 = changed?.sha256 ?? request.arguments_sha256
  const action = { tool_name, tool_call_id: request.tool_call_id, tool_input: changed?.input, arguments_sha256 }
  const content = verdict.shown === undefined ? undefined : { shown: shown.input }
  const event = { ...action, parent_event_id: approval_id, reason, approval, content }
  const fault = findFault(host, { request, asked, verdict })
  const status = fault === undefined ? approval_status : 'pending'
  const own = { approval: { approval_id, approver_id, approval_status: status } }
  if (fault !== undefined) {
    const refused = { ...event, ...refusalOf(fault), content: { ...content, verdict: approval_status } }
    const { event_id } = session.recordChecked('approval_decision', refused, own)
    return { ...fault, approval_id, approver_id, approval, event_id, approval_status: 'pending' }
  }
  const receipt = session.recordChecked('approval_decision', event, own)
  await stored(trail, receipt, 'approval_decision')
  const decided = { approval_id, approval_status, approver_id, approval, event_id: receipt.event_id, expires_at }
  const decision = { ...decided, session_id: session.session_id, tool_name, arguments_sha256 }
  const replaced = { modified: { tool_input: changed?.input, requested_sha256: asked.sha256 } }
  return { ...decision, ...(reason === undefined ? {} : { reason }), ...(changed === undefined ? {} : replaced) }
}

interface BoundVerdict {
  /** The arguments asked for, as the request holds them now. */
  readonly asked: BoundInput
  /** What the approver was shown. */
  readonly shown: BoundInput
  /** The arguments to run with instead, if they differ. */
  readonly changed: BoundInput | undefined
}

function bindVerdict({ tool_input }: ApprovalRequest, verdict: Verdict): BoundVerdict {
  const { modified_input } = verdict
  const asked = bindInput(tool_input, 'approval_decision')
  const shown = verdict.shown === undefined ? asked : bindInput(verdict.shown, 'approval_decision', 'shown')
  const changed =
    modified_input === undefined ? undefined : bindInput(modified_input, 'approval_decision', 'modified_input')
  return { asked, shown, changed: changed?.sha256 === asked.sha256 ? undefined : changed }
}

/** Why a verdict does not count: it is about other arguments, comes too late, or from the one that asks. */
function findFault(
  host: GuardHost,
  { request, asked, verdict }: { request: ApprovalRequest; asked: BoundInput; verdict: Verdict },
): Fault | undefined {
  if (asked.sha256 !== request.arguments_sha256) {
    return { code: 'APPROVAL_ALTERED', why: 'the request is not the one that was asked' }
  }
  if (host.trail.expiry.hasPassed(request.expires_at)) {
    return { code: 'APPROVAL_EXPIRED', why: 'the request has expired' }
  }
  // A requester may take the question back.
  if (verdict.approval_status === 'rejected') return undefined
  return findSelfApproval(host, { approver_id: verdict.approver_id, on_behalf_of: request.on_behalf_of })
}

function refusalOf({ code, why }: Fault): { outcome: 'denied'; reason: string; reason_code: Maybe<ReasonCode> } {
  return { outcome: 'denied', reason: why, reason_code: reasonCodeOf(code) }
}

async function stored(trail: GuardHost['trail'], receipt: Receipt, what: string): Promise<void> {
  const failure = await trail.whenStored(receipt, trail.options.guardTimeoutMs)
  if (failure === undefined) return
  throw new AuditUnavailableError('NOT_RECORDED', `${what} is not stored: ${failure.message}`, { cause: failure })
}
