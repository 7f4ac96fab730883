/** Collects what delivery has to say, and says it once a turn of its event loop. */
import type { ChunkAck, ChunkRefusal, Gauges, Loss, Problem, Report } from './protocol.ts'

export interface ReporterOptions {
  readonly post: (report: Report) => void
  readonly gauges: () => Gauges
  /** See DeliverySettings. */
  readonly settled: SharedArrayBuffer
}

export class Reporter {
  readonly #options: ReporterOptions
  readonly #settled: Int32Array
  #storedTo = -1
  #refused: ChunkRefusal[] = []
  #acked: ChunkAck[] = []
  #lost: Loss[] = []
  #problems: Problem[] = []
  #freed: ArrayBuffer[] = []
  #scheduled = false

  constructor(options: ReporterOptions) {
    this.#options = options
    this.#settled = new Int32Array(options.settled)
  }

  /** A chunk has the durability of the trail, or will never have it. */
  settle(): void {
    Atomics.add(this.#settled, 0, 1)
    Atomics.notify(this.#settled, 0)
  }

  stored(firstSeq: number): void {
    this.#storedTo = firstSeq
    this.#schedule()
  }

  refused(firstSeq: number, problem: Problem): void {
    this.#refused.push({ firstSeq, problem })
    this.#schedule()
  }

  acked(ack: ChunkAck): void {
    this.#acked.push(ack)
    this.#schedule()
  }

  lost(loss: Loss): void {
    this.#lost.push(loss)
    this.#schedule()
  }

  problem(problem: Problem): void {
    this.#problems.push(problem)
    this.#schedule()
  }

  freed(memory: ArrayBuffer): void {
    this.#freed.push(memory)
  }

  /** Something that only the gauges tell has changed. */
  changed(): void {
    this.#schedule()
  }

  /** Reports now, for the last time. */
  close(): void {
    this.#post(true)
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#post(false)
    })
  }

  #post(closed: boolean): void {
    const report: Report = {
      storedTo: this.#storedTo,
      refused: this.#refused,
      acked: this.#acked,
      lost: this.#lost,
      problems: this.#problems,
      gauges: this.#options.gauges(),
      freed: this.#freed,
      closed,
    }
    this.#refused = []
    this.#acked = []
    this.#lost = []
    this.#problems = []
    this.#freed = []
    this.#options.post(report)
  }
}
