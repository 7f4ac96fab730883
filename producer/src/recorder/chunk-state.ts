/** The state of a chunk, and the receipts of its records. */
import type { TrailError } from '@agent-audit/schemas'
import type { Acknowledgement, Receipt } from '../api/receipt.ts'
import { fromProblem, positionOf } from '../delivery/protocol.ts'
import type { ChunkAck } from '../delivery/protocol.ts'
import type { Durability } from '../api/trail-options.ts'
import type { LostRange } from './lost-events.ts'

/** Called when callers start and stop waiting for a chunk. */
export interface WaitHooks {
  /** A caller waits for the chunk: hand it over soon, and keep the process alive for the answer. */
  waiting(chunk: ChunkState): void
  answered(): void
}

/** A caller to be told when a record will not get its durability. */
export interface Watch {
  readonly index: number
  readonly durability: Durability
  readonly onFailure: (error: TrailError) => void
}

/** Open while records are added to it, then stored, acknowledged or failed. Offsets live as long as a receipt refers to it. */
export class ChunkState {
  readonly firstSeq: number
  /** Set when the chunk is handed over. */
  count = 0
  bytes = 0
  /** The lost events that its one record, an events_lost event, explains. */
  explains: LostRange | undefined
  readonly #hooks: WaitHooks
  #stored = false
  #ack: ChunkAck | undefined
  #failure: TrailError | undefined
  #storedWait: PromiseWithResolvers<void> | undefined
  #ackedWait: PromiseWithResolvers<ChunkAck> | undefined
  #watches: Watch[] | undefined

  constructor(firstSeq: number, hooks: WaitHooks) {
    this.firstSeq = firstSeq
    this.#hooks = hooks
  }

  /** Whether it was refused or lost. */
  get failed(): boolean {
    return this.#failure !== undefined
  }

  get stored(): boolean {
    return this.#stored
  }

  store(): void {
    if (this.failed) return
    this.#stored = true
    this.#storedWait?.resolve()
    // A stored chunk can stay here for hours, without a broker.
    this.#watches = this.#watches?.filter(({ durability }) => durability !== 'disk')
  }

  acknowledge(ack: ChunkAck): void {
    this.#ack = ack
    this.store()
    this.#ackedWait?.resolve(ack)
    for (const { index, onFailure } of this.#takeWatches()) {
      const rejected = rejectionOf(ack, index)
      if (rejected !== undefined) onFailure(rejected)
    }
  }

  /** The first outcome counts: after an acknowledgement this does nothing, and `stored` is not revoked. */
  fail(error: TrailError): void {
    if (this.#ack !== undefined) return
    this.#failure = error
    if (!this.#stored) this.#storedWait?.reject(error)
    this.#ackedWait?.reject(error)
    for (const { onFailure } of this.#takeWatches()) onFailure(error)
  }

  /** Not a wait: the chunk is handed over no earlier, and the process may end. */
  watch(watch: Watch): void {
    if (this.#failure !== undefined) return watch.onFailure(this.#failure)
    if (this.#ack === undefined && !(this.#stored && watch.durability === 'disk')) (this.#watches ??= []).push(watch)
  }

  #takeWatches(): Watch[] {
    const watches = this.#watches ?? []
    this.#watches = undefined
    return watches
  }

  whenStored(): Promise<void> {
    if (this.#stored) return Promise.resolve()
    if (this.#failure !== undefined) return rejectQuietly(this.#failure)
    this.#storedWait ??= this.#wait()
    return this.#storedWait.promise
  }

  whenAcked(): Promise<ChunkAck> {
    if (this.#ack !== undefined) return Promise.resolve(this.#ack)
    if (this.#failure !== undefined) return rejectQuietly(this.#failure)
    this.#ackedWait ??= this.#wait()
    return this.#ackedWait.promise
  }

  #wait<T>(): PromiseWithResolvers<T> {
    const wait = Promise.withResolvers<T>()
    const answered = (): void => this.#hooks.answered()
    wait.promise.then(answered, answered)
    this.#hooks.waiting(this)
    return wait
  }
}

/** A rejected promise that does not count as unhandled when no caller waits for it. */
function rejectQuietly<T>(failure: TrailError): Promise<T> {
  return quiet(Promise.reject(failure))
}

function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

/** Why the broker took the rest of the chunk, and will never take this record. */
function rejectionOf(ack: ChunkAck, index: number): TrailError | undefined {
  const rejection = ack.rejected?.find((rejected) => rejected.index === index)
  return rejection === undefined ? undefined : fromProblem(rejection.problem)
}

/** One record of a chunk. */
export interface RecordInChunk {
  readonly chunk: ChunkState
  readonly index: number
  readonly durability: Durability
  readonly topic: string
}

export class RecordReceipt implements Receipt {
  readonly event_id: string
  readonly #record: RecordInChunk

  constructor(eventId: string, record: RecordInChunk) {
    this.event_id = eventId
    this.#record = record
  }

  get stored(): Promise<void> {
    const { chunk, durability } = this.#record
    if (durability === 'disk') return chunk.whenStored()
    if (durability === 'broker') return quiet(this.#whenDelivered().then(() => undefined))
    return chunk.failed ? chunk.whenStored() : Promise.resolve()
  }

  get acked(): Promise<Acknowledgement> {
    const { index, topic } = this.#record
    return quiet(this.#whenDelivered().then((ack) => ({ topic, ...positionOf(ack, index) })))
  }

  /** Calls back if the record will not get the durability that it asked for: at once, later or never. No wait. */
  watch(onFailure: (error: TrailError) => void): void {
    const { chunk, index, durability } = this.#record
    if (durability !== 'memory' || chunk.failed) chunk.watch({ index, durability, onFailure })
  }

  async #whenDelivered(): Promise<ChunkAck> {
    const { chunk, index } = this.#record
    const ack = await chunk.whenAcked()
    const rejected = rejectionOf(ack, index)
    if (rejected !== undefined) throw rejected
    return ack
  }
}
