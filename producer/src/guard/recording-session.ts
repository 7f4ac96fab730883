/** What a guard needs of the session whose call it guards. */
import type { ActionFields, Common, EventInputs, SessionInputs, ToolCall } from '@agent-audit/schemas'
import type { AuditSession } from '../api/session.ts'
import type { Durability } from '../api/trail-options.ts'
import type { TrailContext } from '../context/trail-context.ts'
import type { Cause } from '../record/causes.ts'
import type { Additions } from '../record/complete-record.ts'
import type { ApprovalInputs } from '../record/event-fields.ts'
import type { LostRange } from '../recorder/lost-events.ts'
import type { RecordReceipt } from '../recorder/chunk-state.ts'

/** Inputs of the events that have checked input: by the trail, or by a method that checked the caller's input. */
export interface CheckedInputs extends EventInputs, SessionInputs, ApprovalInputs {
  tool_call: ToolCall & Pick<ActionFields, 'approval'>
}

/** What the trail says of an event, beside its input. */
export interface OwnFields extends Additions {
  readonly durability?: Durability | undefined
  /** The event is taken even when the buffer is full. */
  readonly always?: boolean | undefined
  /** The lost events that this event explains. */
  readonly explains?: LostRange | undefined
}

export interface RecordingSession extends AuditSession {
  /** The event recorded last. */
  readonly newest: Cause | undefined
  /** Ids of the agent that asks and of the user that it acts for: neither may approve. */
  readonly requesters: readonly (string | null)[]
  /** @param underWay - For a guard that has begun. @throws InvalidInputError `TRAIL_CLOSED`, `SESSION_ENDED`. */
  checkOpen(underWay?: boolean): void
  /** Records an event without checking its input. */
  recordChecked<Type extends string>(
    type: Type,
    input: Type extends keyof CheckedInputs ? CheckedInputs[Type] : Common,
    own?: OwnFields,
  ): RecordReceipt
}

/** Where the events of a guarded call are recorded. */
export interface GuardHost {
  readonly session: RecordingSession
  readonly trail: TrailContext
}
