/**
 * Sends the seals of the runs to the topics of seals, at least once, those of a run in order: one send in flight for each topic.
 * A seal is read from its store when it is sent, and forgotten when the broker has it. Trouble with a topic of seals stops no
 * event.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { OutgoingRecord } from '@agent-audit/kafka'
import { AuditUnavailableError, IntegrityError, SEALS_SUFFIX, TrailError } from '@agent-audit/schemas'
import type { SpoolSeals, StoredSeal } from '@agent-audit/spool'
import type { Connections } from '../connection.ts'

const RETRY_MS = 1000
/** Under load a send takes the seals of this time together: each send costs two commits, one here and one in the log. */
const PACE_MS = 100

/** The seals of one run in one store. */
export interface SealSource {
  readonly runId: string
  /** The topic of the run's events. */
  readonly topic: string
  readonly seals: SpoolSeals
  /** Whether its cluster is settled: nothing is sent before. */
  readonly ready: () => boolean
  /** Why no more of its seals can be read. */
  failure?: unknown
}

export interface SealSenderOptions {
  readonly connections: Connections
  /** Seals of a source were acknowledged, or cannot be read. */
  readonly onProgress: () => void
  readonly onProblem: (error: unknown) => void
  /** Takes an error that no retry is for. */
  readonly fail: (error: unknown) => void
}

export class SealSender {
  readonly #options: SealSenderOptions
  readonly #sources: Set<SealSource> = new Set<SealSource>()
  /** Topics of seals that are sent to at this moment. */
  readonly #sending: Set<string> = new Set<string>()
  /** What was said of a topic that cannot be reached: said once. */
  readonly #said: Map<string, string> = new Map<string, string>()
  /** Aborted once sends follow each other without a pause. */
  readonly #hurry: AbortController = new AbortController()
  #closed = false

  constructor(options: SealSenderOptions) {
    this.#options = options
  }

  add(source: SealSource): void {
    this.#sources.add(source)
    this.wake()
  }

  remove(seals: SpoolSeals): void {
    for (const source of this.#sources) if (source.seals === seals) this.#sources.delete(source)
  }

  of(seals: SpoolSeals): SealSource | undefined {
    return [...this.#sources].find((source) => source.seals === seals)
  }

  /** There may be something to send. */
  wake(): void {
    for (const source of this.#sources) {
      const topic = source.topic + SEALS_SUFFIX
      if (!this.#closed && !this.#sending.has(topic) && canSend(source)) void this.#drain(topic)
    }
  }

  /** A client of a topic has failed. @returns the error to be reported; undefined when the same was reported before. */
  failed(topic: string, error: unknown): Error | undefined {
    const message = error instanceof Error ? error.message : String(error)
    if (this.#said.get(topic) === message) return undefined
    this.#said.set(topic, message)
    return new AuditUnavailableError('BROKER_UNAVAILABLE', `seals wait, and events go on: ${message}`, { cause: error })
  }

  connected(topic: string): void {
    this.#said.delete(topic)
  }

  /** Waits until all is sent that can be sent now. */
  async flush(timeoutMs: number): Promise<void> {
    this.#hurry.abort()
    const deadline = performance.now() + timeoutMs
    const left = (): boolean =>
      [...this.#sources].some((source) => canSend(source) && !this.#said.has(source.topic + SEALS_SUFFIX))
    while (left() && performance.now() < deadline) await sleep(POLL_MS)
    this.#closed = true
  }

  async #drain(topic: string): Promise<void> {
    this.#sending.add(topic)
    try {
      for (let next = this.#next(topic); next !== undefined; next = this.#next(topic)) {
        await this.#send(topic, next)
        const { source, batch } = next
        this.#forget(source, batch.at(-1)?.number ?? -1)
        await sleep(PACE_MS, undefined, { signal: this.#hurry.signal, ref: false }).catch(() => {})
      }
    } catch (error) {
      if (!this.#options.connections.of(topic).closed) this.#options.fail(error)
    } finally {
      this.#sending.delete(topic)
    }
  }

  #next(topic: string): { source: SealSource; batch: StoredSeal[] } | undefined {
    for (const source of this.#sources) {
      if (this.#closed || source.topic + SEALS_SUFFIX !== topic || !canSend(source)) continue
      try {
        const batch = source.seals.unsent()
        if (batch.length > 0) return { source, batch }
      } catch (error) {
        this.#unreadable(source, error)
      }
    }
    return undefined
  }

  #unreadable(source: SealSource, error: unknown): void {
    if (!(error instanceof TrailError)) throw error
    const { onProblem, onProgress } = this.#options
    onProblem(error)
    source.failure = error
    if (error instanceof AuditUnavailableError) {
      const again = (): void => {
        source.failure = undefined
        this.wake()
      }
      setTimeout(again, RETRY_MS).unref()
    }
    onProgress()
  }

  /** Sends until it succeeds. The broker may have a send that was rejected: readers take equal notes for one. */
  async #send(topic: string, { source, batch }: { source: SealSource; batch: StoredSeal[] }): Promise<void> {
    const connection = this.#options.connections.of(topic)
    const records = batch.map(({ note }) => toRecord(source.runId, note))
    for (let failures = 0; ; failures++) {
      const current = connection.sender()
      const sender = await current
      try {
        await sender.send({ topic, partition: 0 }, records)
        return
      } catch (error) {
        if (connection.closed) throw error
        connection.discard(sender, current, error)
        await connection.pause(failures)
      }
    }
  }

  #forget(source: SealSource, upToNumber: number): void {
    try {
      source.seals.sent(upToNumber)
    } catch (error) {
      // They count as sent all the same: only a damaged file is given up.
      if (error instanceof IntegrityError) return this.#unreadable(source, error)
      if (!(error instanceof AuditUnavailableError)) throw error
      this.#options.onProblem(error)
    }
    this.#options.onProgress()
  }
}

const POLL_MS = 5

function canSend({ seals, ready, failure }: SealSource): boolean {
  return failure === undefined && !seals.allSent && ready()
}

function toRecord(runId: string, note: string): OutgoingRecord {
  const key = Buffer.from(runId)
  const value = Buffer.from(note)
  return { key, value, bytes: key.length + value.length }
}
