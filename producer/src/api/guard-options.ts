/** How a call is guarded. */
import type { ToolCall } from '@agent-audit/schemas'
import type { ApprovalDecision, ApprovalRequest, Override, Verdict } from './approval.ts'
import type { Durability } from './trail-options.ts'

/** A policy's answer about a call. */
export type Ruling = { outcome: 'allowed' } | { outcome: 'denied' | 'blocked'; reason: string }

/** How one call is guarded. An option that is unknown or wrong is an error (`EVENT_INVALID`) before anything is recorded or run. */
export interface GuardOptions<T> {
  /** When the call cannot be stored: do not run the tool, or run it all the same. @defaultValue the trail's */
  onUnavailable?: 'refuse' | 'proceed' | undefined
  /**
   * When the tool has run and its result cannot be stored: throw `RESULT_NOT_RECORDED`, which holds the tool's value or its
   * error, so that the caller does not repeat the action; or give the caller the tool's own value or error, and tell
   * `onProblem`. `throw` waits for the result as the guard waits for the call. @defaultValue the trail's
   */
  onResultUnavailable?: 'throw' | 'report' | undefined
  /**
   * What it means that the tool has returned: the action took place, or the tool has only sent it (a queue, a mail).
   * A tool that throws leaves the effect `unknown`. @defaultValue 'confirmed'
   */
  effect?: 'confirmed' | 'dispatched' | undefined
  /** The durability that the record of the call must have before the tool runs. @defaultValue the trail's */
  durability?: Durability | undefined
  /** Longest wait for that durability, milliseconds, 1 to 2147483647. @defaultValue the trail's `guardTimeoutMs`; with `proceed` at most 1000 */
  timeoutMs?: number | undefined
  /**
   * From decideApproval, or a function that gets a verdict in this process. Needed if requires_approval. Where the approver
   * modified the arguments, the tool runs with these, and `check` judges them too.
   */
  approval?: ApprovalDecision | ((request: ApprovalRequest) => Verdict | Promise<Verdict>) | undefined
  /**
   * From `session.override`: the call runs once, although the policy or the approval refuses it. An override of any other
   * call is refused, whether this call needs one or not.
   */
  override?: Override | undefined
  /**
   * The policy. It gets a frozen copy of the call. A call that it does not allow is recorded and not run. An error that it
   * throws, also by assigning to that copy, refuses the call, and is thrown.
   */
  check?: ((call: ToolCall) => Ruling | Promise<Ruling>) | undefined
  /** Gives the value to record as tool_output. @defaultValue the tool's own value */
  describe?: ((value: T) => unknown) | undefined
}
