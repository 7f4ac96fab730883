/** The seam to whoever watches the pipeline: metrics and logs, a simulation. */
import type { CommitAnswer } from '@agent-audit/kafka'
import type { Batch } from './batch.ts'
import type { DeadStop } from './cut.ts'
import type { InsertAnswer, Table } from './sink.ts'

/** What a partition's writer tells of itself. */
export interface PartitionObserver {
  written(batch: Batch): void
  inserted(table: Table, ms: number): void
  notInserted(table: Table, answer: InsertAnswer, offsets: { first: number; last: number }): void
  recovering(): void
  /** The next record would be one dead letter too many after so many in a row: nothing is taken until it is good. */
  stopped(at: DeadStop, deadInARow: number): void
  /** The assignment has ended: what comes is another owner's to tell. */
  ended(): void
  committed(answer: CommitAnswer): void
}
