/** What became of a chunk, and the receipts that point into it. */
import type { TrailError } from '@agent-audit/schemas'
import type { Acknowledgement, Receipt } from '../api/receipt.ts'
import { positionOf } from '../delivery/protocol.ts'
import type { ChunkAck } from '../delivery/protocol.ts'
import type { Durability } from '../api/trail-options.ts'

/** Told when somebody starts and ends waiting for a chunk. */
export interface WaitHooks {
  /** The chunk is waited for: hand it over soon, and keep the process alive for the answer. */
  waiting(chunk: ChunkState): void
  answered(): void
}

/**
 * Open while records are added to it, then stored, acknowledged or failed. Offsets live as long as a receipt points here,
 * and no longer.
 */
export class ChunkState {
  readonly firstSeq: number
  /** Set when the chunk is handed over. */
  count = 0
  bytes = 0
  readonly #hooks: WaitHooks
  #stored = false
  #ack: ChunkAck | undefined
  #failure: TrailError | undefined
  #storedWait: PromiseWithResolvers<void> | undefined
  #ackedWait: PromiseWithResolvers<ChunkAck> | undefined

  constructor(firstSeq: number, hooks: WaitHooks) {
    this.firstSeq = firstSeq
    this.#hooks = hooks
  }

  /** Whether it was refused or lost. */
  get failed(): boolean {
    return this.#failure !== undefined
  }

  store(): void {
    if (this.failed) return
    this.#stored = true
    this.#storedWait?.resolve()
  }

  acknowledge(ack: ChunkAck): void {
    this.#ack = ack
    this.store()
    this.#ackedWait?.resolve(ack)
  }

  /** The first outcome counts: what is stored cannot be refused any more. */
  fail(error: TrailError): void {
    if (this.#ack !== undefined) return
    this.#failure = error
    if (!this.#stored) this.#storedWait?.reject(error)
    this.#ackedWait?.reject(error)
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

/** A rejection that is no unhandled one when nobody looks at it. */
function rejectQuietly<T>(failure: TrailError): Promise<T> {
  return quiet(Promise.reject(failure))
}

function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {})
  return promise
}

export interface ReceiptPlace {
  readonly chunk: ChunkState
  /** Which record of the chunk. */
  readonly index: number
  readonly durability: Durability
  readonly topic: string
}

export class RecordReceipt implements Receipt {
  readonly event_id: string
  readonly #place: ReceiptPlace

  constructor(eventId: string, place: ReceiptPlace) {
    this.event_id = eventId
    this.#place = place
  }

  get stored(): Promise<void> {
    const { chunk, durability } = this.#place
    if (durability === 'disk') return chunk.whenStored()
    if (durability === 'broker') return quiet(chunk.whenAcked().then(() => undefined))
    return chunk.failed ? chunk.whenStored() : Promise.resolve()
  }

  get acked(): Promise<Acknowledgement> {
    const { chunk, index, topic } = this.#place
    return quiet(chunk.whenAcked().then((ack) => ({ topic, ...positionOf(ack, index) })))
  }
}
