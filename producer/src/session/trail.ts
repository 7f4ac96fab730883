/** A trail: one start of a producer, and the sessions recorded in it. */
import { checkInput, invalidEvent, InvalidInputError } from '@agent-audit/schemas'
import type { Maybe, SessionStart } from '@agent-audit/schemas'
import type {
  AuditSession,
  AuditTrail,
  DrainResult,
  Receipt,
  SessionRef,
  TrailStats,
  WaitOptions,
} from '../api/audit-trail.ts'
import { recordVerdict } from '../guard/approval-events.ts'
import { checkRequest } from '../guard/approval.ts'
import type { ApprovalDecision, ApprovalRequest, Verdict } from '../guard/approval.ts'
import { asTrailError, onUnavailable, whenStored } from '../guard/availability.ts'
import type { deadline } from '../guard/availability.ts'
import { Causes } from './causes.ts'
import type { Cause } from './causes.ts'
import type { EventRecord, RunStamps, SessionStamps } from '../record/event-record.ts'
import { currentCause } from './current-session.ts'
import type { startDelivery } from '../delivery/port.ts'
import { addExitHandler, removeExitHandler } from './exit-hooks.ts'
import type { ExitHandler } from './exit-hooks.ts'
import type { Durability, ResolvedOptions } from '../options/options.ts'
import { ProblemReporter } from '../recorder/problems.ts'
import { Recorder } from '../recorder/recorder.ts'
import type { AppendOptions } from '../recorder/recorder.ts'
import { Redactor } from '../redaction/redactor.ts'
import { RunSession } from './run-session.ts'
import { checkRef, stampsOf } from './session-ref.ts'
import { SessionSequences } from './session-sequences.ts'
import { Session } from './session.ts'
import { SystemPrompts } from './system-prompts.ts'
import { cleanly } from '../redaction/clean-error.ts'
import { readTrace } from './trace-context.ts'
import type { TrailContext } from './trail-context.ts'
import type { ApprovalClaims } from '../guard/used-approvals.ts'

const CLOSE_TIMEOUT_MS = 10_000
/** For letting go of client and spool, once the flush is over. */
const RELEASE_TIMEOUT_MS = 5000
/** Longest block of a process that ends, once its worker runs. */
const EXIT_TIMEOUT_MS = 3000
/** Most refusals that wait to be recorded; beyond it, what was lost is explained by number only. */
const MAX_LATER = 1000
/** How long a process with nothing left to do waits for the broker; what is in the spool goes out with the next run. */
const IDLE_TIMEOUT_MS = { disk: 5000, broker: 10_000, memory: 10_000 } as const

/** What a trail stands on; tests put memory in its place. */
export interface TrailParts {
  readonly startDelivery: typeof startDelivery
  /** Milliseconds since 1970. */
  readonly nowMs: () => number
  readonly deadline: typeof deadline
  readonly claims: ApprovalClaims
  /** Hands every event over at once: nothing lingers for company. */
  readonly eager: boolean
}

export class Trail implements AuditTrail {
  readonly runId: string
  readonly #options: ResolvedOptions
  readonly #recorder: Recorder
  readonly #context: TrailContext
  readonly #run: RunSession
  readonly #redactor: Redactor | undefined
  readonly #prompts: SystemPrompts = new SystemPrompts()
  readonly #exit: ExitHandler
  readonly #parts: TrailParts
  readonly #problems: ProblemReporter
  readonly #later: (() => void)[] = []
  #closing: Promise<DrainResult> | undefined
  #drainedAt = -1

  constructor(options: ResolvedOptions, parts: TrailParts) {
    this.#options = options
    this.#parts = parts
    this.#problems = new ProblemReporter(options.onProblem)
    this.#recorder = new Recorder(options, {
      ...parts,
      problems: this.#problems,
      onKept: () => this.#catchUp(),
    })
    this.runId = this.#recorder.identity.runIdHex
    this.#redactor = Redactor.create(options.redact)
    this.#context = this.#createContext()
    this.#run = new RunSession(this.#context, options.agentId)
    this.#run.started(options)
    this.#exit = {
      onIdle: () => this.#drainOnce(),
      onExit: () => void this.#recorder.handOverNow(options.durability === 'memory' ? 0 : EXIT_TIMEOUT_MS),
    }
    if (options.handleExit) addExitHandler(this.#exit)
  }

  /**
   * Waiting gives the process something to do, so it runs out of it once more afterwards: what was waited for in vain is
   * not waited for again.
   */
  async #drainOnce(): Promise<void> {
    const { recorded } = this.#recorder.stats()
    if (recorded === this.#drainedAt) return
    this.#drainedAt = recorded
    await this.#recorder.drain(IDLE_TIMEOUT_MS[this.#options.durability])
  }

  #createContext(): TrailContext {
    const { retentionClass, producerId, environment, inputMessages, syntheticTimestamps } = this.#options
    const stamps: RunStamps = {
      run_id: this.#recorder.identity.runId,
      producer_id: producerId.toWellFormed(),
      retention_class: retentionClass,
      environment: environment?.toWellFormed() ?? null,
    }
    return {
      runId: this.runId,
      stamps,
      inputMessages,
      syntheticTimestamps,
      redactor: this.#redactor,
      checkOpen: () => this.#checkOpen(),
      checkDurability: (durability) => this.#checkDurability(durability),
      traceContext: () => readTrace(this.#options.traceContext),
      now: this.#parts.nowMs,
      guardTimeoutMs: this.#options.guardTimeoutMs,
      onUnavailable: (toolName) => onUnavailable(this.#options, toolName),
      claims: this.#parts.claims,
      whenStored: (receipt, timeoutMs) => whenStored(receipt, this.#parts.deadline(timeoutMs)),
      recordLater: (record) => void (this.#later.length < MAX_LATER && this.#later.push(record)),
      report: (problem) => this.#problems.report(asTrailError(problem)),
      sequences: new SessionSequences(),
      append: (record, options) => this.append(record, options),
    }
  }

  /** Takes a record that is filled in. */
  append(record: EventRecord, options: AppendOptions): Receipt {
    const receipt = this.#recorder.append(record, options)
    if (this.#parts.eager) this.#recorder.handOver()
    return receipt
  }

  /** Events are kept again: what was refused is explained, and what waited for it is recorded. */
  #catchUp(): void {
    this.#run.lost(this.#recorder.takeLost())
    for (const record of this.#later.splice(0)) record()
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new InvalidInputError('TRAIL_CLOSED', `trail ${this.runId} is closed`)
  }

  #checkDurability(durability: Durability | undefined): void {
    if (durability === undefined || durability === this.#options.durability) return
    if (durability === 'disk') {
      const expected = `expected broker or memory: the trail's durability is ${this.#options.durability}, it has no spool`
      throw invalidEvent('event', [{ path: 'durability', expected }])
    }
    if (durability !== 'broker' && durability !== 'memory') {
      throw invalidEvent('event', [{ path: 'durability', expected: 'expected disk, broker or memory' }])
    }
  }

  startSession(start: SessionStart = {}): AuditSession {
    return this.#start(start, undefined)
  }

  #start(given: SessionStart, parent: Session | undefined): Session {
    this.#checkOpen()
    const start = cleanly(this.#redactor, () => checkInput('session_start', given))
    const prompt = this.#prompts.use(start.system_prompt ?? this.#options.systemPrompt)
    const cause = parent === undefined ? undefined : (currentCause(parent) ?? parent.newest)
    const origin = cause === undefined ? undefined : { event_id: cause.event_id, step: 0 }
    const stamps = this.#stampsOf(start, prompt?.hash ?? null)
    const session = this.#createSession(stamps, origin)
    session.begin({ ...start, system_prompt: prompt?.text }, { parent_session_id: parent?.session_id })
    if (prompt !== undefined) this.#prompts.recorded(prompt)
    return session
  }

  #stampsOf(start: SessionStart, systemPromptHash: Uint8Array | null): SessionStamps {
    const { identity } = this.#recorder
    const own = this.#options
    return {
      // A UUIDv7 like that of its session_start: two sessions of a run never start with the same run_seq.
      session_id: start.session_id?.toWellFormed() ?? identity.eventId(identity.nextSeq, identity.timestamp()),
      agent_id: (start.agent_id ?? own.agentId).toWellFormed(),
      agent_version: (start.agent_version ?? own.agentVersion)?.toWellFormed() ?? null,
      model_id: this.#redactName('model_id', start.model_id ?? own.modelId),
      user_id: this.#redactName('user_id', start.user_id),
      system_prompt_hash: systemPromptHash,
    }
  }

  /** Stamped on every event of a session, so that no event notes what was taken out of it. */
  #redactName(field: string, name: Maybe<string>): string | null {
    const text = name?.toWellFormed() ?? null
    return text === null || this.#redactor === undefined ? text : this.#redactor.text(field, text).text
  }

  #createSession(stamps: SessionStamps, origin: Cause | undefined): Session {
    return new Session(this.#context, {
      stamps,
      causes: new Causes(origin),
      startChild: (parent, start) => this.#start(start, parent),
    })
  }

  resumeSession(ref: SessionRef): AuditSession {
    this.#checkOpen()
    const checked = checkRef(ref, this.#redactor)
    const session = this.#goOn(checked)
    session.recordOwn('session_resumed', { content: { from_run_id: checked.run_id } })
    return session
  }

  #goOn(ref: SessionRef): Session {
    const prompt = this.#prompts.use(this.#options.systemPrompt)
    const { agentId, agentVersion, modelId } = this.#options
    const own = { agent_id: agentId, agent_version: agentVersion, model_id: modelId, user_id: null }
    const stamps = stampsOf(ref, { ...own, system_prompt_hash: prompt?.hash ?? null })
    return this.#createSession(stamps, { event_id: ref.last_event_id, step: ref.step_number })
  }

  async decideApproval(request: ApprovalRequest, verdict: Verdict): Promise<ApprovalDecision> {
    this.#checkOpen()
    const checked = checkRequest(request, this.#redactor)
    return recordVerdict({ session: this.#goOn(checked.session), trail: this.#context }, checked, verdict)
  }

  async withSession<T>(start: SessionStart, work: (session: AuditSession) => T | Promise<T>): Promise<T> {
    const session = this.#start(start, undefined)
    try {
      const result = await session.run(() => work(session))
      this.#endQuietly(session, () => session.end())
      return result
    } catch (error) {
      this.#endQuietly(session, () => {
        session.error(error)
        session.end({ outcome: 'error' })
      })
      throw error
    }
  }

  /** The work's own outcome must reach its caller: a trail that was closed meanwhile does not replace it. */
  #endQuietly(session: Session, record: () => void): void {
    if (!session.ended && this.#closing === undefined) record()
  }

  stats(): TrailStats {
    return this.#recorder.stats()
  }

  writable(): Promise<void> {
    return this.#recorder.whenRoom()
  }

  flush(options: WaitOptions = {}): Promise<DrainResult> {
    return this.#recorder.drain(options.timeoutMs)
  }

  close(options: WaitOptions = {}): Promise<DrainResult> {
    this.#closing ??= this.#close(options.timeoutMs ?? CLOSE_TIMEOUT_MS)
    return this.#closing
  }

  async #close(timeoutMs: number): Promise<DrainResult> {
    this.#catchUp()
    const { acked, pending, refused, recorded } = this.#recorder.stats()
    this.#run.stopped({ recorded: recorded + 1, acked, pending: pending + 1, refused })
    const result = await this.#recorder.drain(timeoutMs)
    const done = await this.#recorder.close(RELEASE_TIMEOUT_MS)
    // On a busy machine delivery may not even have started: then the end of the process waits for it.
    if (done) removeExitHandler(this.#exit)
    return result
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
