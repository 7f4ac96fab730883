/** Collects the facts of delivery until its next turn reports them to the agent's thread. */
import type { SealChain } from '@agent-audit/spool'
import type { ChunkAck, ChunkRefusal, Gauges, Loss, Problem, RecordRejection, Report } from './protocol.ts'

export interface ReporterOptions {
  readonly post: (report: Report) => void
  readonly gauges: () => Gauges
  /** See ThreadSettings. */
  readonly settled: Int32Array
  /** Called when there is something to report. */
  readonly wake: () => void
}

export class Reporter {
  readonly #options: ReporterOptions
  #storedTo = -1
  #refused: ChunkRefusal[] = []
  #acked: ChunkAck[] = []
  #lost: Loss[] = []
  #problems: Problem[] = []
  #freed: ArrayBuffer[] = []
  #resumed: readonly number[] | null = null
  #chain: SealChain | null = null
  #pending = false

  constructor(options: ReporterOptions) {
    this.#options = options
  }

  /** A chunk has the durability of the trail, or will never have it. Counted at once: the process may wait for it, blocked. */
  settle(): void {
    Atomics.add(this.#options.settled, 0, 1)
    Atomics.notify(this.#options.settled, 0)
  }

  stored(firstSeq: number): void {
    this.#storedTo = firstSeq
    this.changed()
  }

  refused(firstSeq: number, problem: Problem): void {
    this.#refused.push({ firstSeq, problem })
    this.changed()
  }

  acked(ack: Omit<ChunkAck, 'partitions'> & { readonly partitions: Int32Array }): void {
    this.#acked.push({ ...ack, partitions: narrowed(ack.partitions) })
    this.changed()
  }

  lost(loss: Loss): void {
    this.#lost.push(loss)
    this.changed()
  }

  /** See {@link Report.resumed}. */
  resumed(firstSeqs: readonly number[]): void {
    this.#resumed = firstSeqs
    this.changed()
  }

  /** The chain of the run's seals has moved. */
  chain(chain: SealChain): void {
    this.#chain = chain
    this.changed()
  }

  /** Records that the broker will never take are set aside. */
  undelivered(loss: Loss): void {
    const { code, runId, first, last, file, reason } = loss
    const kept = file === null ? '' : `, set aside as ${file}`
    const message = `run_seq ${first} to ${last} of run ${runId} not delivered${kept}: ${reason}`
    this.problem({ kind: code === 'RECORD_TOO_LARGE' ? 'invalid' : 'integrity', code, message })
    this.lost(loss)
  }

  problem(problem: Problem): void {
    this.#problems.push(problem)
    this.changed()
  }

  /** This thread has stopped reading a chunk's memory. It goes back with the next report, which it does not cause. */
  freed(memory: ArrayBuffer): void {
    this.#freed.push(memory)
  }

  /** Something has changed, if only the gauges. */
  changed(): void {
    this.#pending = true
    this.#options.wake()
  }

  /** Reports the facts collected since the last report, if there are any. The last report says that delivery is closed. */
  post(closed = false): void {
    if (!this.#pending && !closed) return
    this.#pending = false
    const report: Report = {
      storedTo: this.#storedTo,
      refused: this.#refused,
      acked: this.#acked,
      lost: this.#lost,
      problems: this.#problems,
      resumed: this.#resumed,
      chain: this.#chain,
      gauges: this.#options.gauges(),
      freed: this.#freed,
      closed,
    }
    this.#refused = []
    this.#acked = []
    this.#lost = []
    this.#problems = []
    this.#freed = []
    this.#resumed = null
    this.#chain = null
    this.#options.post(report)
  }
}

/** The rejected records of a chunk as ranges of run_seq, each of one reason. */
export function lossesOf(of: {
  runId: string
  file: string | null
  firstSeq: number
  rejected: readonly RecordRejection[]
}): Loss[] {
  const losses: (Loss & { last: number })[] = []
  for (const { index, problem } of of.rejected) {
    const seq = of.firstSeq + index
    const newest = losses.at(-1)
    if (newest?.last === seq - 1 && newest.code === problem.code) losses[losses.length - 1] = { ...newest, last: seq }
    else {
      const { code, message: reason } = problem
      losses.push({ runId: of.runId, file: of.file, first: seq, last: seq, code, reason })
    }
  }
  return losses
}

/**
 * A copy, because a structured clone of a view copies the whole buffer. As narrow as possible: the agent's thread may hold it
 * long, since its garbage collector has little to do while a backlog drains.
 */
function narrowed(partitions: Int32Array): ChunkAck['partitions'] {
  let most = 0
  for (const partition of partitions) most = Math.max(most, partition)
  if (most < 2 ** 8) return Uint8Array.from(partitions)
  return most < 2 ** 16 ? Uint16Array.from(partitions) : partitions.slice()
}
