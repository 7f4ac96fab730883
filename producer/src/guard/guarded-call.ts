/** One call of a tool on its way through the guard: its bound arguments, and the events recorded about it. */
import { ActionRefusedError, checkInput } from '@agent-audit/schemas'
import type { ErrorCode, Maybe, Outcome, ToolCall, ToolResult, TrailError } from '@agent-audit/schemas'
import type { Override } from '../api/approval.ts'
import type { Durability } from '../api/trail-options.ts'
import { asTrailError } from '../context/availability.ts'
import type { Cause } from '../record/causes.ts'
import type { ApprovalFields } from '../record/complete-record.ts'
import { describeThrown } from '../record/thrown.ts'
import type { RecordReceipt } from '../recorder/chunk-state.ts'
import { redactErrors } from '../redaction/redactor.ts'
import { bindInput } from './bound-input.ts'
import type { GuardHost } from './recording-session.ts'

/** A call that is on record. */
export interface RecordedCall {
  readonly receipt: RecordReceipt
  readonly cause: Cause
  readonly tool_call_id: string
}

export class GuardedCall {
  readonly host: GuardHost
  /** Checked; its arguments are a frozen copy. */
  readonly call: ToolCall
  /** Digest of the arguments, 64 hex digits. */
  readonly sha256: string
  readonly #durability: Durability | undefined
  #approval: ApprovalFields | undefined
  #override: Override | undefined
  #overridden: string | undefined

  /** @throws InvalidInputError as the session's methods do; then nothing is recorded. */
  constructor(host: GuardHost, given: ToolCall, durability: Durability | undefined) {
    host.session.checkOpen()
    const call = redactErrors(host.trail.redactor, () => checkInput('tool_call', given))
    host.trail.checkDurability(durability)
    const { input, sha256 } = redactErrors(host.trail.redactor, () => bindInput(call.tool_input, 'tool_call'))
    this.host = host
    this.call = { ...call, tool_input: input }
    this.sha256 = sha256
    this.#durability = durability
  }

  /** The tool, for an error message. */
  get shownName(): string {
    const { redactor } = this.host.trail
    return redactor === undefined ? this.call.tool_name : redactor.withoutTokens(this.call.tool_name)
  }

  /** The decision that this call runs under, or is refused under. */
  set approval(fields: ApprovalFields) {
    this.#approval = fields
  }

  /** An override of exactly this call, checked. */
  set override(override: Override) {
    this.#override = override
  }

  /** The override that the call runs under, because policy or approval refused it. */
  get overriddenBy(): Override | undefined {
    return this.#overridden === undefined ? undefined : this.#override
  }

  /** Policy or approval refuses the call. @throws ActionRefusedError unless there is an override. */
  object(code: ErrorCode, why: string, outcome: 'denied' | 'blocked' = 'denied'): void {
    if (this.#override === undefined) throw this.refuse(code, why, outcome)
    this.#overridden ??= why
  }

  /** Records that the tool is to run. */
  allow(): RecordedCall {
    const override = this.overriddenBy
    if (override === undefined) return this.record('allowed')
    const { approver_id, event_id } = override
    this.#approval = { approval_id: null, approval_status: null, approver_id, event_id }
    return this.record('allowed', `overridden: ${this.#overridden}`)
  }

  /** Records that the tool is to run, or why it is not. */
  record(outcome: Outcome, reason: Maybe<string> = this.call.reason): RecordedCall {
    const { session } = this.host
    session.checkOpen()
    const parent_event_id = this.call.parent_event_id ?? this.#approval?.event_id
    const event = { ...this.call, outcome, reason, parent_event_id }
    const receipt = session.recordChecked('tool_call', event, {
      approval: this.#approval,
      durability: this.#durability,
    })
    const cause = session.newest ?? { event_id: receipt.event_id, step: 0 }
    return { receipt, cause, tool_call_id: this.call.tool_call_id ?? receipt.event_id }
  }

  /** Records that the tool is not run. @returns The error to throw. */
  refuse(code: ErrorCode, why: string, outcome: 'denied' | 'blocked' = 'denied'): ActionRefusedError {
    const { receipt } = this.record(outcome, why)
    const message = `${this.shownName} was not run: ${why}`
    return new ActionRefusedError(code, message, { event_id: receipt.event_id })
  }

  /**
   * Records the result of the call; without its output, if that cannot be recorded.
   * @returns The receipt, or why nothing was recorded. Never throws: no fault of the output or of the trail may replace the
   * value that the tool returned, or the error that it threw.
   */
  recordResult(
    { cause, tool_call_id }: RecordedCall,
    result: Partial<ToolResult>,
    output?: () => unknown,
  ): RecordReceipt | TrailError {
    const { session, trail } = this.host
    const { tool_name } = this.call
    const from = { parent_event_id: cause.event_id, step_number: cause.step }
    const record = (more: Partial<ToolResult>): RecordReceipt => {
      trail.checkOpen()
      const event = { ...from, tool_call_id, tool_name, ...result, ...more }
      return session.recordChecked('tool_result', event, { durability: this.#durability })
    }
    try {
      return record({ tool_output: output?.() })
    } catch (error) {
      const { type, code } = describeThrown(error)
      try {
        return record({ content: { output_not_recorded: code ?? type } })
      } catch (again) {
        return asTrailError(again)
      }
    }
  }
}
