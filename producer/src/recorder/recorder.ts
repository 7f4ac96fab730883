/**
 * The recorder: numbers and encodes records on the agent's thread and hands them to delivery in chunks. The composition
 * root of this thread: the only file that knows the chunk writer, the port to delivery, and the receipts.
 */
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import type { TrailError } from '@agent-audit/schemas'
import type { DrainResult, TrailStats } from '../api/audit-trail.ts'
import { ChunkState, RecordReceipt } from './chunk-state.ts'
import type { WaitHooks } from './chunk-state.ts'
import { type AppendOptions, ChunkWriter } from './chunk-writer.ts'
import type { DeliveryPort, startDelivery } from '../delivery/port.ts'
import { fromProblem, type Gauges, type Loss, NO_GAUGES, type Report, settingsOf } from '../delivery/protocol.ts'
import type { EventRecord } from '../record/event-record.ts'
import { LostEvents } from './lost-events.ts'
import type { LostRange } from './lost-events.ts'
import type { ResolvedOptions } from '../options/options.ts'
import { OutstandingChunks } from './outstanding-chunks.ts'
import { notEncoded, type ProblemReporter, whyOf } from './problems.ts'
import { RunIdentity } from './run-identity.ts'
import { Telemetry } from './telemetry.ts'
import { Waits } from './waits.ts'

/** Longest time that a chunk waits for further records before it is handed over, milliseconds. */
const LINGER_MS = 2

export interface RecorderHooks {
  readonly startDelivery: typeof startDelivery
  /** Milliseconds since 1970. */
  readonly nowMs: () => number
  readonly problems: ProblemReporter
  /** Hands every record over at once; no record waits for others. */
  readonly eager: boolean
  /** Events are kept again, and there is room: events_lost events can explain the earlier refusals. */
  onKept(): void
}

export class Recorder {
  readonly identity: RunIdentity
  readonly #options: ResolvedOptions
  readonly #hooks: RecorderHooks
  readonly #port: DeliveryPort
  readonly #writer: ChunkWriter = new ChunkWriter()
  readonly #waits: Waits
  readonly #lost: LostEvents
  readonly #telemetry: Telemetry
  readonly #outstanding: OutstandingChunks
  /** The chunk being filled. */
  #open: ChunkState | undefined
  /** One object for all chunks, since many chunks can be on disk. */
  readonly #chunkHooks: WaitHooks = { waiting: (chunk) => this.#onWaiting(chunk), answered: () => this.#waits.end() }
  #recorded = 0
  #gauges: Gauges = NO_GAUGES
  #lostDelivery: TrailError | undefined
  /** Why delivery was started again the last time, as the receipts of lost events say it. */
  #restarted: TrailError | undefined
  #restarts = 0
  /** Records of dead runs that deliveries sent before they failed. */
  #adoptedBefore = 0
  #linger: NodeJS.Timeout | undefined
  #handOverSoon = false

  constructor(options: ResolvedOptions, hooks: RecorderHooks) {
    this.#options = options
    this.#hooks = hooks
    this.identity = new RunIdentity(hooks.nowMs)
    this.#telemetry = new Telemetry(options, this.identity.runIdHex)
    hooks.problems.publish = (error) => this.#telemetry.publish('agent-audit:problem', { error })
    this.#lost = new LostEvents((code, events) => this.#telemetry.publish('agent-audit:lost', { code, events }))
    this.#outstanding = new OutstandingChunks(options.durability, this.#lost)
    this.#port = hooks.startDelivery(settingsOf(options, this.identity.runIdHex), {
      onReport: (report) => this.#onReport(report),
      onRestart: (error, count) => this.#onRestart(error, count),
      onLost: (error) => this.#onLost(error),
    })
    this.#waits = new Waits((alive) => this.#port.hold(alive))
  }

  /**
   * Takes a complete record: numbers it, encodes it, and forgets it. Never throws: a record that finds no room uses its
   * number up, and its receipt rejects.
   */
  append(record: EventRecord, options: AppendOptions): RecordReceipt {
    const now = this.identity.timestamp()
    const runSeq = this.identity.nextSeq++
    record.identify(runSeq, this.identity.eventId(runSeq, now), options.timestamp ?? now)
    this.#recorded++
    const refusal = options.always === true ? this.#lostDelivery : this.#findRefusal()
    const chunk = refusal === undefined ? this.#write(runSeq, record, options) : this.#refuse(runSeq, refusal)
    const index = runSeq - chunk.firstSeq
    const { topic, durability } = this.#options
    return new RecordReceipt(record.event_id, { chunk, index, topic, durability: options.durability ?? durability })
  }

  #findRefusal(): TrailError | undefined {
    if (this.#lostDelivery !== undefined) return this.#lostDelivery
    const { maxBufferBytes } = this.#options
    const { bytes } = this.#outstanding
    if (bytes + this.#writer.bytes < maxBufferBytes) return undefined
    const message = `${bytes} bytes of events wait in memory, maxBufferBytes is ${maxBufferBytes}`
    return new AuditUnavailableError('BUFFER_FULL', message)
  }

  #write(
    runSeq: number,
    record: EventRecord,
    { maxBytes, always = false, explains, encrypt }: AppendOptions,
  ): ChunkState {
    // The trail's own events share no chunk with others: the spool keeps room free for them.
    if (always || !this.#writer.fits(maxBytes)) this.handOver()
    try {
      encrypt?.(record)
      this.#writer.append(record, maxBytes)
    } catch (error) {
      return this.#refuse(runSeq, notEncoded(record, error))
    }
    const chunk = (this.#open ??= this.#openChunk(runSeq))
    chunk.explains = explains
    if (always) this.handOver(true)
    else if (this.#hooks.eager) this.handOver()
    return chunk
  }

  #openChunk(firstSeq: number): ChunkState {
    // One timer for all chunks: refreshing it costs less than making one. It does not keep the process alive.
    if (this.#linger === undefined) this.#linger = setTimeout(() => this.handOver(), LINGER_MS).unref()
    else this.#linger.refresh()
    return new ChunkState(firstSeq, this.#chunkHooks)
  }

  /** A caller waits for a record: its chunk is handed over at the end of this turn of the event loop. */
  #onWaiting(chunk: ChunkState): void {
    this.#waits.begin()
    if (chunk !== this.#open || this.#handOverSoon) return
    this.#handOverSoon = true
    setImmediate(() => {
      this.#handOverSoon = false
      this.handOver()
    })
  }

  #refuse(runSeq: number, error: TrailError): ChunkState {
    // The refused record uses up its run_seq, so the open chunk ends before it.
    this.handOver()
    this.#hooks.problems.report(error)
    const chunk = new ChunkState(runSeq, { waiting: () => {}, answered: () => {} })
    chunk.count = 1
    this.#outstanding.fail(chunk, error)
    return chunk
  }

  /** Gives the open chunk to delivery. @param fromTrail - Whether it holds the trail's own events. */
  handOver(fromTrail = false): void {
    const state = this.#open
    if (state === undefined) return
    this.#open = undefined
    const chunk = this.#writer.take(state.firstSeq, fromTrail)
    state.count = chunk.ends.length
    state.bytes = chunk.bytes.length
    if (this.#lostDelivery !== undefined) return this.#outstanding.fail(state, this.#lostDelivery)
    this.#outstanding.add(state)
    this.#port.post({ type: 'chunk', chunk })
  }

  #onReport(report: Report): void {
    this.#telemetry.connected(report.gauges.connected)
    this.#gauges = report.gauges
    this.#writer.recycle(report.freed)
    if (report.resumed !== null && this.#restarted !== undefined) {
      this.#outstanding.resume(new Set(report.resumed), this.#restarted)
    }
    for (const { firstSeq, problem } of report.refused) this.#outstanding.refuse(firstSeq, fromProblem(problem))
    const stored = this.#outstanding.storeTo(report.storedTo)
    for (const ack of report.acked) this.#outstanding.acknowledge(ack)
    for (const loss of report.lost) this.#onLoss(loss)
    for (const problem of report.problems) this.#hooks.problems.report(fromProblem(problem))
    if (report.closed) this.#waits.closed()
    this.#afterProgress(stored || report.acked.length > 0 || report.resumed !== null)
  }

  /** Events will not be delivered. The acknowledgement of their chunk says so of rejected ones, but not of a damaged spool. */
  #onLoss({ runId, first, last, file, code }: Loss): void {
    this.#lost.add({ first, last, reason: code, spool: file === null ? undefined : { runId, file } })
    if (code !== 'SPOOL_CORRUPT' || runId !== this.identity.runIdHex || first === null || last === null) return
    const error = new IntegrityError('SPOOL_CORRUPT', `not delivered: the spool is damaged, and set aside as ${file}`)
    this.#outstanding.damage(first, last, error)
  }

  /** @param kept - Whether any event was kept: while all are refused, events_lost events would be refused too, and add to it. */
  #afterProgress(kept: boolean): void {
    if (this.hasRoom) {
      this.#waits.room()
      if (kept && this.#lostDelivery === undefined) this.#hooks.onKept()
    }
    this.#waits.drainedTo(this.#outstanding.oldestSeq ?? Number.MAX_SAFE_INTEGER)
  }

  /** Delivery has failed, and another one will start on the same spools. */
  #onRestart(cause: unknown, count: string): void {
    this.#restarts++
    this.#telemetry.delivery('restarted')
    this.#adoptedBefore += this.#gauges.adopted
    this.#gauges = { ...this.#gauges, adopted: 0, connected: false }
    this.#restarted = new AuditUnavailableError('DELIVERY_RESTARTED', this.#whatIsLost(cause), { cause })
    this.#outstanding.restart(this.#restarted)
    // Only now: what the program records when it is told is for the next delivery.
    const stack = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
    const message = `delivery has failed, and is started again (${count}): ${stack}`
    this.#hooks.problems.report(new AuditUnavailableError('DELIVERY_RESTARTED', message, { cause }), { always: true })
    this.#afterProgress(false)
  }

  #whatIsLost(cause: unknown): string {
    const onDisk = this.#options.durability === 'disk'
    const what = onDisk ? 'the event is not on disk' : 'the event was not acknowledged, and may be in the topic or not'
    return `delivery has failed, and ${what}: ${whyOf(cause)}`
  }

  /** Delivery has ended for good: chunks that it had not stored are lost, and no more events are taken. */
  #onLost(cause: unknown): void {
    const why = whyOf(cause)
    const code = this.#options.durability === 'disk' ? 'SPOOL_UNAVAILABLE' : 'BROKER_UNAVAILABLE'
    const error = new AuditUnavailableError(code, `delivery has stopped: ${why}`, { cause })
    this.#lostDelivery = error
    this.#telemetry.delivery('stopped')
    this.#hooks.problems.report(error, { always: true })
    this.#outstanding.abandon(error)
    this.#waits.closed()
    this.#afterProgress(false)
  }

  /** Whether the agent should take new work: the spool is not full, and half of the buffer is free for work in progress. */
  get hasRoom(): boolean {
    if (this.#gauges.spoolFull && this.#lostDelivery === undefined) return false
    return this.#outstanding.bytes < this.#options.maxBufferBytes / 2
  }

  /** Resolves when {@link hasRoom}. */
  whenRoom(): Promise<void> {
    return this.hasRoom ? Promise.resolve() : this.#waits.forRoom()
  }

  /** Resolves when all events recorded before are acknowledged or refused, or on timeout. */
  async drain(timeoutMs: number | undefined): Promise<DrainResult> {
    this.handOver()
    if (this.#outstanding.oldestSeq !== undefined) await this.#waits.forDrain(this.identity.nextSeq, timeoutMs)
    return this.#drainResult()
  }

  /** The events that were refused and not explained yet. */
  takeLost(): readonly LostRange[] {
    return this.#lost.take()
  }

  /** Closes delivery. No event may be appended afterwards. @returns false when delivery did not finish in time. */
  async close(timeoutMs: number): Promise<boolean> {
    clearTimeout(this.#linger)
    if (this.#lostDelivery === undefined) this.#port.post({ type: 'close', nextSeq: this.identity.nextSeq })
    const done = await this.#waits.forClose(timeoutMs)
    this.#port.release()
    return done
  }

  /** Hands over and blocks until delivery has settled every chunk, or until timeout. For the end of the process. */
  handOverNow(timeoutMs: number): boolean {
    this.handOver()
    return this.#lostDelivery === undefined && this.#port.waitSettled(timeoutMs)
  }

  #drainResult(): DrainResult {
    const { acked, refused } = this.#outstanding
    return { acked, pending: this.#recorded - acked - refused, refused }
  }

  stats(): TrailStats {
    const { spoolBytes, spoolEvents, spoolOldestMs, adopted, connected } = this.#gauges
    return {
      ...this.#drainResult(),
      recorded: this.#recorded,
      lost: { ...this.#lost.counts },
      bufferBytes: this.#outstanding.bytes + this.#writer.bytes,
      spoolEvents,
      spoolBytes,
      spoolOldestMs: spoolOldestMs === null ? 0 : Math.max(0, Date.now() - spoolOldestMs),
      adopted: this.#adoptedBefore + adopted,
      restarts: this.#restarts,
      connected,
      lastError: this.#hooks.problems.lastCode,
    }
  }
}
