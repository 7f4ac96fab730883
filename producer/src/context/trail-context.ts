/** What the sessions of one trail, and the guards of their calls, share. */
import { invalidEvent, InvalidInputError } from '@agent-audit/schemas'
import type { TrailError } from '@agent-audit/schemas'
import type { Receipt, RecordOptions } from '../api/receipt.ts'
import type { Durability } from '../api/trail-options.ts'
import { areRecordOptions, refuseRecordOptions } from '../options/call-options.ts'
import { NO_BROKER } from '../options/options.ts'
import type { ResolvedOptions } from '../options/options.ts'
import type { RecordRules } from '../record/complete-record.ts'
import { FieldEncryption } from '../record/field-encryption.ts'
import type { RunStamps } from '../record/event-record.ts'
import type { ProblemReporter } from '../recorder/problems.ts'
import type { Recorder } from '../recorder/recorder.ts'
import { redactErrors, Redactor } from '../redaction/redactor.ts'
import { asTrailError, whenStored } from './availability.ts'
import type { deadline } from './availability.ts'
import { GuardsUnderWay } from './guards-under-way.ts'
import { ExpiryClock } from './expiry-clock.ts'
import { SessionSequences } from './session-sequences.ts'
import type { ApprovalClaims } from './used-approvals.ts'

/** Most refusals that wait to be recorded. Above it, an events_lost event explains them by their numbers only. */
const MAX_DEFERRED = 1000
/** As OpenTelemetry writes them. */
const TRACE_ID = /^[0-9a-f]{32}$/i
const SPAN_ID = /^[0-9a-f]{16}$/i

export interface TrailContextParts {
  readonly recorder: Recorder
  readonly problems: ProblemReporter
  readonly claims: ApprovalClaims
  /** Milliseconds since 1970. */
  readonly nowMs: () => number
  /** Milliseconds since any moment; the clock is never set. */
  readonly elapsedMs: () => number
  readonly deadline: typeof deadline
}

export class TrailContext {
  readonly options: ResolvedOptions
  readonly recorder: Recorder
  /** Which approvals and overrides are used up. */
  readonly claims: ApprovalClaims
  /** Milliseconds since 1970. */
  readonly nowMs: () => number
  readonly expiry: ExpiryClock
  /** Undefined: nothing is redacted. */
  readonly redactor: Redactor | undefined
  readonly rules: RecordRules
  readonly stamps: RunStamps
  /** The counters of session_seq of this run. */
  readonly sequences: SessionSequences = new SessionSequences()
  readonly #problems: ProblemReporter
  readonly #deadline: typeof deadline
  readonly #deferred: (() => void)[] = []
  readonly #guards: GuardsUnderWay = new GuardsUnderWay()
  #state: 'open' | 'closing' | 'closed' = 'open'

  constructor(options: ResolvedOptions, parts: TrailContextParts) {
    this.options = options
    this.recorder = parts.recorder
    this.claims = parts.claims
    this.nowMs = parts.nowMs
    this.expiry = new ExpiryClock(parts.nowMs, parts.elapsedMs)
    this.#problems = parts.problems
    this.#deadline = parts.deadline
    this.redactor = Redactor.create(options.redact)
    const { maxRecordBytes: maxBytes, onOversize, inputMessages, syntheticTimestamps } = options
    const encryption = this.#createEncryption()
    this.rules = { redactor: this.redactor, maxBytes, onOversize, inputMessages, syntheticTimestamps, encryption }
    this.stamps = {
      run_id: parts.recorder.identity.runId,
      producer_id: options.producerId.toWellFormed(),
      retention_class: options.retentionClass,
      environment: options.environment?.toWellFormed() ?? null,
    }
  }

  #createEncryption(): FieldEncryption | undefined {
    const { encryption } = this.options
    if (encryption === undefined) return undefined
    return new FieldEncryption(encryption, this.runId, (problem) => this.report(problem))
  }

  /** 32 hex digits. */
  get runId(): string {
    return this.recorder.identity.runIdHex
  }

  /** Whether it is closed, or closing. */
  get closed(): boolean {
    return this.#state !== 'open'
  }

  /** Takes nothing new from now on. @returns A promise while guards are under way: resolves when they have ended, or time is up. */
  startClosing(timeoutMs: number): Promise<void> | undefined {
    this.#state = 'closing'
    return this.#guards.ended(timeoutMs)
  }

  /** Takes no event of a caller from now on. */
  close(): void {
    this.#state = 'closed'
  }

  /** Runs a guard, which {@link startClosing} waits for. */
  runGuard<T>(guard: () => Promise<T>): Promise<T> {
    return this.#guards.run(guard)
  }

  /** @param underWay - For a guard under way, or within its tool: the trail may be closing. @throws InvalidInputError `TRAIL_CLOSED`. */
  checkOpen(underWay = false): void {
    if (this.#state === 'open' || (underWay && this.#state === 'closing')) return
    throw new InvalidInputError('TRAIL_CLOSED', `trail ${this.runId} is ${this.#state}`)
  }

  /** The durability that an event asks for. @throws InvalidInputError `EVENT_INVALID` for any other option, or as below. */
  durabilityOf(options: RecordOptions | undefined): Durability | undefined {
    if (options === undefined || options === null) return undefined
    if (!areRecordOptions(options)) redactErrors(this.redactor, () => refuseRecordOptions(options))
    const { durability } = options
    this.checkDurability(durability)
    return durability
  }

  /** @throws InvalidInputError `EVENT_INVALID` when the trail cannot give this durability. */
  checkDurability(durability: Durability | undefined): void {
    if (durability === undefined || durability === this.options.durability) return
    if (durability === 'broker' && this.options.destination.kind === 'embedded') {
      throw invalidEvent('event', [{ path: 'durability', expected: NO_BROKER }])
    }
    if (durability === 'disk') {
      const expected = `expected broker or memory: the trail's durability is ${this.options.durability}, it has no spool`
      throw invalidEvent('event', [{ path: 'durability', expected }])
    }
    if (durability !== 'broker' && durability !== 'memory') {
      throw invalidEvent('event', [{ path: 'durability', expected: 'expected disk, broker or memory' }])
    }
  }

  /**
   * The trace under way. Never throws, whatever the caller's function does: the event matters more than its trace. Ids of
   * another form are left out: redaction does not look at these two fields, so no other text may stand in them.
   */
  trace(): { traceId: string; spanId: string } | undefined {
    try {
      const found = this.options.traceContext?.()
      if (found === undefined || !TRACE_ID.test(found.traceId) || !SPAN_ID.test(found.spanId)) return undefined
      return { traceId: found.traceId.toLowerCase(), spanId: found.spanId.toLowerCase() }
    } catch {
      return undefined
    }
  }

  /** Waits until the event has the durability that it asked for. Never rejects. @returns the failure; a time-out is one. */
  whenStored(receipt: Receipt, timeoutMs: number): Promise<TrailError | undefined> {
    return whenStored(receipt, this.#deadline(timeoutMs))
  }

  /** Tells the operator. */
  report(problem: unknown): void {
    this.#problems.report(asTrailError(problem))
  }

  /** Records once events are kept again: an event recorded now would be refused, like the one before. */
  defer(record: () => void): void {
    if (this.#deferred.length < MAX_DEFERRED) this.#deferred.push(record)
  }

  /** Records what was deferred. */
  recordDeferred(): void {
    for (const record of this.#deferred.splice(0)) record()
  }
}
