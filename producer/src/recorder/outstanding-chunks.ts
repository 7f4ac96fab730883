/** The chunks handed over to delivery: which are stored, which are acknowledged, and the bytes that they still need here. */
import type { TrailError } from '@agent-audit/schemas'
import type { Durability } from '../api/trail-options.ts'
import type { ChunkAck } from '../delivery/protocol.ts'
import type { ChunkState } from './chunk-state.ts'
import type { LostEvents } from './lost-events.ts'

export class OutstandingChunks {
  readonly #onDisk: boolean
  readonly #lost: LostEvents
  /** Posted to the delivery that runs now, in order; only with durability `disk`. */
  readonly #unstored: ChunkState[] = []
  /** Posted to a delivery that has failed; whether they are in its spool is not known yet. Only with durability `disk`. */
  #doubtful: ChunkState[] = []
  /** By run_seq, in order. */
  readonly #unacked: Map<number, ChunkState> = new Map<number, ChunkState>()
  /** Bytes of chunks that do not have the trail's durability yet. */
  bytes = 0
  /** Events acknowledged, and events refused or lost, since the start of the run. */
  acked = 0
  refused = 0

  /** @param lost - Told of the events of chunks that fail. */
  constructor(durability: Durability, lost: LostEvents) {
    this.#onDisk = durability === 'disk'
    this.#lost = lost
  }

  /** The lowest run_seq that is neither acknowledged nor failed; undefined if there is none. */
  get oldestSeq(): number | undefined {
    const [oldest] = this.#unacked.keys()
    return oldest
  }

  add(state: ChunkState): void {
    this.bytes += state.bytes
    this.#unacked.set(state.firstSeq, state)
    if (this.#onDisk) this.#unstored.push(state)
  }

  /** Every chunk that starts at or before this run_seq is stored, but for the failed ones. @returns whether any was. */
  storeTo(seq: number): boolean {
    let count = 0
    let kept = false
    for (const state of this.#unstored) {
      if (state.firstSeq > seq && !state.failed) break
      count++
      kept ||= !state.failed
      this.bytes -= state.bytes
      state.store()
    }
    if (count > 0) this.#unstored.splice(0, count)
    return kept
  }

  acknowledge(ack: ChunkAck): void {
    const state = this.#unacked.get(ack.firstSeq)
    if (state === undefined) return
    this.#unacked.delete(ack.firstSeq)
    const rejected = ack.rejected?.length ?? 0
    this.acked += state.count - rejected
    this.refused += rejected
    if (!this.#onDisk || !state.stored) this.bytes -= state.bytes
    state.acknowledge(ack)
  }

  /** Delivery has refused a chunk. */
  refuse(firstSeq: number, error: TrailError): void {
    const state = this.#unacked.get(firstSeq)
    if (state === undefined) return
    this.#unacked.delete(firstSeq)
    this.fail(state, error)
  }

  /** A chunk is lost as a whole. */
  fail(state: ChunkState, error: TrailError): void {
    this.refused += state.count
    // An explanation that is lost itself leaves its events unexplained.
    if (state.explains !== undefined) this.#lost.unexplained(state.explains)
    this.#lost.add({ first: state.firstSeq, last: state.firstSeq + state.count - 1, reason: error.code })
    state.fail(error)
  }

  /** Stored chunks of a damaged spool will not be delivered. The caller explains the range. */
  damage(first: number, last: number, error: TrailError): void {
    for (const state of this.#unacked.values()) {
      if (state.firstSeq < first || state.firstSeq > last) continue
      this.#unacked.delete(state.firstSeq)
      if (!state.stored) this.bytes -= state.bytes
      this.refused += state.count
      state.fail(error)
    }
  }

  /**
   * Delivery has failed, and another one will start. Without a spool all chunks are lost. With one, its spools tell which
   * chunks are left.
   */
  restart(error: TrailError): void {
    if (!this.#onDisk) return this.abandon(error)
    this.#unstored.length = 0
    this.#doubtful = [...this.#unacked.values()]
    this.bytes = 0
    for (const state of this.#doubtful) if (!state.stored) this.bytes += state.bytes
  }

  /** These chunks, by their first run_seq, are left of a delivery that has failed. The others are lost. */
  resume(left: ReadonlySet<number>, error: TrailError): void {
    for (const state of this.#doubtful.splice(0)) {
      if (!this.#unacked.has(state.firstSeq)) continue
      if (!state.stored) this.bytes -= state.bytes
      if (left.has(state.firstSeq)) state.store()
      else {
        this.#unacked.delete(state.firstSeq)
        this.fail(state, error)
      }
    }
  }

  /** Delivery has ended for good: unstored chunks are lost; stored ones stay in the spool for the next run. */
  abandon(error: TrailError): void {
    for (const state of this.#unacked.values()) {
      if (this.#onDisk && state.stored) state.fail(error)
      else this.fail(state, error)
    }
    this.#unstored.length = 0
    this.#doubtful = []
    this.#unacked.clear()
    this.bytes = 0
  }
}
