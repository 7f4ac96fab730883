/** Judges a call: by the policy, by its approval, and by an override, which beats both. */
import { invalidEvent } from '@agent-audit/schemas'
import type { Approval, ToolCall } from '@agent-audit/schemas'
import type { SaidApproval } from '@agent-audit/seals'
import type { ApprovalDecision, ApprovalRequest, Override, Verdict } from '../api/approval.ts'
import type { GuardOptions, Ruling } from '../api/guard-options.ts'
import { redactErrors } from '../redaction/redactor.ts'
import { askApproval, recordVerdict } from './approval-events.ts'
import { findSelfApproval, markSelf } from './approver.ts'
import type { Fault } from './approver.ts'
import { bindInput } from './bound-input.ts'
import { checkDecision } from './check-approvals.ts'
import { overridden } from './guarded-call.ts'
import type { GuardedCall } from './guarded-call.ts'
import { findForgery, idOfOverride, saidByDecision, saidByOverride } from './signed-verdict.ts'

type Check = (call: ToolCall) => Ruling | Promise<Ruling>

/** @throws ActionRefusedError unless the policy allows the call, or there is an override; else what the policy throws. */
export async function judge(guarded: GuardedCall, check: Check): Promise<void> {
  const ruling = await guarded.decided('check', async () => checkRuling(await check(guarded.shown)))
  if (ruling.outcome === 'allowed') return
  guarded.object(ruling.outcome === 'denied' ? 'DENIED' : 'BLOCKED', ruling.reason, ruling.outcome)
}

/** A JavaScript caller may return anything; only a clear answer allows. */
function checkRuling(ruling: Ruling): Ruling {
  switch (ruling?.outcome) {
    case 'allowed':
      return ruling
    case 'denied':
    case 'blocked':
      if (typeof ruling.reason === 'string') return ruling
      throw invalidEvent('tool_call', [{ path: 'check', expected: 'expected a reason with the outcome' }])
    default:
      throw invalidEvent('tool_call', [{ path: 'check', expected: 'expected outcome allowed, denied or blocked' }])
  }
}

/**
 * Judges a call by its approval. From then on the call has the approved arguments; a policy judges them, if they are not the
 * ones that it has judged. A promise only where it has to wait.
 * @returns A decision that came from another process, if it is to be used up. @throws ActionRefusedError.
 */
export function approve<T>(
  guarded: GuardedCall,
  { approval, check }: GuardOptions<T>,
): ApprovalDecision | undefined | Promise<ApprovalDecision | undefined> {
  const asked = guarded.sha256
  if (typeof approval === 'function') {
    const decision = obtain(guarded, approval).then((given) => judgeModified(guarded, given, { asked, check }))
    // It stays in this process, so it cannot be used again.
    return decision.then(() => undefined)
  }
  const decision = redeem(guarded, approval)
  if (check === undefined || guarded.sha256 === asked) return decision
  return judgeModified(guarded, decision, { asked, check })
}

/** The policy has judged the arguments that were asked for: now it judges those of the approver. */
async function judgeModified(
  guarded: GuardedCall,
  decision: ApprovalDecision | undefined,
  { asked, check }: { readonly asked: string; readonly check: Check | undefined },
): Promise<ApprovalDecision | undefined> {
  if (decision === undefined || check === undefined || guarded.sha256 === asked) return decision
  await judge(guarded, check)
  // The check may have taken until the approval has expired.
  return checkApproved(guarded, decision) ? decision : undefined
}

/** Checks a decision that came from another process. @returns The decision, if it is to be used up. */
function redeem(guarded: GuardedCall, approval: ApprovalDecision | undefined): ApprovalDecision | undefined {
  if (approval === undefined) {
    guarded.object('APPROVAL_REQUIRED', 'approval is required and was not given')
    return undefined
  }
  const decision = checkDecision(approval, guarded.host.trail.redactor)
  return checkApproved(guarded, decision) ? decision : undefined
}

/** Gets a decision in this process. */
async function obtain(
  guarded: GuardedCall,
  ask: (request: ApprovalRequest) => Verdict | Promise<Verdict>,
): Promise<ApprovalDecision | undefined> {
  const decision = await guarded.decided('approval', async () => {
    const request = await askApproval(guarded.host, guarded, { reason: guarded.call.reason })
    return recordVerdict(guarded.host, request, await ask(request))
  })
  if (decision.approval_status !== 'pending') return checkApproved(guarded, decision) ? decision : undefined
  guarded.approval = decision
  guarded.object(decision.code, decision.why)
  return undefined
}

/** Whether exactly this action is approved, now. @throws ActionRefusedError if not, unless there is an override. */
function checkApproved(guarded: GuardedCall, decision: ApprovalDecision): boolean {
  const { host, call, override } = guarded
  const { approver_id, modified } = decision
  const approval = markSelf(host, { approver_id, on_behalf_of: call.on_behalf_of }, decision.approval)
  guarded.approval = { ...decision, approval }
  // A rejection runs nothing, whoever it is from.
  const isApproval = decision.approval_status === 'approved'
  const forged = isApproval
    ? findForged(guarded, decision.approval, () => saidByDecision(decision, call.on_behalf_of))
    : undefined
  if (forged !== undefined) {
    guarded.object(forged.code, forged.why)
    return false
  }
  const bound = redactErrors(host.trail.redactor, () =>
    modified === undefined ? undefined : bindInput(modified.tool_input, 'tool_call', 'modified.tool_input'),
  )
  const differs = bound !== undefined && bound.sha256 !== decision.arguments_sha256
  const fault = differs
    ? altered('the modified arguments are not the approved ones')
    : findFault(guarded, decision, 'approval', modified?.requested_sha256)
  if (!isApproval && fault?.code !== 'APPROVAL_ALTERED') {
    guarded.object('APPROVAL_REJECTED', 'the approval was rejected')
    return false
  }
  if (fault !== undefined) {
    guarded.object(fault.code, fault.why)
    return false
  }
  if (bound !== undefined) guarded.modify(bound)
  // An override is of exactly the arguments that run.
  if (override !== undefined) checkOverridden(guarded, override)
  return true
}

/** @throws ActionRefusedError unless the override is of exactly this action; no override beats that. */
export function checkOverridden(guarded: GuardedCall, override: Override): Override {
  const forged = findForged(guarded, override.approval, () =>
    saidByOverride(override, idOfOverride(override), guarded.call.on_behalf_of),
  )
  const fault = forged ?? findFault(guarded, override, 'override')
  if (fault === undefined) return override
  guarded.approval = overridden(override)
  throw guarded.refuse(fault.code, fault.why)
}

/** As {@link findForgery}; that the guard cannot tell is on record. */
function findForged(guarded: GuardedCall, { signature }: Approval, said: () => SaidApproval): Fault | undefined {
  if (guarded.host.trail.options.approvalTrust === undefined) return undefined
  try {
    return findForgery(guarded.host, signature, said())
  } catch (error) {
    guarded.noteFailure('trust file', error)
    throw error
  }
}

type Bound = Pick<Override, 'session_id' | 'tool_name' | 'arguments_sha256' | 'expires_at' | 'approver_id'>

/**
 * Why an approval or override does not fit this action, has expired, or comes from the one that asks.
 * @param requested - Digest of the arguments that were asked for, where the approver changed them.
 */
function findFault(
  { host, call, sha256 }: GuardedCall,
  given: Bound,
  what: string,
  requested?: string,
): Fault | undefined {
  const { session, trail } = host
  if (given.session_id !== session.session_id) return altered(`the ${what} is for another session`)
  if (given.tool_name !== call.tool_name) return altered(`the ${what} is for another tool`)
  if (sha256 !== given.arguments_sha256 && sha256 !== requested) return altered(`the ${what} is for other arguments`)
  if (trail.expiry.hasPassed(given.expires_at)) {
    return { code: 'APPROVAL_EXPIRED', why: `the ${what} has expired` }
  }
  return findSelfApproval(host, { approver_id: given.approver_id, on_behalf_of: call.on_behalf_of })
}

function altered(why: string): Fault {
  return { code: 'APPROVAL_ALTERED', why }
}
