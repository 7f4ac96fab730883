/** An assignment on a Kafka partition: unpacks what the group member fetches, and pauses it while nobody takes it. */
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import type { PackedBatch, UnpackedBatch } from './patches/record-batch.ts'
import type { Assignment, CommitAnswer, Committed, FetchMemory, LogRecord, LogSlice } from './source.ts'
import { TIME_IS_UP, within } from './within.ts'

/** What an assignment needs of the group member that fetches for it. */
export interface KafkaPartition {
  /** Fetches from this offset on, from the next fetch. */
  seek(offset: number): void
  pause(): void
  resume(): void
  /** Sends one commit under the member's current generation, once. */
  commit(offset: number, metadata: string): Promise<CommitAnswer>
  position(): Promise<{ committed: Committed | undefined; start: number; end: number }>
}

/** What one fetch brought, still packed; `firstOffset` is the one that was asked for. */
export interface Fetched extends Omit<LogSlice, 'records'> {
  readonly batches: readonly PackedBatch[]
}

/** What waits of it. Batches are taken out as they are unpacked, and what they weighed counts until all are done with. */
interface Waiting extends Fetched {
  readonly batches: PackedBatch[]
  readonly bytes: number
}

type Unpacked = Pick<UnpackedBatch, 'records' | 'free'>

/** Packed bytes fetched ahead of what is consumed, per partition; fetching pauses above it, or while memory is tight. */
const READ_AHEAD_BYTES = 2 ** 18
/** Small batches are unpacked together up to this weight, bytes: a slice each would cost more than its records. */
const SLICE_BYTES = 2 ** 17
/**
 * Longest wait for what kafkajs was asked, milliseconds: longer than the 5 s after which a coordinator gives up a commit by
 * itself, and short enough for a drain to end within 10 s all the same.
 */
const ANSWER_TIMEOUT_MS = 6000

export class KafkaAssignment implements Assignment {
  readonly logId: Buffer
  readonly topic: string
  readonly partition: number
  readonly ended: AbortSignal
  readonly draining: AbortSignal
  readonly #kafka: KafkaPartition
  readonly #memory: FetchMemory
  readonly #held: Waiting[] = []
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
    memory: FetchMemory,
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

  /** @returns undefined if it took too long, or the assignment has ended. */
  async #answerTo<T>(asked: Promise<T>): Promise<T | undefined> {
    const answer = await within(asked, { ms: ANSWER_TIMEOUT_MS, stop: this.ended, keepAlive: true })
    return answer === TIME_IS_UP ? undefined : answer
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
        const fetched = this.#held[0]
        if (fetched === undefined) await new Promise<void>((resolve) => (this.#wake = resolve))
        else {
          yield* this.#unpacked(fetched, stop)
          this.#letGo(fetched)
        }
      }
    } finally {
      stop.removeEventListener('abort', wake)
      unwatch()
      this.#stopReading()
    }
  }

  /** Called by the group member with each batch it fetched, in order. */
  deliver(fetched: Fetched): void {
    if (this.#expected === undefined || this.ended.aborted) return
    if (fetched.firstOffset !== this.#expected) {
      // Either the answer to a fetch from before the last seek, or kafkajs started elsewhere after an offset out of
      // range: ask again, and look whether the log still holds what is asked for.
      this.#kafka.seek(this.#expected)
      void this.#checkBounds(this.#expected)
      return
    }
    this.#expected = fetched.nextOffset
    const bytes = fetched.batches.reduce((sum, { weight }) => sum + weight, 0)
    this.#held.push({ ...fetched, batches: [...fetched.batches], bytes })
    this.#heldBytes += bytes
    this.#memory.reserve(bytes)
    this.#regulate()
    this.#wake()
  }

  /** Slice by slice, each counted until the next one is asked for. */
  async *#unpacked(fetched: Waiting, stop: AbortSignal): AsyncGenerator<LogSlice, void, void> {
    const { batches } = fetched
    let { firstOffset } = fetched
    do {
      const unpacked = await this.#memory.inTurn(stop, () => this.#unpack(batches, firstOffset))
      if (unpacked === undefined) return
      const nextOffset = batches[0] === undefined ? fetched.nextOffset : batches[0].firstOffset
      try {
        yield { firstOffset, records: unpacked.value.records, nextOffset, logEnd: fetched.logEnd }
      } finally {
        unpacked.value.free()
        unpacked.release()
      }
      firstOffset = nextOffset
    } while (batches.length > 0 && !stop.aborted)
  }

  /** Takes at least one of the batches, if there is one. */
  async #unpack(left: PackedBatch[], firstOffset: number): Promise<{ value: Unpacked; bytes: number }> {
    const records: LogRecord[] = []
    const done: (() => void)[] = []
    let bytes = 0
    for (let batch = left.shift(); batch !== undefined; batch = bytes < SLICE_BYTES ? left.shift() : undefined) {
      const unpacked = await this.#unpackBatch(batch)
      // The first batch of a fetch may begin below the offset that was asked for.
      for (const record of unpacked.records) if (record.offset >= firstOffset) records.push(record)
      done.push(unpacked.free)
      bytes += unpacked.bytes
    }
    const free = (): void => {
      // Whoever waits for the next slice may still know this one.
      records.length = 0
      for (const freeOne of done.splice(0)) freeOne()
    }
    return { value: { records, free }, bytes }
  }

  async #unpackBatch(batch: PackedBatch): Promise<UnpackedBatch> {
    try {
      return await batch.unpack()
    } catch (error) {
      const where = `offsets ${batch.firstOffset} to ${batch.lastOffset} of ${this.topic}/${this.partition}`
      const message = `${where} cannot be unpacked: ${error instanceof Error ? error.message : String(error)}`
      throw new AuditUnavailableError('BROKER_UNAVAILABLE', message, { cause: error })
    }
  }

  #letGo({ bytes }: Waiting): void {
    this.#held.shift()
    this.#heldBytes -= bytes
    this.#memory.release(bytes)
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
