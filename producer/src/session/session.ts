/** A session: checks what the caller records, keeps the session's order, and hands complete records to the recorder. */
import { checkInput, invalidEvent, InvalidInputError } from '@agent-audit/schemas'
import type {
  Common,
  Decision,
  EventInput,
  EventInputs,
  FinalOutput,
  HumanIntervention,
  LlmCall,
  Maybe,
  SandboxCrossing,
  SessionEnd,
  SessionInputs,
  SessionStart,
  SessionTimeout,
  ToolCall,
  ToolResult,
  UserMessage,
} from '@agent-audit/schemas'
import type { ApprovalOptions, ApprovalRequest, Override, OverrideOptions } from '../api/approval.ts'
import type { GuardOptions } from '../api/guard-options.ts'
import type { Receipt, RecordOptions } from '../api/receipt.ts'
import type { SessionRef } from '../api/session-ref.ts'
import type { AuditSession } from '../api/session.ts'
import { currentCause, isInGuardedTool, runInSession } from '../context/current-session.ts'
import { nameLostThis } from '../context/lost-this.ts'
import type { Sequence } from '../context/session-sequences.ts'
import type { TrailContext } from '../context/trail-context.ts'
import { askApproval, recordOverride } from '../guard/approval-events.ts'
import { checkApprovalOptions, checkOverrideOptions } from '../guard/check-approvals.ts'
import { guard } from '../guard/guard.ts'
import { GuardedCall } from '../guard/guarded-call.ts'
import type { CheckedInputs, GuardHost, OwnFields, RecordingSession } from '../guard/recording-session.ts'
import type { Cause, Causes } from '../record/causes.ts'
import { completeRecord, noteAppended } from '../record/complete-record.ts'
import type { SessionState } from '../record/complete-record.ts'
import type { SessionStamps } from '../record/event-record.ts'
import { MessageHistory } from '../record/message-history.ts'
import { asError } from '../record/thrown.ts'
import type { RecordReceipt } from '../recorder/chunk-state.ts'
import { redactErrors } from '../redaction/redactor.ts'

export interface SessionSetup {
  readonly stamps: SessionStamps
  /** The session's user as the caller named it: redaction may have left less of it in the stamps. */
  readonly user_id?: Maybe<string>
  /** Whether the trail has just made the session's id. */
  readonly isNew?: boolean
  readonly causes: Causes
  readonly startChild: (parent: RecordingSession, start: SessionStart & { agent_id: string }) => AuditSession
}

type BuiltIn = EventInputs & SessionInputs

const SESSION_TYPES = new Set<string>(['session_start', 'session_end', 'session_timeout'])

export class Session implements RecordingSession {
  readonly #trail: TrailContext
  readonly #state: SessionState
  readonly #sequence: Sequence
  readonly #startChild: SessionSetup['startChild']
  readonly requesters: readonly (string | null)[]
  #traceId: string | null = null
  #ended = false

  constructor(trail: TrailContext, { stamps, user_id, isNew = false, causes, startChild }: SessionSetup) {
    this.#trail = trail
    this.#startChild = startChild
    this.requesters = [stamps.agent_id, user_id ?? stamps.user_id]
    this.#sequence = isNew ? trail.sequences.start() : trail.sequences.of(stamps.session_id)
    this.#state = {
      run: trail.stamps,
      session: stamps,
      causes,
      history: new MessageHistory(),
      sequence: this.#sequence,
      rules: trail.rules,
    }
  }

  get session_id(): string {
    const { session_id } = this.#state.session
    if (!this.#sequence.known) this.#trail.sequences.keep(session_id, this.#sequence)
    return session_id
  }

  get ended(): boolean {
    return this.#ended
  }

  get newest(): Cause | undefined {
    return this.#state.causes.newest
  }

  get ref(): SessionRef {
    const { session, causes } = this.#state
    const { session_id, system_prompt_hash, ...texts } = session
    const stamped: Record<string, string> = {}
    for (const [field, value] of Object.entries(texts)) if (value !== null) stamped[field] = value
    this.#trail.sequences.keep(session_id, this.#sequence)
    if (system_prompt_hash !== null) stamped['system_prompt_hash'] = Buffer.from(system_prompt_hash).toString('hex')
    return {
      session_id,
      run_id: this.#trail.runId,
      last_event_id: causes.newest?.event_id ?? '',
      step_number: causes.step,
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
    return this.#record('error', { error: asError(error) }, options)
  }

  finalOutput(event: FinalOutput, options?: RecordOptions): Receipt {
    return this.#record('final_output', event, options)
  }

  record(event: EventInput, options?: RecordOptions): Receipt {
    // A JavaScript caller may pass anything.
    const type = (event as Partial<EventInput> | null | undefined)?.event_type as string
    if (SESSION_TYPES.has(type)) {
      const expected = 'expected a type that can be recorded as data; sessions have their methods'
      throw invalidEvent('event', [{ path: 'event_type', expected }])
    }
    return this.#record(type as keyof EventInputs, event as never, options)
  }

  async guard<I, T>(call: ToolCall<I>, work: (input: I) => T | Promise<T>, options: GuardOptions<T> = {}): Promise<T> {
    return guard(this.#host, call, { work, options })
  }

  async requestApproval(call: ToolCall, options: ApprovalOptions = {}): Promise<ApprovalRequest> {
    const checked = checkApprovalOptions(options, this.#trail.redactor)
    return askApproval(this.#host, new GuardedCall(this.#host, call, undefined), checked)
  }

  async override(call: ToolCall, options: OverrideOptions): Promise<Override> {
    const checked = checkOverrideOptions(options, this.#trail.redactor)
    return recordOverride(this.#host, new GuardedCall(this.#host, call, undefined), checked)
  }

  get #host(): GuardHost {
    return { session: this, trail: this.#trail }
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
    this.#trail.sequences.ended(this.#state.session.session_id, this.#sequence)
    return receipt
  }

  checkOpen(underWay = false): void {
    if (this.#trail.closed) this.#trail.checkOpen(underWay || isInGuardedTool())
    if (this.#ended) throw new InvalidInputError('SESSION_ENDED', `session ${this.session_id} has ended`)
  }

  #record<Type extends keyof BuiltIn>(type: Type, input: BuiltIn[Type], options: RecordOptions | undefined): Receipt {
    this.checkOpen()
    const checked = redactErrors(this.#trail.redactor, () => checkInput(type, input))
    const durability = this.#trail.durabilityOf(options)
    return this.#append(type, checked, durability && { durability })
  }

  recordChecked<Type extends string>(
    type: Type,
    input: Type extends keyof CheckedInputs ? CheckedInputs[Type] : Common,
    own?: OwnFields,
  ): RecordReceipt {
    return this.#append(type, input, own)
  }

  #append(type: string, input: Common, own: OwnFields | undefined): RecordReceipt {
    const trace = this.#trail.trace()
    const event = { type, input, added: own, trace, scope: currentCause(this) }
    const complete = completeRecord(event, this.#state)
    const receipt = this.#trail.recorder.append(complete.record, {
      maxBytes: complete.maxBytes,
      durability: own?.durability,
      timestamp: microsecondsOf(input.timestamp),
      always: own?.always,
      explains: own?.explains,
      encrypt: complete.encrypt,
    })
    noteAppended(complete, this.#state)
    this.#traceId ??= trace?.traceId ?? null
    return receipt
  }
}

function microsecondsOf(timestamp: Common['timestamp']): number | undefined {
  return timestamp === null || timestamp === undefined ? undefined : timestamp.getTime() * 1000
}

nameLostThis(Session, 'session')
