/** A session: knows its own order, and turns what the caller says into records. */
import { checkInput, invalidEvent, InvalidInputError } from '@agent-audit/schemas'
import type {
  Common,
  Decision,
  EventInput,
  EventInputs,
  FinalOutput,
  HumanIntervention,
  LlmCall,
  SandboxCrossing,
  SessionEnd,
  SessionInputs,
  SessionStart,
  SessionTimeout,
  ToolCall,
  ToolResult,
  UserMessage,
} from '@agent-audit/schemas'
import type { AuditSession, Receipt, RecordOptions, SessionRef } from '../api/audit-trail.ts'
import { askApproval, recordOverride } from '../guard/approval-events.ts'
import { checkApprovalOptions } from '../guard/approval.ts'
import type { ApprovalInputs, ApprovalOptions, ApprovalRequest } from '../guard/approval.ts'
import type { Cause, Causes } from './causes.ts'
import { currentCause, runInSession } from './current-session.ts'
import { fillEvent } from '../record/event-fields.ts'
import { EventRecord } from '../record/event-record.ts'
import type { SessionStamps } from '../record/event-record.ts'
import { FieldWriter } from '../record/field-writer.ts'
import { guard } from '../guard/guard.ts'
import type { GuardOptions } from '../guard/guard.ts'
import { GuardedCall } from '../guard/guarded-call.ts'
import { checkOverrideOptions } from '../guard/override.ts'
import type { Override, OverrideOptions } from '../guard/override.ts'
import { MessageHistory } from './message-history.ts'
import type { Durability } from '../options/options.ts'
import { redactErrors } from '../redaction/redactor.ts'
import type { Sequence } from './session-sequences.ts'
import type { TrailContext } from './trail-context.ts'

export interface SessionSetup {
  readonly stamps: SessionStamps
  readonly causes: Causes
  readonly startChild: (parent: Session, start: SessionStart & { agent_id: string }) => AuditSession
}

/** What the trail itself says of an event, beside its input. */
export interface OwnFields {
  readonly parent_session_id?: string | undefined
  /** Taken even when the buffer is full. */
  readonly always?: boolean | undefined
  readonly approval?: ApprovalFields | undefined
  readonly durability?: Durability | undefined
}

/** The approval that an event belongs to. */
export interface ApprovalFields {
  /** Null, like its status, where a person's override stands in its place. */
  readonly approval_id: string | null
  readonly approval_status: string | null
  readonly approver_id: string
  /** Of the approval_decision, or the human_intervention. */
  readonly event_id?: string | undefined
}

interface OwnInputs extends EventInputs, SessionInputs, ApprovalInputs {}

type BuiltIn = EventInputs & SessionInputs

const SESSION_TYPES = new Set<string>(['session_start', 'session_end', 'session_timeout'])

export class Session implements AuditSession {
  readonly #trail: TrailContext
  readonly #stamps: SessionStamps
  readonly #causes: Causes
  readonly #startChild: SessionSetup['startChild']
  readonly #history: MessageHistory = new MessageHistory()
  readonly #sequence: Sequence
  #traceId: string | null = null
  #ended = false

  constructor(trail: TrailContext, setup: SessionSetup) {
    this.#trail = trail
    this.#stamps = setup.stamps
    this.#causes = setup.causes
    this.#startChild = setup.startChild
    this.#sequence = trail.sequences.of(setup.stamps.session_id)
  }

  get session_id(): string {
    return this.#stamps.session_id
  }

  get ended(): boolean {
    return this.#ended
  }

  /** The event recorded last, by whoever holds this session. */
  get newest(): Cause | undefined {
    return this.#causes.newest
  }

  get ref(): SessionRef {
    this.#trail.sequences.keep(this.session_id, this.#sequence)
    const { session_id, system_prompt_hash, ...texts } = this.#stamps
    const stamped: Record<string, string> = {}
    for (const [field, value] of Object.entries(texts)) if (value !== null) stamped[field] = value
    if (system_prompt_hash !== null) stamped['system_prompt_hash'] = Buffer.from(system_prompt_hash).toString('hex')
    return {
      session_id,
      run_id: this.#trail.runId,
      last_event_id: this.#causes.newest?.event_id ?? '',
      step_number: this.#causes.step,
      trace_id: this.#traceId,
      stamped,
    }
  }

  userMessage(event: UserMessage, options?: RecordOptions): Receipt {
    return this.#record('user_message', event, options)
  }

  llmCall(event: LlmCall, options?: RecordOptions): Receipt {
    return this.#record('llm_call', event, options)
  }

  decision(event: Decision, options?: RecordOptions): Receipt {
    return this.#record('decision', event, options)
  }

  toolCall(event: ToolCall, options?: RecordOptions): Receipt {
    return this.#record('tool_call', event, options)
  }

  toolResult(event: ToolResult, options?: RecordOptions): Receipt {
    return this.#record('tool_result', event, options)
  }

  humanIntervention(event: HumanIntervention, options?: RecordOptions): Receipt {
    return this.#record('human_intervention', event, options)
  }

  sandboxCrossing(event: SandboxCrossing, options?: RecordOptions): Receipt {
    return this.#record('sandbox_crossing', event, options)
  }

  stateSnapshot(state: unknown, options?: RecordOptions): Receipt {
    return this.#record('state_snapshot', { state }, options)
  }

  error(error: unknown, options?: RecordOptions): Receipt {
    // Undefined can be thrown too, and must not look like a missing field.
    return this.#record('error', { error: error ?? null }, options)
  }

  finalOutput(event: FinalOutput, options?: RecordOptions): Receipt {
    return this.#record('final_output', event, options)
  }

  record(event: EventInput, options?: RecordOptions): Receipt {
    // From JavaScript it may be anything.
    const type = (event as Partial<EventInput> | null | undefined)?.event_type as string
    if (SESSION_TYPES.has(type)) {
      const expected = 'expected a type that can be recorded as data; sessions have their methods'
      throw invalidEvent('event', [{ path: 'event_type', expected }])
    }
    return this.#record(type as keyof EventInputs, event as never, options)
  }

  async guard<I, T>(call: ToolCall<I>, work: (input: I) => T | Promise<T>, options: GuardOptions<T> = {}): Promise<T> {
    return guard({ session: this, trail: this.#trail }, call, { work, options })
  }

  async requestApproval(call: ToolCall, options: ApprovalOptions = {}): Promise<ApprovalRequest> {
    const host = { session: this, trail: this.#trail }
    const checked = checkApprovalOptions(options, this.#trail.redactor)
    return askApproval(host, new GuardedCall(host, call, undefined), checked)
  }

  async override(call: ToolCall, options: OverrideOptions): Promise<Override> {
    const host = { session: this, trail: this.#trail }
    const checked = checkOverrideOptions(options, this.#trail.redactor)
    return recordOverride(host, new GuardedCall(host, call, undefined), checked)
  }

  startChild(start: SessionStart & { agent_id: string }): AuditSession {
    return this.#startChild(this, start)
  }

  run<T>(work: () => T): T {
    return runInSession(this, work)
  }

  end(event: SessionEnd = {}, options?: RecordOptions): Receipt {
    return this.#finish('session_end', event, options)
  }

  timeout(event: SessionTimeout, options?: RecordOptions): Receipt {
    return this.#finish('session_timeout', event, options)
  }

  #finish<Type extends keyof SessionInputs>(type: Type, event: BuiltIn[Type], options?: RecordOptions): Receipt {
    const receipt = this.#record(type, event, options)
    this.#ended = true
    return receipt
  }

  /** Records the event that opens the session. */
  begin(start: SessionStart, own: OwnFields): Receipt {
    return this.#append('session_start', start, { own })
  }

  /** Records an event of the trail's own, or on behalf of a caller whose words were checked. */
  recordOwn<Type extends string>(
    type: Type,
    input: Type extends keyof OwnInputs ? OwnInputs[Type] : Common,
    own: OwnFields = {},
  ): Receipt {
    return this.#append(type, input, { own, options: { durability: own.durability } })
  }

  /** @throws InvalidInputError `TRAIL_CLOSED`, `SESSION_ENDED`. */
  checkOpen(): void {
    this.#trail.checkOpen()
    if (this.#ended) throw new InvalidInputError('SESSION_ENDED', `session ${this.session_id} has ended`)
  }

  #record<Type extends keyof BuiltIn>(type: Type, input: BuiltIn[Type], options: RecordOptions | undefined): Receipt {
    this.checkOpen()
    const checked = redactErrors(this.#trail.redactor, () => checkInput(type, input))
    this.#trail.checkDurability(options?.durability)
    return this.#append(type, checked, { options })
  }

  #append(
    type: string,
    input: Common,
    { options, own }: { options?: RecordOptions | undefined; own?: OwnFields },
  ): Receipt {
    const record = new EventRecord(type, this.#trail.stamps, this.#stamps)
    const fields = new FieldWriter(type, this.#trail.redactor)
    fillEvent(record, input, fields)
    const remember = this.#fillMessages(record, input, fields)
    this.#causes.place(record, input, currentCause(this))
    this.#fillTrace(record)
    if (own?.parent_session_id !== undefined) record.parent_session_id = own.parent_session_id
    if (own?.approval !== undefined) fillApproval(record, own.approval)
    if (this.#trail.syntheticTimestamps) fields.notes.add('timestamp', 'synthetic', true)
    fields.check()
    record.session_seq = this.#sequence.next
    const receipt = this.#trail.append(record, {
      notes: fields.notes,
      durability: options?.durability,
      timestamp:
        input.timestamp === null || input.timestamp === undefined ? undefined : input.timestamp.getTime() * 1000,
      always: own?.always,
    })
    // Only now: an event that was not recorded leaves the session as it was.
    this.#sequence.next++
    this.#causes.follow(record)
    remember?.()
    return receipt
  }

  /** The messages of a model call: what this session has not recorded yet, or all. Returns what to do once recorded. */
  #fillMessages(record: EventRecord, input: Common, fields: FieldWriter): (() => void) | undefined {
    const messages = (input as Partial<LlmCall>).input_messages
    if (messages === undefined) return undefined
    if (this.#trail.inputMessages === 'full') {
      record.input_messages = fields.json('input_messages', messages)
      return undefined
    }
    const { messages: unrecorded, from } = this.#history.newOf(messages)
    record.input_messages = fields.json('input_messages', unrecorded)
    if (from > 0) {
      fields.notes.add('input_messages', 'from', from)
      fields.notes.add('input_messages', 'count', messages.length)
    }
    return () => this.#history.remember(messages, from)
  }

  #fillTrace(record: EventRecord): void {
    const trace = this.#trail.traceContext()
    if (trace === undefined) return
    record.trace_id = trace.traceId
    record.span_id = trace.spanId
    this.#traceId ??= trace.traceId
  }
}

function fillApproval(record: EventRecord, { approval_id, approval_status, approver_id }: ApprovalFields): void {
  record.approval_id = approval_id
  record.approval_status = approval_status
  record.approver_id = approver_id.toWellFormed()
}
