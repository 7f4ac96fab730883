/**
 * The three answers of a guard about a call that it allows: it did not run; it ran, and its result is recorded; it ran, and its
 * result could not be recorded. docs/guard.md has them as a table.
 */
import { ActionRefusedError, AuditUnavailableError, ResultNotRecordedError, TrailError } from '@agent-audit/schemas'
import type { ToolResult } from '@agent-audit/schemas'
import type { GuardOptions } from '../api/guard-options.ts'
import { runInSession } from '../context/current-session.ts'
import { asError } from '../record/thrown.ts'
import type { GuardedCall, RecordedCall } from './guarded-call.ts'

export interface Execution<T> {
  readonly work: (input: unknown) => T | Promise<T>
  readonly options: GuardOptions<T>
  /** Why the tool runs although its call is not stored. */
  readonly reason: string | undefined
}

/**
 * Runs the tool and records its result. @returns The tool's value, or throws its error.
 * @throws ResultNotRecordedError with `onResultUnavailable: 'throw'`.
 */
export async function execute<T>(guarded: GuardedCall, recorded: RecordedCall, execution: Execution<T>): Promise<T> {
  const { work, options, reason } = execution
  const startMs = performance.now()
  const timed = (more: Partial<ToolResult>): Partial<ToolResult> => ({
    execution_time_ms: performance.now() - startMs,
    reason,
    ...more,
  })
  let value: T
  try {
    value = await runInSession(guarded.host.session, () => work(guarded.call.tool_input), recorded.cause)
  } catch (error) {
    // The action may have taken place before the error.
    const failed = {
      outcome: 'error',
      error: asError(error),
      reason_code: 'tool_error',
      effect: 'unknown',
    } as const
    const failure = await recordRun(guarded, recorded, { result: timed(failed), options })
    if (failure === undefined) throw error
    throw resultNotRecorded(guarded, recorded, { outcome: 'error', value: undefined, failure, cause: error })
  }
  const { describe, effect = 'confirmed' } = options
  const output = (): unknown => (describe === undefined ? value : describe(value))
  const failure = await recordRun(guarded, recorded, { result: timed({ effect }), output, options })
  if (failure === undefined) return value
  throw resultNotRecorded(guarded, recorded, { outcome: 'success', value, failure, cause: failure })
}

interface Run {
  readonly result: Partial<ToolResult>
  readonly output?: () => unknown
  readonly options: Pick<GuardOptions<never>, 'onResultUnavailable' | 'timeoutMs'>
}

/**
 * Records what the tool did. A result that is refused is recorded once more, without its output, as soon as events are kept
 * again: the trail then knows that the action ran.
 * @returns With `onResultUnavailable: 'throw'` why the result is not stored in time; otherwise the operator is told.
 */
async function recordRun(
  guarded: GuardedCall,
  recorded: RecordedCall,
  { result, output, options }: Run,
): Promise<TrailError | undefined> {
  const { trail } = guarded.host
  const throws = (options.onResultUnavailable ?? trail.options.onResultUnavailable) === 'throw'
  const onFailure = (failure: TrailError): void => {
    const content = { output_not_recorded: failure.code }
    trail.defer(() => void guarded.recordResult(recorded, { ...result, content }))
    if (throws) return
    // An operator is told that the action ran, not what came of it: values stay with the caller.
    const outcome = result.outcome === 'error' ? 'error' : 'success'
    trail.report(resultNotRecorded(guarded, recorded, { outcome, value: undefined, failure, cause: failure }))
  }
  const receipt = guarded.recordResult(recorded, result, output)
  if (receipt instanceof TrailError) {
    onFailure(receipt)
    return throws ? receipt : undefined
  }
  receipt.watch(onFailure)
  return throws ? trail.whenStored(receipt, options.timeoutMs ?? trail.options.guardTimeoutMs) : undefined
}

function resultNotRecorded(
  { shownName }: GuardedCall,
  { receipt }: RecordedCall,
  known: ErrorOptions & Pick<ResultNotRecordedError, 'outcome' | 'value' | 'failure'>,
): ResultNotRecordedError {
  const { event_id } = receipt
  const message = `${shownName} has run (tool_call ${event_id}), its result is not recorded: ${known.failure.message}`
  return new ResultNotRecordedError(message, { event_id, ...known })
}

/**
 * The tool is not run. The record of the call may still be stored, for example after a slow broker, or it was refused for
 * good: the result recorded here says in both cases that the tool was not run.
 */
export function notRun(guarded: GuardedCall, recorded: RecordedCall, failure: TrailError): AuditUnavailableError {
  const { trail } = guarded.host
  const record = (): void => {
    const reason = `not run: ${whyNot(failure)}`
    const receipt = guarded.recordResult(recorded, { outcome: 'blocked', reason, reason_code: 'not_recorded' })
    if (receipt instanceof TrailError) trail.report(receipt)
  }
  if (isLate(failure)) record()
  else trail.defer(record)
  const message = `${guarded.shownName} was not run, its record is not stored: ${failure.message}`
  return new AuditUnavailableError('NOT_RECORDED', message, { cause: failure })
}

/** The tool is not run: what it was to run under has expired while its call was being stored. */
export function expiredMeanwhile(guarded: GuardedCall, recorded: RecordedCall): ActionRefusedError {
  const reason = 'not run: its approval has expired meanwhile'
  const receipt = guarded.recordResult(recorded, { outcome: 'blocked', reason, reason_code: 'approval_expired' })
  if (receipt instanceof TrailError) guarded.host.trail.report(receipt)
  const message = `${guarded.shownName} was not run: its approval expired while the call was being stored`
  return new ActionRefusedError('APPROVAL_EXPIRED', message, { event_id: recorded.receipt.event_id })
}

export function whyNot(failure: TrailError): string {
  return isLate(failure) ? 'the call was not stored in time' : `the call was not stored (${failure.code})`
}

function isLate({ code }: TrailError): boolean {
  return code === 'NOT_RECORDED'
}
