/** The seam to the metrics and logs of the pipeline. */
import type { CommitAnswer } from '@agent-audit/kafka'
import type { Batch } from './batch.ts'
import type { Stop } from './cut.ts'
import type { InsertAnswer, Table } from './sink.ts'

/** Receives the events of a partition's writer. */
export interface PartitionObserver {
  /** The tables were read: every offset below `next` has a row. */
  recovered(next: number): void
  /** The batch is the next one to be written. */
  writing(batch: Batch): void
  written(batch: Batch): void
  inserted(table: Table, ms: number): void
  notInserted(table: Table, answer: InsertAnswer, offsets: { first: number; last: number }): void
  recovering(): void
  /**
   * Too many dead letters in a row, and the next record is bad too; or the next batch cannot be unpacked. The partition takes
   * no record until that one is good.
   */
  stopped(at: Stop, deadInARow: number): void
  /** The assignment has ended. Later events are those of the next owner. */
  ended(): void
  committed(answer: CommitAnswer): void
}
