/**
 * No record, no action. A guarded call is judged first: by the policy's `check`, then by its approval; an override beats
 * both. A call that is refused is recorded as a tool_call with its outcome, and not run. A call that is allowed is recorded,
 * stored, run with a frozen copy of exactly the recorded arguments, and followed by its tool_result (execute.ts).
 *
 * Up to its first await the guard runs within the caller's own turn: calls made side by side are recorded in their order.
 */
import { AuditUnavailableError, TrailError } from '@agent-audit/schemas'
import type { ToolCall } from '@agent-audit/schemas'
import type { ApprovalDecision } from '../api/approval.ts'
import type { GuardOptions } from '../api/guard-options.ts'
import { onUnavailable } from '../context/availability.ts'
import { takeGuardOptions } from '../options/call-options.ts'
import { describeThrown } from '../record/thrown.ts'
import { redactErrors } from '../redaction/redactor.ts'
import type { Redactor } from '../redaction/redactor.ts'
import { approve, checkOverridden, judge } from './judge.ts'
import { checkOverride } from './check-approvals.ts'
import { execute, expiredMeanwhile, notRun, whyNot } from './execute.ts'
import { GuardedCall } from './guarded-call.ts'
import type { RecordedCall } from './guarded-call.ts'
import type { GuardHost } from './recording-session.ts'
import { idOfOverride } from './signed-verdict.ts'

/** Longest wait for a record without which the tool runs all the same: a longer one would only delay the agent. */
const PROCEED_TIMEOUT_MS = 1000

interface Guarding<I, T> {
  readonly work: (input: I) => T | Promise<T>
  readonly options: GuardOptions<T>
}

/** See `AuditSession.guard`. */
export function guard<I, T>(host: GuardHost, given: ToolCall<I>, { work, options }: Guarding<I, T>): Promise<T> {
  return host.trail.runGuard(async () => {
    const taken = redactErrors(host.trail.redactor, () => takeGuardOptions(options))
    return judgeAndRun(host, given, { work, options: taken })
  })
}

async function judgeAndRun<I, T>(host: GuardHost, given: ToolCall<I>, { work, options }: Guarding<I, T>): Promise<T> {
  const requires_approval = given?.requires_approval === true || options.approval !== undefined
  const guarded = new GuardedCall(host, { ...given, requires_approval }, options.durability)
  if (options.override !== undefined)
    guarded.override = checkOverridden(guarded, checkOverride(options.override, host.trail.redactor))
  if (options.check !== undefined) await judge(guarded, options.check)
  const approval = requires_approval ? approve(guarded, options) : undefined
  const carried = approval instanceof Promise ? await approval : approval
  const { recorded, reason } = await admit(guarded, { carried, options })
  return execute(guarded, recorded, { work: work as (input: unknown) => T, options, reason })
}

interface Admitted {
  readonly recorded: RecordedCall
  /** Why the tool runs although its call is not stored. */
  readonly reason: string | undefined
}

/**
 * Uses up the approval and the override, records the call and waits for its record. Every wait may last until an approval has
 * expired, so that is looked at after each. What was used up is given back when the tool is not run.
 */
async function admit<T>(
  guarded: GuardedCall,
  { carried, options }: { readonly carried: ApprovalDecision | undefined; readonly options: GuardOptions<T> },
): Promise<Admitted> {
  const uses = new Uses(guarded)
  try {
    // No await unless the claim is a promise: see above.
    const free = carried === undefined || uses.claim(carried.approval_id, carried.expires_at)
    if (!(typeof free === 'boolean' ? free : await free)) guarded.object('APPROVAL_USED', 'the approval has been used')
    if (guarded.expired) guarded.object('APPROVAL_EXPIRED', 'the approval has expired')
    const override = guarded.overriddenBy
    const first = override === undefined || uses.claim(idOfOverride(override), override.expires_at)
    if (!(typeof first === 'boolean' ? first : await first)) {
      throw guarded.refuse('APPROVAL_USED', 'the override has been used')
    }
    if (override !== undefined && guarded.expired) throw guarded.refuse('APPROVAL_EXPIRED', 'the override has expired')
    const recorded = guarded.allow()
    const reason = await whenStored(guarded, recorded, options)
    if (guarded.expired) throw expiredMeanwhile(guarded, recorded)
    return { recorded, reason }
  } catch (error) {
    uses.release()
    throw error
  }
}

/** @returns Why the tool runs although its call is not stored. @throws AuditUnavailableError `NOT_RECORDED`: it does not. */
async function whenStored<T>(
  guarded: GuardedCall,
  recorded: RecordedCall,
  options: GuardOptions<T>,
): Promise<string | undefined> {
  const { trail } = guarded.host
  const { onUnavailable: choice, guardTimeoutMs } = trail.options
  const proceeds = (options.onUnavailable ?? onUnavailable(choice, guarded.call.tool_name)) === 'proceed'
  const timeoutMs = proceeds ? Math.min(guardTimeoutMs, PROCEED_TIMEOUT_MS) : guardTimeoutMs
  const failure = await trail.whenStored(recorded.receipt, options.timeoutMs ?? timeoutMs)
  // A trail that has closed meanwhile would not record the result.
  if (!proceeds) trail.checkOpen(true)
  if (failure === undefined) return undefined
  if (!proceeds) throw notRun(guarded, recorded, failure)
  return `run all the same: ${whyNot(failure)}`
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
    this.#guarded.noteFailure('claimApproval', error)
    const cause = redactCause(error, this.#guarded.host.trail.redactor)
    const why = error instanceof TrailError ? `: ${cause.message}` : ''
    const message = `${this.#guarded.shownName} was not run: it is not known whether its approval is used up${why}`
    throw new AuditUnavailableError('NOT_RECORDED', message, { cause })
  }

  release(): void {
    const { trail } = this.#guarded.host
    for (const id of this.#ids.splice(0)) {
      try {
        trail.claims.release(id.toLowerCase())
      } catch (error) {
        // It stays used up, which is the safe side.
        trail.report(error)
      }
    }
  }
}

/**
 * What the operator's own code threw, for the agent to read: its message is redacted, its class and code stay. Its stack and
 * its other properties are left out: clients put their connection settings there.
 */
function redactCause(thrown: unknown, redactor: Redactor | undefined): Error {
  const { message, type, code } = describeThrown(thrown)
  const named = (text: string): string => redactor?.withoutTokens(text) ?? text
  const cause = new Error(redactor?.forMessage('error', message) ?? message)
  cause.name = named(type)
  cause.stack = `${cause.name}: ${cause.message}`
  return code === undefined ? cause : Object.assign(cause, { code: typeof code === 'string' ? named(code) : code })
}
