/** Records requests, verdicts and overrides. Each is stored before the producer acts on it. */
import { randomUUID } from 'node:crypto'
import { ActionRefusedError, AuditUnavailableError } from '@agent-audit/schemas'
import type { Maybe, ReasonCode, ToolCall } from '@agent-audit/schemas'
import type { SaidApproval } from '@agent-audit/seals'
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
import { changedFields, frozenCopy } from './bound-input.ts'
import type { BoundInput } from './bound-input.ts'
import { bindVerdict, type BoundVerdict, saidByVerdict } from './bound-verdict.ts'
import { checkVerdict } from './check-approvals.ts'
import type { GuardHost } from './recording-session.ts'
import { findDifference, findForgery, saidByOverride, signHere, toRecorded } from './signed-verdict.ts'

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
  const decidedAt = trail.nowMs()
  const expires_at = new Date(decidedAt + ttlMs).toISOString()
  const approval = describeApprover(host, by, { on_behalf_of })
  const about = { approver_id, tool_name, tool_input, tool_call_id, approval_id, parent_event_id, approval }
  const content = { ...call.content, expires_at }
  const fault = findSelfApproval(host, { approver_id, on_behalf_of })
  if (fault !== undefined) {
    const { event_id } = session.recordChecked('human_intervention', { ...about, ...refusalOf(fault), content })
    throw new ActionRefusedError(fault.code, `the override does not count: ${fault.why}`, { event_id })
  }
  const { session_id } = session
  const allowed = { session_id, tool_name, arguments_sha256: sha256, approver_id, expires_at }
  // Its event_id is known only once it is recorded, with its signature.
  const said = saidByOverride({ ...allowed, approval }, randomUUID(), on_behalf_of)
  const signature = signHere(host, said, { decidedAt, eventType: 'human_intervention' })
  const signed = signature === undefined ? approval : { ...approval, signature }
  const recorded = { ...about, approval: toRecorded(trail.redactor, signed, { approver_id, tool_name, on_behalf_of }) }
  const receipt = session.recordChecked('human_intervention', { ...recorded, outcome: 'allowed', reason, content })
  await stored(trail, receipt, 'human_intervention')
  return { ...allowed, event_id: receipt.event_id, approval: signed, reason }
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
  const bound = redactErrors(trail.redactor, () => bindVerdict(request, verdict))
  const { approval_id, tool_name, on_behalf_of, expires_at } = request
  const { approval_status, approver_id, reason } = verdict
  const { fault, signature } = judgeVerdict(host, { request, verdict, bound })
  const described = describeVerdict(host, { request, verdict, bound })
  const approval = signature === undefined ? described.approval : { ...described.approval, signature }
  const event =
    signature === undefined
      ? described
      : { ...described, approval: toRecorded(trail.redactor, approval, { approver_id, tool_name, on_behalf_of }) }
  const status = fault === undefined ? approval_status : 'pending'
  const added = { approval: { approval_id, approver_id, approval_status: status } }
  if (fault !== undefined) {
    const refused = { ...event, ...refusalOf(fault), content: { ...event.content, verdict: approval_status } }
    const { event_id } = session.recordChecked('approval_decision', refused, added)
    return { ...fault, approval_id, approver_id, approval, event_id, approval_status: 'pending' }
  }
  const receipt = session.recordChecked('approval_decision', event, added)
  await stored(trail, receipt, 'approval_decision')
  const decided = { approval_id, approval_status, approver_id, approval, event_id: receipt.event_id, expires_at }
  const decision = { ...decided, session_id: session.session_id, tool_name, arguments_sha256: event.arguments_sha256 }
  const { asked, changed } = bound
  const replaced = { modified: { tool_input: changed?.input, requested_sha256: asked.sha256 } }
  return { ...decision, ...(reason === undefined ? {} : { reason }), ...(changed === undefined ? {} : replaced) }
}

interface Given {
  readonly request: ApprovalRequest
  readonly verdict: Verdict
  readonly bound: BoundVerdict
}

/** The fields of its record. */
function describeVerdict(host: GuardHost, { request, verdict, bound: { asked, shown, changed } }: Given) {
  const { approval_id, on_behalf_of, tool_name, tool_call_id } = request
  const modified = changed === undefined ? undefined : changedFields(asked.input, changed.input)
  return {
    tool_name,
    tool_call_id,
    tool_input: changed?.input,
    arguments_sha256: changed?.sha256 ?? request.arguments_sha256,
    parent_event_id: approval_id,
    reason: verdict.reason,
    approval: describeApprover(host, verdict, { shown_sha256: shown.sha256, modified, on_behalf_of }),
    content: verdict.shown === undefined ? undefined : { shown: shown.input },
  }
}

/** Whether a verdict counts, and its signature: the given one, or the trail's own of a verdict that is fit. */
function judgeVerdict(
  host: GuardHost,
  { request, verdict, bound }: Given,
): { readonly fault: Fault | undefined; readonly signature: string | undefined } {
  const { approvalSigner, approvalTrust } = host.trail.options
  const decidedAt = host.trail.nowMs()
  const unfit = findFault(host, { request, asked: bound.asked, verdict })
  if (unfit !== undefined) return { fault: unfit, signature: verdict.signature }
  const isPlain = approvalSigner === undefined && approvalTrust === undefined && verdict.signature === undefined
  if (isPlain) return { fault: undefined, signature: undefined }
  const said = saidByVerdict(request, verdict, bound)
  const signature = verdict.signature ?? signHere(host, said, { decidedAt, eventType: 'approval_decision' })
  return { fault: findSignatureFault(host, signature, said), signature }
}

/** A signature must be of this verdict, and count by the trust file. A rejection needs none: it runs nothing. */
function findSignatureFault(host: GuardHost, signature: string | undefined, said: SaidApproval): Fault | undefined {
  if (said.decision === 'approved' && host.trail.options.approvalTrust !== undefined)
    return findForgery(host, signature, said)
  return signature === undefined ? undefined : findDifference(signature, said)
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
