/** Records requests, verdicts and overrides. Each is stored before the producer acts on it. */
import { ActionRefusedError, AuditUnavailableError } from '@agent-audit/schemas'
import type { ErrorCode, ToolCall } from '@agent-audit/schemas'
import type {
  ApprovalDecision,
  ApprovalOptions,
  ApprovalRequest,
  Override,
  OverrideOptions,
  Verdict,
} from '../api/approval.ts'
import type { Receipt } from '../api/receipt.ts'
import { bindInput } from './bound-input.ts'
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
  const { tool_name, tool_input, tool_call_id } = call
  return {
    approval_id: receipt.event_id,
    session: ref,
    tool_name,
    tool_call_id: tool_call_id ?? receipt.event_id,
    tool_input,
    arguments_sha256: sha256,
    reason: event.reason ?? null,
    expires_at,
  }
}

/**
 * @param bound - The call, checked, with its arguments bound.
 * @throws AuditUnavailableError `NOT_RECORDED`: the override does not count.
 */
export async function recordOverride(
  { session, trail }: GuardHost,
  { call, sha256 }: { readonly call: ToolCall; readonly sha256: string },
  { approver_id, reason, approval_id, ttlMs = DEFAULT_TTL_MS }: OverrideOptions,
): Promise<Override> {
  const expires_at = new Date(trail.nowMs() + ttlMs).toISOString()
  const { tool_name, tool_input, tool_call_id, parent_event_id, content } = call
  const receipt = session.recordChecked('human_intervention', {
    outcome: 'allowed',
    approver_id,
    reason,
    tool_name,
    tool_input,
    tool_call_id,
    approval_id,
    parent_event_id,
    content: { ...content, expires_at },
  })
  await stored(trail, receipt, 'human_intervention')
  const { event_id } = receipt
  const { session_id } = session
  return { event_id, session_id, tool_name, arguments_sha256: sha256, approver_id, reason, expires_at }
}

/**
 * @param host - The asking session, or one that goes on with it in this process.
 * @param request - Its form is checked; whether it still is the question that was asked is checked here.
 * @throws ActionRefusedError `APPROVAL_ALTERED`, `APPROVAL_EXPIRED`; AuditUnavailableError `NOT_RECORDED`: the verdict does not count.
 */
export async function recordVerdict(
  { session, trail }: GuardHost,
  request: ApprovalRequest,
  given: Verdict,
): Promise<ApprovalDecision> {
  const { approval_status, approver_id, reason } = checkVerdict(given, trail.redactor)
  const { approval_id, tool_name, tool_call_id, arguments_sha256, expires_at } = request
  const record = (status: string, more: object): Receipt =>
    session.recordChecked(
      'approval_decision',
      { parent_event_id: approval_id, tool_name, tool_call_id, arguments_sha256, reason, ...more },
      { approval: { approval_id, approver_id, approval_status: status } },
    )
  const refuse = (code: ErrorCode, why: string): ActionRefusedError => {
    // Still undecided: the verdict was about other arguments, or came too late.
    const { event_id } = record('pending', { outcome: 'denied', reason: why, content: { verdict: approval_status } })
    return new ActionRefusedError(code, `the decision does not count: ${why}`, { event_id })
  }
  if (bindInput(request.tool_input, 'approval_decision').sha256 !== arguments_sha256) {
    throw refuse('APPROVAL_ALTERED', 'the request is not the one that was asked')
  }
  if (Date.parse(expires_at) <= trail.nowMs()) throw refuse('APPROVAL_EXPIRED', 'the request has expired')
  const receipt = record(approval_status, {})
  await stored(trail, receipt, 'approval_decision')
  const { event_id } = receipt
  const { session_id } = session
  const verdict = { approval_status, approver_id, ...(reason === undefined ? {} : { reason }) }
  return { approval_id, event_id, session_id, tool_name, arguments_sha256, expires_at, ...verdict }
}

async function stored(trail: GuardHost['trail'], receipt: Receipt, what: string): Promise<void> {
  const failure = await trail.whenStored(receipt, trail.options.guardTimeoutMs)
  if (failure === undefined) return
  throw new AuditUnavailableError('NOT_RECORDED', `${what} is not stored: ${failure.message}`, { cause: failure })
}
