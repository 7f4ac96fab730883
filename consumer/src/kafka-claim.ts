/** A claim on a Kafka partition: hands on what the group member fetches, and pauses it while nobody takes it. */
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import type { BufferMemory } from './buffer-memory.ts'
import type { Claim, CommitAnswer, Committed, LogSlice } from './source.ts'

/** What a claim needs of the group member that fetches for it. */
export interface KafkaPartition {
  /** Fetches from this offset on, from the next fetch. */
  seek(offset: number): void
  pause(): void
  resume(): void
  /** Sends one commit under the member's current generation, once. */
  commit(offset: number, metadata: string): Promise<CommitAnswer>
  position(): Promise<{ committed: Committed | undefined; start: number; end: number }>
}

/** A batch as it was fetched; `firstOffset` is the one that was asked for. */
export interface FetchedSlice extends LogSlice {
  readonly bytes: number
}

/** Bytes fetched ahead of what is consumed, per partition; fetching pauses above it, or while memory is tight. */
const READ_AHEAD_BYTES = 2 ** 20
/** Longest wait for what kafkajs was asked, milliseconds: longer than its own for an answer, which it may miss. */
const ANSWER_TIMEOUT_MS = 20_000

export class KafkaClaim implements Claim {
  readonly logId: Buffer
  readonly topic: string
  readonly partition: number
  readonly ended: AbortSignal
  readonly draining: AbortSignal
  readonly #kafka: KafkaPartition
  readonly #memory: BufferMemory
  readonly #held: FetchedSlice[] = []
  #heldBytes = 0
  /** Whether the member fetches for this partition; it begins with all of them paused. */
  #fetching = false
  /** Offset the next fetched batch has to begin at; undefined while nobody reads. */
  #expected: number | undefined
  #wake: () => void = () => undefined
  #fault: Error | undefined

  constructor(
    place: { logId: Buffer; topic: string; partition: number; ended: AbortSignal; draining: AbortSignal },
    kafka: KafkaPartition,
    memory: BufferMemory,
  ) {
    this.logId = place.logId
    this.topic = place.topic
    this.partition = place.partition
    this.ended = place.ended
    this.draining = place.draining
    this.#kafka = kafka
    this.#memory = memory
  }

  async position(): Promise<{ committed: Committed | undefined; start: number; end: number }> {
    const found = await this.#answerTo(this.#kafka.position())
    if (found !== undefined) return found
    throw new AuditUnavailableError(
      'BROKER_UNAVAILABLE',
      `where ${this.topic}/${this.partition} stands was not answered`,
    )
  }

  async commit(offset: number, metadata: string): Promise<CommitAnswer> {
    if (this.ended.aborted) return 'refused'
    return (await this.#answerTo(this.#kafka.commit(offset, metadata))) ?? 'unanswered'
  }

  /** kafkajs may settle a call never, on a connection that was lost. @returns undefined if it took too long, or the claim has ended. */
  async #answerTo<T>(asked: Promise<T>): Promise<T | undefined> {
    const gaveUp = Promise.withResolvers<undefined>()
    const giveUp = (): void => gaveUp.resolve(undefined)
    const timer = setTimeout(giveUp, ANSWER_TIMEOUT_MS)
    this.ended.addEventListener('abort', giveUp, { once: true })
    try {
      return await Promise.race([asked, gaveUp.promise])
    } finally {
      clearTimeout(timer)
      this.ended.removeEventListener('abort', giveUp)
    }
  }

  async *read(from: number, until: AbortSignal): AsyncGenerator<LogSlice, void, void> {
    const stop = AbortSignal.any([this.ended, this.draining, until])
    const wake = (): void => this.#wake()
    stop.addEventListener('abort', wake)
    const unwatch = this.#memory.watch(() => this.#regulate())
    this.#fault = undefined
    this.#expected = from
    this.#kafka.seek(from)
    this.#regulate()
    try {
      while (!stop.aborted) {
        if (this.#fault !== undefined) throw this.#fault
        const slice = this.#held[0]
        if (slice === undefined) await new Promise<void>((resolve) => (this.#wake = resolve))
        else {
          yield slice
          this.#letGo(slice)
        }
      }
    } finally {
      stop.removeEventListener('abort', wake)
      unwatch()
      this.#stopReading()
    }
  }

  /** Called by the group member with each batch it fetched, in order. */
  deliver(slice: FetchedSlice): void {
    if (this.#expected === undefined || this.ended.aborted) return
    if (slice.firstOffset !== this.#expected) {
      // Either the answer to a fetch from before the last seek, or kafkajs started elsewhere after an offset out of
      // range: ask again, and look whether the log still holds what is asked for.
      this.#kafka.seek(this.#expected)
      void this.#checkBounds(this.#expected)
      return
    }
    this.#expected = slice.nextOffset
    this.#held.push(slice)
    this.#heldBytes += slice.bytes
    this.#memory.reserve(slice.bytes)
    this.#regulate()
    this.#wake()
  }

  /** Whoever asks for the next slice is done with the one before. */
  #letGo(slice: FetchedSlice): void {
    this.#held.shift()
    this.#heldBytes -= slice.bytes
    this.#memory.release(slice.bytes)
    this.#regulate()
  }

  #regulate(): void {
    const mayFetch = this.#heldBytes <= READ_AHEAD_BYTES && !this.#memory.tight
    if (mayFetch === this.#fetching || this.ended.aborted) return
    this.#fetching = mayFetch
    if (mayFetch) this.#kafka.resume()
    else this.#kafka.pause()
  }

  #stopReading(): void {
    this.#expected = undefined
    this.#held.length = 0
    this.#memory.release(this.#heldBytes)
    this.#heldBytes = 0
    this.#fetching = false
    if (!this.ended.aborted) this.#kafka.pause()
  }

  async #checkBounds(offset: number): Promise<void> {
    try {
      const { start, end } = await this.#kafka.position()
      if (offset >= start && offset <= end) return
      const log = `${this.topic}/${this.partition} holds offsets ${start} to ${end - 1}`
      this.#fault = new IntegrityError('LOG_TRUNCATED', `${log}; offset ${offset}, which comes next, is gone`)
      this.#wake()
    } catch {
      // The broker is out of reach: the group member meets that itself.
    }
  }
}
