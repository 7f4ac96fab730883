/** One call of a tool on its way through the guard: its bound arguments, and the events recorded about it. */
import { ActionRefusedError, checkInput, InvalidInputError } from '@agent-audit/schemas'
import type {
  Approval,
  ErrorCode,
  Maybe,
  Outcome,
  ReasonCode,
  ToolCall,
  ToolResult,
  TrailError,
} from '@agent-audit/schemas'
import type { Override } from '../api/approval.ts'
import type { Durability } from '../api/trail-options.ts'
import { asTrailError } from '../context/availability.ts'
import type { Cause } from '../record/causes.ts'
import type { ApprovalFields } from '../record/complete-record.ts'
import { describeThrown } from '../record/thrown.ts'
import type { RecordReceipt } from '../recorder/chunk-state.ts'
import { redactErrors } from '../redaction/redactor.ts'
import { reasonCodeOf } from './approver.ts'
import { bindFields, bindInput, frozenCopy } from './bound-input.ts'
import type { BoundInput } from './bound-input.ts'
import type { GuardHost } from './recording-session.ts'
import { toRecorded } from './signed-verdict.ts'

/** A call that is on record. */
export interface RecordedCall {
  readonly receipt: RecordReceipt
  readonly cause: Cause
  readonly tool_call_id: string
}

/** The approval that a call runs under, or is refused under. */
export interface CallApproval extends ApprovalFields {
  readonly approval: Approval
  readonly expires_at?: string | undefined
}

/** A call that runs under an override has an approver and no approval. */
export function overridden({ approver_id, approval, event_id }: Override): CallApproval {
  return { approval_id: null, approval_status: null, approver_id, approval, event_id }
}

export class GuardedCall {
  readonly host: GuardHost
  readonly #durability: Durability | undefined
  #call: ToolCall
  #sha256: string
  #approval: CallApproval | undefined
  #override: Override | undefined
  #overridden: string | undefined

  /** @throws InvalidInputError as the session's methods do; then nothing is recorded. */
  constructor(host: GuardHost, given: ToolCall, durability: Durability | undefined) {
    host.session.checkOpen()
    const call = redactErrors(host.trail.redactor, () => checkInput('tool_call', given))
    host.trail.checkDurability(durability)
    const { input, sha256, fields } = redactErrors(host.trail.redactor, () => ({
      ...bindInput(call.tool_input, 'tool_call'),
      fields: bindFields(call),
    }))
    this.host = host
    this.#call = { ...call, ...fields, tool_input: input }
    this.#sha256 = sha256
    this.#durability = durability
  }

  /** Checked, and what is recorded and runs. For the guard alone: callbacks get {@link shown}. */
  get call(): Readonly<ToolCall> {
    return this.#call
  }

  /** The call as it is now, for a callback. */
  get shown(): ToolCall {
    return frozenCopy(this.#call)
  }

  /** Digest of the arguments, 64 hex digits. */
  get sha256(): string {
    return this.#sha256
  }

  /** The approver has other arguments run: from now on the call has only these. */
  modify({ input, sha256 }: BoundInput): void {
    this.#call = { ...this.#call, tool_input: input }
    this.#sha256 = sha256
  }

  /** The tool, for an error message. */
  get shownName(): string {
    const { redactor } = this.host.trail
    return redactor === undefined ? this.call.tool_name : redactor.withoutTokens(this.call.tool_name)
  }

  /** The decision that this call runs under, or is refused under. */
  set approval(fields: CallApproval) {
    this.#approval = fields
  }

  /** An override of exactly this call, checked. */
  set override(override: Override) {
    this.#override = override
  }

  get override(): Override | undefined {
    return this.#override
  }

  /** The override that the call runs under, because policy or approval refused it. */
  get overriddenBy(): Override | undefined {
    return this.#overridden === undefined ? undefined : this.#override
  }

  /** Whether the approval, or the override, that the call runs under has expired by now. */
  get expired(): boolean {
    const { expires_at } = this.overriddenBy ?? this.#approval ?? {}
    return expires_at !== undefined && this.host.trail.expiry.hasPassed(expires_at)
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
    this.#approval = overridden(override)
    return this.record('allowed', `overridden: ${this.#overridden}`)
  }

  /** Records that the tool is to run, or why it is not. */
  record(
    outcome: Outcome,
    reason: Maybe<string> = this.call.reason,
    reason_code: Maybe<ReasonCode> = this.call.reason_code,
  ): RecordedCall {
    const { session } = this.host
    session.checkOpen(true)
    const parent_event_id = this.call.parent_event_id ?? this.#approval?.event_id
    const approval = this.#approval && this.#recorded(this.#approval)
    const event = { ...this.call, outcome, reason, reason_code, parent_event_id, approval }
    const receipt = session.recordChecked('tool_call', event, {
      approval: this.#approval,
      durability: this.#durability,
    })
    const cause = session.newest ?? { event_id: receipt.event_id, step: 0 }
    return { receipt, cause, tool_call_id: this.call.tool_call_id ?? receipt.event_id }
  }

  #recorded({ approval, approver_id }: CallApproval): Approval {
    return toRecorded(this.host.trail.redactor, approval, {
      approver_id,
      tool_name: this.call.tool_name,
      on_behalf_of: this.call.on_behalf_of,
    })
  }

  /** Policy or approver may fail: then the call is not allowed, and an error records the failure. */
  async decided<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      this.noteFailure(what, error)
      throw error
    }
  }

  noteFailure(what: string, error: unknown): void {
    const { type, code } = describeThrown(error)
    this.record('error', `${what} failed: ${code ?? type}`)
  }

  /** Records that the tool is not run. @returns The error to throw. */
  refuse(code: ErrorCode, why: string, outcome: 'denied' | 'blocked' = 'denied'): ActionRefusedError {
    const { receipt } = this.record(outcome, why, reasonCodeOf(code))
    const shown = this.host.trail.redactor?.forMessage('reason', why) ?? why
    const message = `${this.shownName} was not run: ${shown}`
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
      trail.checkOpen(true)
      const event = { ...from, tool_call_id, tool_name, ...result, ...more }
      return session.recordChecked('tool_result', event, { durability: this.#durability, partial: true })
    }
    try {
      return record({ tool_output: output?.() })
    } catch (error) {
      const { type, code } = describeThrown(error)
      try {
        const why = error instanceof InvalidInputError ? error.issues[0]?.expected : undefined
        return record({ content: { output_not_recorded: code ?? type, why } })
      } catch (again) {
        return asTrailError(again)
      }
    }
  }
}
