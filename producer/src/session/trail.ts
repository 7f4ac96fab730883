/** A trail: one start of a producer, and the sessions recorded in it. */
import { checkInput } from '@agent-audit/schemas'
import type { Maybe, SessionStart } from '@agent-audit/schemas'
import type { ApprovalDecision, ApprovalRequest, Verdict } from '../api/approval.ts'
import type { AuditTrail, DrainResult, TrailStats, WaitOptions } from '../api/audit-trail.ts'
import type { SessionRef } from '../api/session-ref.ts'
import type { AuditSession } from '../api/session.ts'
import type { deadline } from '../context/availability.ts'
import { currentCause, isInGuardedTool } from '../context/current-session.ts'
import { nameLostThis } from '../context/lost-this.ts'
import { checkRef, stampsOf } from '../context/session-ref.ts'
import { SystemPrompts } from '../context/system-prompts.ts'
import { TrailContext } from '../context/trail-context.ts'
import type { ApprovalClaims } from '../context/used-approvals.ts'
import type { startDelivery } from '../delivery/port.ts'
import { decide } from '../guard/approval-events.ts'
import { checkRequest } from '../guard/check-approvals.ts'
import type { RecordingSession } from '../guard/recording-session.ts'
import { takeWaitOptions } from '../options/call-options.ts'
import type { ResolvedOptions } from '../options/options.ts'
import { Causes } from '../record/causes.ts'
import type { Cause } from '../record/causes.ts'
import type { SessionStamps } from '../record/event-record.ts'
import { ProblemReporter } from '../recorder/problems.ts'
import { Recorder } from '../recorder/recorder.ts'
import { redactErrors } from '../redaction/redactor.ts'
import { addExitHandler, removeExitHandler } from './exit-hooks.ts'
import type { ExitHandler } from './exit-hooks.ts'
import { RunSession } from './run-session.ts'
import { Session } from './session.ts'
import type { SessionSetup } from './session.ts'

const CLOSE_TIMEOUT_MS = 10_000
/** Longest wait for delivery to release client and spool, after the flush. */
const RELEASE_TIMEOUT_MS = 5000
/** Longest block of a process that ends, counted from the start of its delivery thread. */
const EXIT_TIMEOUT_MS = 3000
/** How long an idle process waits for the broker before it ends; the next run sends the events that stay in the spool. */
const IDLE_TIMEOUT_MS = { disk: 5000, broker: 10_000, memory: 10_000 } as const

/** The parts that a trail stands on; tests put memory in their place. */
export interface TrailParts {
  readonly startDelivery: typeof startDelivery
  /** Milliseconds since 1970. */
  readonly nowMs: () => number
  /** Milliseconds since any moment; the clock is never set. */
  readonly elapsedMs: () => number
  readonly deadline: typeof deadline
  readonly claims: ApprovalClaims
  /** Hands every event over at once; no event waits for others. */
  readonly eager: boolean
}

export class Trail implements AuditTrail {
  readonly #options: ResolvedOptions
  readonly #context: TrailContext
  readonly #run: RunSession
  readonly #prompts: SystemPrompts = new SystemPrompts()
  readonly #exit: ExitHandler
  #closing: Promise<DrainResult> | undefined
  #drainedAt = -1

  constructor(options: ResolvedOptions, parts: TrailParts) {
    const problems = new ProblemReporter(options.onProblem)
    const recorder = new Recorder(options, { ...parts, problems, onKept: () => this.#catchUp() })
    this.#options = options
    this.#context = new TrailContext(options, { ...parts, recorder, problems })
    this.#run = new RunSession(this.#context, options.agentId)
    this.#run.started(options)
    this.#exit = {
      onIdle: () => this.#drainOnce(),
      onExit: () => void recorder.handOverNow(options.durability === 'memory' ? 0 : EXIT_TIMEOUT_MS),
    }
    if (options.handleExit) addExitHandler(this.#exit)
  }

  get runId(): string {
    return this.#context.runId
  }

  /** The entry for records that are complete. */
  get recorder(): Recorder {
    return this.#context.recorder
  }

  /** Waiting gives the process work, so that it becomes idle once more afterwards: a wait in vain is not repeated. */
  async #drainOnce(): Promise<void> {
    const { recorded } = this.recorder.stats()
    if (recorded === this.#drainedAt) return
    this.#drainedAt = recorded
    await this.recorder.drain(IDLE_TIMEOUT_MS[this.#options.durability])
  }

  /** Events are kept again: explains the events that were refused, and records the deferred ones. */
  #catchUp(): void {
    this.#run.lost(this.recorder.takeLost())
    this.#context.recordDeferred()
  }

  startSession(start: SessionStart = {}): AuditSession {
    return this.#start(start, undefined)
  }

  #start(given: SessionStart, parent: RecordingSession | undefined): Session {
    if (this.#context.closed) this.#context.checkOpen(isInGuardedTool())
    const start = redactErrors(this.#context.redactor, () => checkInput('session_start', given))
    const prompt = this.#prompts.use(start.system_prompt ?? this.#options.systemPrompt)
    const cause = parent === undefined ? undefined : (currentCause(parent) ?? parent.newest)
    const origin = cause === undefined ? undefined : { event_id: cause.event_id, step: 0 }
    const stamps = this.#stampsOf(start, prompt?.hash ?? null)
    const isNew = start.session_id === undefined || start.session_id === null
    const session = this.#createSession(stamps, { origin, user_id: start.user_id, isNew })
    const opening = { ...start, system_prompt: prompt?.text }
    session.recordChecked('session_start', opening, { parent_session_id: parent?.session_id })
    if (prompt !== undefined) this.#prompts.recorded(prompt)
    return session
  }

  #stampsOf(start: SessionStart, systemPromptHash: Uint8Array | null): SessionStamps {
    const { identity } = this.recorder
    const own = this.#options
    return {
      // The same UUIDv7 as the event_id of its session_start: two sessions of a run never start with the same run_seq.
      session_id: start.session_id?.toWellFormed() ?? identity.eventId(identity.nextSeq, identity.timestamp()),
      agent_id: (start.agent_id ?? own.agentId).toWellFormed(),
      agent_version: (start.agent_version ?? own.agentVersion)?.toWellFormed() ?? null,
      model_id: this.#redactName('model_id', start.model_id ?? own.modelId),
      user_id: this.#redactName('user_id', start.user_id),
      system_prompt_hash: systemPromptHash,
    }
  }

  /** A name is redacted once, for all events of its session; the events do not note it. */
  #redactName(field: string, name: Maybe<string>): string | null {
    const { redactor } = this.#context
    const text = name?.toWellFormed() ?? null
    const redacted = text === null ? undefined : redactor?.text(field, text)
    return redacted === undefined ? text : redacted.text
  }

  #createSession(
    stamps: SessionStamps,
    { origin, ...more }: Pick<SessionSetup, 'user_id' | 'isNew'> & { readonly origin: Cause | undefined },
  ): Session {
    return new Session(this.#context, {
      stamps,
      ...more,
      causes: new Causes(origin),
      startChild: (parent, start) => this.#start(start, parent),
    })
  }

  resumeSession(ref: SessionRef): AuditSession {
    this.#context.checkOpen()
    const checked = checkRef(ref, this.#context.redactor)
    const session = this.#goOn(checked)
    session.recordChecked('session_resumed', { content: { from_run_id: checked.run_id } })
    return session
  }

  #goOn(ref: SessionRef): Session {
    const prompt = this.#prompts.use(this.#options.systemPrompt)
    const { agentId, agentVersion, modelId } = this.#options
    const own = { agent_id: agentId, agent_version: agentVersion, model_id: modelId, user_id: null }
    const stamps = stampsOf(ref, { ...own, system_prompt_hash: prompt?.hash ?? null })
    return this.#createSession(stamps, { origin: { event_id: ref.last_event_id, step: ref.step_number } })
  }

  async decideApproval(request: ApprovalRequest, verdict: Verdict): Promise<ApprovalDecision> {
    this.#context.checkOpen()
    const checked = checkRequest(request, this.#context.redactor)
    return decide({ session: this.#goOn(checked.session), trail: this.#context }, checked, verdict)
  }

  async withSession<T>(start: SessionStart, work: (session: AuditSession) => T | Promise<T>): Promise<T> {
    const session = this.#start(start, undefined)
    try {
      const result = await session.run(() => work(session))
      this.#quietly(session, () => session.end())
      return result
    } catch (error) {
      this.#quietly(session, () => session.error(error))
      this.#quietly(session, () => session.end({ outcome: 'error' }))
      throw error
    }
  }

  /** The caller gets the work's own outcome, not an error about a trail that was closed meanwhile, or about this record. */
  #quietly(session: Session, record: () => void): void {
    if (session.ended || this.#context.closed) return
    try {
      record()
    } catch (problem) {
      this.#context.report(problem)
    }
  }

  stats(): TrailStats {
    return this.recorder.stats()
  }

  writable(): Promise<void> {
    return this.recorder.whenRoom()
  }

  flush(options: WaitOptions = {}): Promise<DrainResult> {
    return this.recorder.drain(takeWaitOptions('flush', options).timeoutMs)
  }

  close(options: WaitOptions = {}): Promise<DrainResult> {
    const { timeoutMs = CLOSE_TIMEOUT_MS } = takeWaitOptions('close', options)
    this.#closing ??= this.#close(timeoutMs)
    return this.#closing
  }

  async #close(timeoutMs: number): Promise<DrainResult> {
    const startMs = performance.now()
    const guards = this.#context.startClosing(timeoutMs)
    if (guards !== undefined) await guards
    this.#catchUp()
    this.#context.close()
    const { acked, pending, refused, recorded } = this.recorder.stats()
    this.#run.stopped({ recorded: recorded + 1, acked, pending: pending + 1, refused })
    const result = await this.recorder.drain(Math.max(0, timeoutMs - (performance.now() - startMs)))
    const done = await this.recorder.close(RELEASE_TIMEOUT_MS)
    // On a busy machine the delivery thread may not even have started: then the end of the process waits for it.
    if (done) removeExitHandler(this.#exit)
    return result
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

nameLostThis(Trail, 'trail')
