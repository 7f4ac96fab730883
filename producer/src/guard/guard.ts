/**
 * No record, no action. A guarded call is judged first: by the policy's `check`, then by its approval; a person's override
 * stands against both. What is not allowed is recorded as a tool_call with its outcome, and not run. What is allowed is
 * recorded, stored, run with a frozen copy of exactly the recorded arguments, and followed by its tool_result.
 *
 * Until the first wait everything happens within the call of guard: calls made side by side are recorded in their order.
 */
import { AuditUnavailableError, invalidEvent } from '@agent-audit/schemas'
import type { ErrorCode, ToolCall, TrailError } from '@agent-audit/schemas'
import { checkDecision } from './approval.ts'
import type { ApprovalDecision, ApprovalRequest, Verdict } from './approval.ts'
import { askApproval, recordVerdict } from './approval-events.ts'
import { runInSession } from '../session/current-session.ts'
import { GuardedCall } from './guarded-call.ts'
import type { RecordedCall, SessionHost } from './guarded-call.ts'
import type { Durability } from '../options/options.ts'
import { checkOverride } from './override.ts'
import type { Override } from './override.ts'
import { describeThrown } from '../record/thrown.ts'

/** What a policy says of a call. */
export type Ruling = { outcome: 'allowed' } | { outcome: 'denied' | 'blocked'; reason: string }

/** How one call is guarded. */
export interface GuardOptions<T> {
  /** The call cannot be stored: do not run the tool, or run it all the same. @defaultValue the trail's */
  onUnavailable?: 'refuse' | 'proceed' | undefined
  /** What the record of the call must have before the tool runs. @defaultValue the trail's */
  durability?: Durability | undefined
  /** Longest wait for it, milliseconds. @defaultValue the trail's `guardTimeoutMs`; where it proceeds, at most 1000 */
  timeoutMs?: number | undefined
  /** From decideApproval, or a function that gets a verdict in this process. Needed if requires_approval. */
  approval?: ApprovalDecision | ((request: ApprovalRequest) => Verdict | Promise<Verdict>) | undefined
  /**
   * From `session.override`: what a person has taken upon them is run though the policy or the approval is against it, once.
   * For anything else than this very call it is refused, needed or not.
   */
  override?: Override | undefined
  /** Policy; what is not allowed is recorded and not run. What it throws counts as not allowed, and is thrown. */
  check?: ((call: ToolCall) => Ruling | Promise<Ruling>) | undefined
  /** What to record as tool_output. @defaultValue the value */
  describe?: ((value: T) => unknown) | undefined
}

/** Beyond this, waiting for a record that is not needed would only be in the agent's way. */
const PROCEED_TIMEOUT_MS = 1000

/** See `AuditSession.guard`. */
export async function guard<I, T>(
  host: SessionHost,
  given: ToolCall<I>,
  { work, options }: { work: (input: I) => T | Promise<T>; options: GuardOptions<T> },
): Promise<T> {
  const requires_approval = given?.requires_approval === true || options.approval !== undefined
  const guarded = new GuardedCall(host, { ...given, requires_approval }, options.durability)
  if (options.override !== undefined)
    guarded.override = checkOverridden(guarded, checkOverride(options.override, host.trail.redactor))
  if (options.check !== undefined) await judge(guarded, options.check)
  let approvalId: string | undefined
  if (typeof options.approval === 'function') await obtain(guarded, options.approval)
  else if (requires_approval) approvalId = redeem(guarded, options.approval)
  const uses = new Uses(guarded)
  // No await where there is nothing to wait for: see above.
  const free = approvalId === undefined || uses.claim(approvalId)
  if (!(typeof free === 'boolean' ? free : await free)) guarded.object('APPROVAL_USED', 'the approval has been used')
  const override = guarded.overriddenBy
  const first = override === undefined || uses.claim(override.event_id)
  if (!(typeof first === 'boolean' ? first : await first)) {
    uses.release()
    throw guarded.refuse('APPROVAL_USED', 'the override has been used')
  }
  const recorded = guarded.allow()
  const onUnavailable = options.onUnavailable ?? host.trail.onUnavailable(guarded.call.tool_name)
  const limitMs = host.trail.guardTimeoutMs
  const timeoutMs = onUnavailable === 'proceed' ? Math.min(limitMs, PROCEED_TIMEOUT_MS) : limitMs
  const failure = await host.trail.whenStored(recorded.receipt, options.timeoutMs ?? timeoutMs)
  if (failure !== undefined && onUnavailable !== 'proceed') {
    uses.release()
    throw notRecorded(guarded, recorded, failure)
  }
  const reason = failure === undefined ? undefined : `run all the same: ${whyNot(failure)}`
  return execute(guarded, recorded, { work: work as (input: unknown) => T, describe: options.describe, reason })
}

async function judge(guarded: GuardedCall, check: (call: ToolCall) => Ruling | Promise<Ruling>): Promise<void> {
  const ruling = await decided(guarded, 'check', async () => checkRuling(await check(guarded.call)))
  if (ruling.outcome === 'allowed') return
  guarded.object(ruling.outcome === 'denied' ? 'DENIED' : 'BLOCKED', ruling.reason, ruling.outcome)
}

/** From JavaScript it may be anything; only a clear answer allows. */
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

/** Takes a decision that came from elsewhere. @returns The approval that is to be used up. */
function redeem(guarded: GuardedCall, approval: ApprovalDecision | undefined): string | undefined {
  if (approval === undefined) {
    guarded.object('APPROVAL_REQUIRED', 'approval is required and was not given')
    return undefined
  }
  const decision = checkDecision(approval, guarded.host.trail.redactor)
  return checkApproved(guarded, decision) ? decision.approval_id : undefined
}

/** Gets a decision in this process; nobody else sees it, so it cannot be used again. */
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

/** Whether this very action is approved, now. @throws ActionRefusedError where it is not, unless that is overridden. */
function checkApproved(guarded: GuardedCall, decision: ApprovalDecision): boolean {
  guarded.approval = decision
  const fault = findFault(guarded, decision, 'approval')
  if (decision.approval_status !== 'approved' && fault?.[0] !== 'APPROVAL_ALTERED') {
    guarded.object('APPROVAL_REJECTED', 'the approval was rejected')
  } else if (fault !== undefined) guarded.object(...fault)
  else return true
  return false
}

/** @throws ActionRefusedError unless a person's word is for this very action: nothing stands against that. */
function checkOverridden(guarded: GuardedCall, override: Override): Override {
  const { approver_id, event_id } = override
  const fault = findFault(guarded, override, 'override')
  if (fault === undefined) return override
  guarded.approval = { approval_id: null, approval_status: null, approver_id, event_id }
  throw guarded.refuse(...fault)
}

type Bound = Pick<Override, 'session_id' | 'tool_name' | 'arguments_sha256' | 'expires_at'>

/** Why a person's word is not for this action, or not any more. */
function findFault({ host, call, sha256 }: GuardedCall, word: Bound, what: string): [ErrorCode, string] | undefined {
  const { session, trail } = host
  if (word.session_id !== session.session_id) return ['APPROVAL_ALTERED', `the ${what} is for another session`]
  if (word.tool_name !== call.tool_name) return ['APPROVAL_ALTERED', `the ${what} is for another tool`]
  if (word.arguments_sha256 !== sha256) return ['APPROVAL_ALTERED', `the ${what} is for other arguments`]
  if (Date.parse(word.expires_at) <= trail.now()) return ['APPROVAL_EXPIRED', `the ${what} has expired`]
  return undefined
}

/** The words of people that a call uses up, and gives back if it is not run after all. */
class Uses {
  readonly #guarded: GuardedCall
  readonly #ids: string[] = []

  constructor(guarded: GuardedCall) {
    this.#guarded = guarded
  }

  /** @returns false when it is used up already. @throws AuditUnavailableError when that cannot be told. */
  claim(id: string): boolean | Promise<boolean> {
    const take = (free: unknown): boolean => {
      if (free === true) this.#ids.push(id)
      return free === true
    }
    try {
      const answer = this.#guarded.host.trail.claims.claim(id.toLowerCase())
      return answer instanceof Promise ? answer.then(take, (error: unknown) => this.#fail(error)) : take(answer)
    } catch (error) {
      return this.#fail(error)
    }
  }

  #fail(error: unknown): never {
    this.release()
    noteFailure(this.#guarded, 'claimApproval', error)
    const message = `${this.#guarded.shownName} was not run: whether its approval is used cannot be told`
    throw new AuditUnavailableError('NOT_RECORDED', message, { cause: error })
  }

  release(): void {
    for (const id of this.#ids.splice(0)) this.#guarded.host.trail.claims.release(id.toLowerCase())
  }
}

/** Who decides may fail: then nothing is allowed, and that is on record too. */
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

/**
 * The tool is not run. The call may be on its way all the same, as when the broker was slow, or refused for good: what is
 * recorded now says that it was not run either way.
 */
function notRecorded(guarded: GuardedCall, recorded: RecordedCall, failure: TrailError): AuditUnavailableError {
  const record = (): void =>
    guarded.recordResult(recorded, { outcome: 'blocked', reason: `not run: ${whyNot(failure)}` })
  if (isLate(failure)) record()
  else guarded.host.trail.recordLater(record)
  const message = `${guarded.shownName} was not run, its record is not stored: ${failure.message}`
  return new AuditUnavailableError('NOT_RECORDED', message, { cause: failure })
}

function whyNot(failure: TrailError): string {
  return isLate(failure) ? 'the call was not stored in time' : `the call was not stored (${failure.code})`
}

function isLate({ code }: TrailError): boolean {
  return code === 'NOT_RECORDED'
}

interface Execution<T> {
  readonly work: (input: unknown) => T | Promise<T>
  readonly describe: ((value: T) => unknown) | undefined
  readonly reason: string | undefined
}

async function execute<T>(guarded: GuardedCall, recorded: RecordedCall, execution: Execution<T>): Promise<T> {
  const { work, describe, reason } = execution
  const startMs = performance.now()
  const result = (): { execution_time_ms: number; reason: string | undefined } => ({
    execution_time_ms: performance.now() - startMs,
    reason,
  })
  let value: T
  try {
    value = await runInSession(guarded.host.session, () => work(guarded.call.tool_input), recorded.cause)
  } catch (error) {
    // Undefined can be thrown too, and must not look like success.
    guarded.recordResult(recorded, { ...result(), outcome: 'error', error: error ?? String(error) })
    throw error
  }
  guarded.recordResult(recorded, result(), () => (describe === undefined ? value : describe(value)))
  return value
}
