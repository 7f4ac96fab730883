/** Keeps the records that the broker will never take: in a file where there is a spool, named by a seal and in the report. */
import type { LoadedChunk } from './partition-queue.ts'
import { type DeliverySettings, toProblem } from './protocol.ts'
import { lossesOf, type Reporter } from './reporter.ts'
import type { Sealing } from './sealing/sealing.ts'

export interface RejectedRecordsOptions {
  /** Without a spool all chunks are of the run itself. */
  readonly settings: Pick<DeliverySettings, 'runId'>
  readonly reporter: Reporter
  readonly sealing: Sealing
}

export class RejectedRecords {
  readonly #options: RejectedRecordsOptions
  /** Chunks that the disk has not let be kept. */
  #unkept: LoadedChunk[] = []

  constructor(options: RejectedRecordsOptions) {
    this.#options = options
  }

  /** The chunks to be tried again. */
  takeUnkept(): LoadedChunk[] {
    return this.#unkept.splice(0)
  }

  /**
   * Keeps and reports the rejected records of a chunk. Only then may the spool forget the chunk.
   * @returns false when the disk refuses: {@link takeUnkept} has the chunk.
   */
  keep(loaded: LoadedChunk): boolean {
    const { chunk, stored, rejected } = loaded
    const { settings, reporter, sealing } = this.#options
    const runId = stored?.feed.spool.runId ?? settings.runId
    const indexes = rejected.map(({ index }) => index)
    try {
      const file = stored?.feed.setAside(chunk, indexes) ?? null
      const losses = lossesOf({ runId, file, firstSeq: chunk.firstSeq, rejected })
      // Before anything is reported: a disk that refuses makes all of it happen again.
      for (const loss of losses) sealing.undelivered(stored?.feed.spool, loss)
      for (const loss of losses) reporter.undelivered(loss)
      return true
    } catch (error) {
      reporter.problem(toProblem(error, 'SPOOL_UNAVAILABLE'))
      this.#unkept.push(loaded)
      return false
    }
  }
}
