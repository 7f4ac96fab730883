/** Where checkpoints are kept outside of the database, each delivered to at its own speed. */
import { setTimeout as sleep } from 'node:timers/promises'
import { AuditUnavailableError, IntegrityError, TrailError } from '@agent-audit/schemas'
import type { SignedCheckpoint } from '../seal-tables.ts'

export interface CheckpointSink {
  /** For messages and metrics, such as `file /var/audit/checkpoints`. */
  readonly name: string
  /** Least time between two deliveries, milliseconds. @defaultValue 0 */
  readonly pauseMs?: number
  /**
   * The notes of the largest checkpoints that it has, the largest first; none, if it has none or cannot be read.
   * @throws Error if it is away
   */
  newest?(): Promise<readonly string[]>
  /**
   * Returns once the checkpoint is kept. Sizes never fall; the same size may come again.
   * @returns cosignature lines, with their line feeds, of a sink that signs
   * @throws IntegrityError `SEAL_LOG_CHANGED` if it has a checkpoint that contradicts this one; any other error if it is away
   */
  put(checkpoint: SignedCheckpoint): Promise<readonly string[] | void>
  close?(): Promise<void>
}

export interface DeliveryObserver {
  delivered(sink: string, checkpoint: SignedCheckpoint): void
  /** Told of each failure. */
  sinkWaits(sink: string, error: unknown): void
  sinkGoesOn(sink: string): void
}

export interface DeliveryOptions {
  readonly observer: DeliveryObserver
  /** Compares the log with the checkpoints of a sink that was away before. @throws IntegrityError `SEAL_LOG_CHANGED` */
  readonly compare: (notes: readonly string[]) => void
  /** Gets the checkpoint with the lines of cosigners below its own. */
  readonly cosigned: (checkpoint: SignedCheckpoint) => Promise<void>
  /** Told once that the sink contradicts the log. */
  readonly contradicted: (error: IntegrityError) => void
}

/** Pause after a failure, milliseconds: the first and the longest. */
const PAUSE_MS = { first: 250, longest: 10_000 }
/** A sink that contradicts so often in a row is believed: another notary may be a moment ahead. */
const CONTRADICTIONS = 3
/** Longest wait for a delivery at the end, milliseconds. */
const CLOSE_MS = 3000

/** Delivers to one sink: always the newest checkpoint; those that came while it was away are covered by that one. */
export class Delivery {
  readonly #sink: CheckpointSink
  readonly #options: DeliveryOptions
  readonly #closed = new AbortController()
  #next: SignedCheckpoint | undefined
  #working: Promise<void> | undefined
  /** Whether the log was compared with what the sink has. */
  #compared = false

  constructor(sink: CheckpointSink, options: DeliveryOptions) {
    this.#sink = sink
    this.#options = options
  }

  get name(): string {
    return this.#sink.name
  }

  /** What the sink has, to compare with at the start; undefined: it cannot be read; an error: it is away. */
  async read(): Promise<readonly string[] | TrailError | undefined> {
    if (this.#sink.newest === undefined) return undefined
    try {
      const notes = await this.#sink.newest()
      this.#compared = true
      return notes
    } catch (error) {
      this.#options.observer.sinkWaits(this.name, error)
      if (error instanceof TrailError) return error
      const why = error instanceof Error ? error.message : String(error)
      return new AuditUnavailableError('SINK_UNAVAILABLE', `${this.name}: ${why}`, { cause: error })
    }
  }

  offer(checkpoint: SignedCheckpoint): void {
    this.#next = checkpoint
    this.#start()
  }

  #start(): void {
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined
      // One that came in just after the last look.
      if (this.#next !== undefined && !this.#closed.signal.aborted) this.#start()
    })
  }

  /** Waits for what is under way, for a moment. What was not delivered is at the next start. */
  async close(): Promise<void> {
    this.#closed.abort()
    const late = new AbortController()
    await Promise.race([this.#working, sleep(CLOSE_MS, undefined, { signal: late.signal }).catch(() => undefined)])
    late.abort()
    await this.#sink.close?.()
  }

  async #work(): Promise<void> {
    const { observer } = this.#options
    let [pauseMs, failures, contradictions] = [PAUSE_MS.first, 0, 0]
    while (this.#next !== undefined && !this.#closed.signal.aborted) {
      const checkpoint: SignedCheckpoint = this.#next
      try {
        await this.#deliver(checkpoint)
        if (this.#next === checkpoint) this.#next = undefined
        if (failures > 0) observer.sinkGoesOn(this.#sink.name)
        ;[pauseMs, failures, contradictions] = [PAUSE_MS.first, 0, 0]
        if (this.#sink.pauseMs !== undefined) await this.#pause(this.#sink.pauseMs)
      } catch (error) {
        failures += 1
        observer.sinkWaits(this.#sink.name, error)
        if (error instanceof IntegrityError && error.code === 'SEAL_LOG_CHANGED') {
          contradictions += 1
          if (contradictions === CONTRADICTIONS) {
            this.#closed.abort()
            return this.#options.contradicted(error)
          }
        }
        await this.#pause(pauseMs)
        pauseMs = Math.min(2 * pauseMs, PAUSE_MS.longest)
      }
    }
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#closed.signal }).catch(() => undefined)
  }

  async #deliver(checkpoint: SignedCheckpoint): Promise<void> {
    if (!this.#compared) this.#options.compare((await this.#sink.newest?.()) ?? [])
    this.#compared = true
    const lines = (await this.#sink.put(checkpoint)) ?? []
    this.#options.observer.delivered(this.#sink.name, checkpoint)
    if (lines.length === 0) return
    await this.#options.cosigned({ ...checkpoint, note: checkpoint.note + lines.join('') })
  }
}
