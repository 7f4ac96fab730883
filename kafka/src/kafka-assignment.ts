/** A Kafka partition assigned to this member: unpacks the fetched batches, and pauses fetching while the pipeline takes none. */
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import type { PackedBatch, UnpackedBatch } from './patches/record-batch.ts'
import type { Assignment, BatchDecoders, CommitAnswer, Committed, FetchMemory, LogRecord, LogSlice } from './source.ts'
import { TIME_IS_UP, within } from './within.ts'

/** The group member, as its assignment sees it. */
export interface KafkaPartition {
  /** Fetches from this offset on, from the next fetch. */
  seek(offset: number): void
  pause(): void
  resume(): void
  /** Sends one commit under the member's current generation, once. */
  commit(offset: number, metadata: string): Promise<CommitAnswer>
  position(): Promise<{ committed: Committed | undefined; start: number; end: number }>
  expectSameLog(): Promise<void>
}

/** The result of one fetch, still packed. `firstOffset` is the requested offset. */
export interface Fetched extends Omit<LogSlice, 'records'> {
  readonly batches: readonly PackedBatch[]
}

/** A fetch that waits to be consumed. Its batches are removed as they are unpacked; its weight counts until all are consumed. */
interface Waiting extends Fetched {
  readonly batches: PackedBatch[]
  readonly bytes: number
}

type Unpacked = Pick<UnpackedBatch, 'records' | 'free'>

/** Packed bytes fetched ahead of the consumption of a partition. Above it, or while memory is tight, fetching pauses. */
const READ_AHEAD_BYTES = 2 ** 18
/** Small batches are unpacked together up to this weight, bytes: a slice each would cost more than its records. */
const SLICE_BYTES = 2 ** 17
/**
 * Longest wait for an answer of kafkajs, milliseconds: longer than the 5 s after which a coordinator gives up a commit, and
 * short enough for a drain to end within 10 s.
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
  readonly #decoders: BatchDecoders
  readonly #waiting: Waiting[] = []
  #waitingBytes = 0
  /** Whether the member fetches this partition. Every partition begins paused. */
  #fetching = false
  /** Offset that the next fetched batch must begin at. undefined: there is no reader. */
  #expected: number | undefined
  #wake: () => void = () => undefined
  #fault: Error | undefined

  constructor(
    given: Pick<Assignment, 'logId' | 'topic' | 'partition' | 'ended' | 'draining'>,
    kafka: KafkaPartition,
    { memory, decoders }: { readonly memory: FetchMemory; readonly decoders: BatchDecoders },
  ) {
    this.logId = given.logId
    this.topic = given.topic
    this.partition = given.partition
    this.ended = given.ended
    this.draining = given.draining
    this.#kafka = kafka
    this.#memory = memory
    this.#decoders = decoders
  }

  async position(): Promise<{ committed: Committed | undefined; start: number; end: number }> {
    await this.expectSameLog()
    return (await this.#answerTo(this.#kafka.position())) ?? this.#notAnswered('position')
  }

  async expectSameLog(): Promise<void> {
    const same = this.#kafka.expectSameLog().then(() => true)
    if ((await this.#answerTo(same)) === undefined) this.#notAnswered('id of the topic')
  }

  #notAnswered(what: string): never {
    const message = `the ${what} of ${this.topic}/${this.partition} was not answered in time`
    throw new AuditUnavailableError('BROKER_UNAVAILABLE', message)
  }

  async commit(offset: number, metadata: string): Promise<CommitAnswer> {
    if (this.ended.aborted) return 'refused'
    return (await this.#answerTo(this.#kafka.commit(offset, metadata))) ?? 'unanswered'
  }

  /** @returns undefined after {@link ANSWER_TIMEOUT_MS}, or once the assignment has ended. */
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
        const fetched = this.#waiting[0]
        if (fetched === undefined) await new Promise<void>((resolve) => (this.#wake = resolve))
        else {
          yield* this.#unpacked(fetched, stop)
          this.#drop(fetched)
        }
      }
    } finally {
      stop.removeEventListener('abort', wake)
      unwatch()
      this.#stopReading()
    }
  }

  /** Takes the result of a fetch. The group member calls this in order. */
  deliver(fetched: Fetched): void {
    if (this.#expected === undefined || this.ended.aborted) return
    if (fetched.firstOffset !== this.#expected) {
      // Either this answers a fetch from before the last seek, or kafkajs started elsewhere after an offset out of range:
      // seek again, and check that the log still holds the offset.
      this.#kafka.seek(this.#expected)
      void this.#checkBounds(this.#expected)
      return
    }
    this.#expected = fetched.nextOffset
    const bytes = fetched.batches.reduce((sum, { weight }) => sum + weight, 0)
    this.#waiting.push({ ...fetched, batches: [...fetched.batches], bytes })
    this.#waitingBytes += bytes
    this.#memory.reserve(bytes)
    this.#regulate()
    this.#wake()
  }

  /** Yields slices. The memory of each one counts until the pipeline asks for the next. */
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

  /** Unpacks at least one batch, if one is left. @throws if the first one cannot be unpacked. */
  async #unpack(left: PackedBatch[], firstOffset: number): Promise<{ value: Unpacked; bytes: number }> {
    const records: LogRecord[] = []
    const done: (() => void)[] = []
    let bytes = 0
    for (let batch = left.shift(); batch !== undefined; batch = bytes < SLICE_BYTES ? left.shift() : undefined) {
      const unpacked = await this.#unpackBatch(batch).catch((error: unknown) => error as Error)
      if (unpacked instanceof Error) {
        if (done.length === 0) throw unpacked
        // The records before it come first: the next slice begins with this batch, and throws.
        left.unshift(batch)
        break
      }
      // The first batch of a fetch may begin below the offset that was asked for.
      for (const record of unpacked.records) if (record.offset >= firstOffset) records.push(record)
      done.push(unpacked.free)
      bytes += unpacked.bytes
    }
    const free = (): void => {
      // The pipeline may still hold this slice while it waits for the next one.
      records.length = 0
      for (const freeOne of done.splice(0)) freeOne()
    }
    return { value: { records, free }, bytes }
  }

  async #unpackBatch(batch: PackedBatch): Promise<UnpackedBatch> {
    try {
      return await batch.unpack(this.#decoders)
    } catch (error) {
      const where = `offsets ${batch.firstOffset} to ${batch.lastOffset} of ${this.topic}/${this.partition}`
      const message = `${where} cannot be unpacked: ${error instanceof Error ? error.message : String(error)}`
      throw new IntegrityError('BATCH_UNREADABLE', message, { cause: error })
    }
  }

  #drop({ bytes }: Waiting): void {
    this.#waiting.shift()
    this.#waitingBytes -= bytes
    this.#memory.release(bytes)
    this.#regulate()
  }

  #regulate(): void {
    const mayFetch = this.#waitingBytes <= READ_AHEAD_BYTES && !this.#memory.tight
    if (mayFetch === this.#fetching || this.ended.aborted) return
    this.#fetching = mayFetch
    if (mayFetch) this.#kafka.resume()
    else this.#kafka.pause()
  }

  #stopReading(): void {
    this.#expected = undefined
    this.#waiting.length = 0
    this.#memory.release(this.#waitingBytes)
    this.#waitingBytes = 0
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
      // The broker is out of reach: the group member finds that out by itself.
    }
  }
}
