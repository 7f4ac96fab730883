/**
 * No record, no action. A guarded call is judged first: by the policy's `check`, then by its approval; an override beats
 * both. A call that is refused is recorded as a tool_call with its outcome, and not run. A call that is allowed is recorded,
 * stored, run with a frozen copy of exactly the recorded arguments, and followed by its tool_result (execute.ts).
 *
 * Up to its first await the guard runs within the caller's own turn: calls made side by side are recorded in their order.
 */
import { AuditUnavailableError, invalidEvent } from '@agent-audit/schemas'
import type { ErrorCode, ToolCall } from '@agent-audit/schemas'
import type { ApprovalDecision, ApprovalRequest, Override, Verdict } from '../api/approval.ts'
import type { GuardOptions, Ruling } from '../api/guard-options.ts'
import { onUnavailable } from '../context/availability.ts'
import { describeThrown } from '../record/thrown.ts'
import { askApproval, recordVerdict } from './approval-events.ts'
import { checkDecision, checkOverride } from './check-approvals.ts'
import { execute, notRun, whyNot } from './execute.ts'
import { GuardedCall } from './guarded-call.ts'
import type { GuardHost } from './recording-session.ts'

/** Longest wait for a record without which the tool runs all the same: a longer one would only delay the agent. */
const PROCEED_TIMEOUT_MS = 1000

/** See `AuditSession.guard`. */
export async function guard<I, T>(
  host: GuardHost,
  given: ToolCall<I>,
  { work, options }: { work: (input: I) => T | Promise<T>; options: GuardOptions<T> },
): Promise<T> {
  const requires_approval = given?.requires_approval === true || options.approval !== undefined
  const guarded = new GuardedCall(host, { ...given, requires_approval }, options.durability)
  if (options.override !== undefined)
    guarded.override = checkOverridden(guarded, checkOverride(options.override, host.trail.redactor))
  if (options.check !== undefined) await judge(guarded, options.check)
  let approval: ApprovalDecision | undefined
  if (typeof options.approval === 'function') await obtain(guarded, options.approval)
  else if (requires_approval) approval = redeem(guarded, options.approval)
  const uses = new Uses(guarded)
  // No await unless the claim is a promise: see above.
  const free = approval === undefined || uses.claim(approval.approval_id, approval.expires_at)
  if (!(typeof free === 'boolean' ? free : await free)) guarded.object('APPROVAL_USED', 'the approval has been used')
  const override = guarded.overriddenBy
  const first = override === undefined || uses.claim(override.event_id, override.expires_at)
  if (!(typeof first === 'boolean' ? first : await first)) {
    uses.release()
    throw guarded.refuse('APPROVAL_USED', 'the override has been used')
  }
  const recorded = guarded.allow()
  const { onUnavailable: choice, guardTimeoutMs } = host.trail.options
  const proceeds = (options.onUnavailable ?? onUnavailable(choice, guarded.call.tool_name)) === 'proceed'
  const timeoutMs = proceeds ? Math.min(guardTimeoutMs, PROCEED_TIMEOUT_MS) : guardTimeoutMs
  const failure = await host.trail.whenStored(recorded.receipt, options.timeoutMs ?? timeoutMs)
  if (failure !== undefined && !proceeds) {
    uses.release()
    throw notRun(guarded, recorded, failure)
  }
  const reason = failure === undefined ? undefined : `run all the same: ${whyNot(failure)}`
  return execute(guarded, recorded, { work: work as (input: unknown) => T, options, reason })
}

async function judge(guarded: GuardedCall, check: (call: ToolCall) => Ruling | Promise<Ruling>): Promise<void> {
  const ruling = await decided(guarded, 'check', async () => checkRuling(await check(guarded.call)))
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

/** Checks a decision that came from another process. @returns The decision, if it is to be used up. */
function redeem(guarded: GuardedCall, approval: ApprovalDecision | undefined): ApprovalDecision | undefined {
  if (approval === undefined) {
    guarded.object('APPROVAL_REQUIRED', 'approval is required and was not given')
    return undefined
  }
  const decision = checkDecision(approval, guarded.host.trail.redactor)
  return checkApproved(guarded, decision) ? decision : undefined
}

/** Gets a decision in this process. It never leaves this function, so it cannot be used again. */
async function obtain(
  guarded: GuardedCall,
  decide: (request: ApprovalRequest) => Verdict | Promise<Verdict>,
): Promise<void> {
  const decision = await decided(guarded, 'approval', async () => {
    const request = await askApproval(guarded.host, guarded, { reason: guarded.call.reason })
    return recordVerdict(guarded.host, request, await decide(request))
  })
  checkApproved(guarded, decision)
}

/** Whether exactly this action is approved, now. @throws ActionRefusedError if not, unless there is an override. */
function checkApproved(guarded: GuardedCall, decision: ApprovalDecision): boolean {
  guarded.approval = decision
  const fault = findFault(guarded, decision, 'approval')
  if (decision.approval_status !== 'approved' && fault?.[0] !== 'APPROVAL_ALTERED') {
    guarded.object('APPROVAL_REJECTED', 'the approval was rejected')
  } else if (fault !== undefined) guarded.object(...fault)
  else return true
  return false
}

/** @throws ActionRefusedError unless the override is of exactly this action; no override beats that. */
function checkOverridden(guarded: GuardedCall, override: Override): Override {
  const { approver_id, event_id } = override
  const fault = findFault(guarded, override, 'override')
  if (fault === undefined) return override
  guarded.approval = { approval_id: null, approval_status: null, approver_id, event_id }
  throw guarded.refuse(...fault)
}

type Bound = Pick<Override, 'session_id' | 'tool_name' | 'arguments_sha256' | 'expires_at'>

/** Why an approval or override does not fit this action, or has expired. */
function findFault({ host, call, sha256 }: GuardedCall, given: Bound, what: string): [ErrorCode, string] | undefined {
  const { session, trail } = host
  if (given.session_id !== session.session_id) return ['APPROVAL_ALTERED', `the ${what} is for another session`]
  if (given.tool_name !== call.tool_name) return ['APPROVAL_ALTERED', `the ${what} is for another tool`]
  if (given.arguments_sha256 !== sha256) return ['APPROVAL_ALTERED', `the ${what} is for other arguments`]
  if (Date.parse(given.expires_at) <= trail.nowMs()) return ['APPROVAL_EXPIRED', `the ${what} has expired`]
  return undefined
}

/** The approval and the override that a call uses up, and releases if it is not run after all. */
class Uses {
  readonly #guarded: GuardedCall
  readonly #ids: string[] = []

  constructor(guarded: GuardedCall) {
    this.#guarded = guarded
  }

  /** @returns false when it is used up already. @throws AuditUnavailableError when that cannot be determined. */
  claim(id: string, expiresAt: string): boolean | Promise<boolean> {
    const take = (free: unknown): boolean => {
      if (free === true) this.#ids.push(id)
      return free === true
    }
    try {
      const answer = this.#guarded.host.trail.claims.claim(id.toLowerCase(), expiresAt)
      return answer instanceof Promise ? answer.then(take, (error: unknown) => this.#fail(error)) : take(answer)
    } catch (error) {
      return this.#fail(error)
    }
  }

  #fail(error: unknown): never {
    this.release()
    noteFailure(this.#guarded, 'claimApproval', error)
    const message = `${this.#guarded.shownName} was not run: it is not known whether its approval is used up`
    throw new AuditUnavailableError('NOT_RECORDED', message, { cause: error })
  }

  release(): void {
    for (const id of this.#ids.splice(0)) this.#guarded.host.trail.claims.release(id.toLowerCase())
  }
}

/** Policy or approver may fail: then the call is not allowed, and an error records the failure. */
async function decided<T>(guarded: GuardedCall, what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    noteFailure(guarded, what, error)
    throw error
  }
}

function noteFailure(guarded: GuardedCall, what: string, error: unknown): void {
  const { type, code } = describeThrown(error)
  guarded.record('error', `${what} failed: ${code ?? type}`)
}
