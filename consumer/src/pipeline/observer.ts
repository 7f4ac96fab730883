/** The seam to the metrics and logs of the pipeline. */
import type { CommitAnswer } from '@agent-audit/kafka'
import type { IntegrityError } from '@agent-audit/schemas'
import type { Batch } from './batch.ts'
import type { Stop } from './cut.ts'
import type { InsertAnswer, OffsetRange, Table } from './sink.ts'

/** Log and tables do not belong together, or a row was forged (docs/runbooks/forged-rows.md): the partition takes no record. */
export interface Replaced {
  readonly kind: 'replaced'
  /** `LOG_REPLACED`, with the offset. */
  readonly error: IntegrityError
}

/** Receives the events of a partition's writer. */
export interface PartitionObserver {
  /** The tables were read: every offset below `next` has a row. */
  recovered(next: number): void
  /** The batch is the next one to be written. */
  writing(batch: Batch): void
  written(batch: Batch): void
  notInserted(table: Table, answer: InsertAnswer, offsets: { first: number; last: number }): void
  /** Acknowledged rows are not in the tables: `found` of the offsets have one. The partition recovers. */
  rowsMissing(offsets: { first: number; last: number }, found: number): void
  recovering(): void
  /**
   * Too many dead letters in a row, and the next record is bad too; or the next batch cannot be unpacked; or log and tables do
   * not belong together. The partition takes no record until that is repaired.
   */
  stopped(at: Stop | Replaced, deadInARow: number): void
  /** The group knows of no seal of the partition: the first one begins at this offset. */
  sealsBegin(first: number): void
  /** The topic of the seals has the seal of this range. */
  sealed(range: OffsetRange): void
  /** The rows of this range cannot be made again: they stay without a seal. */
  unsealed(range: OffsetRange, reason: string): void
  /** The assignment has ended. Later events are those of the next owner. */
  ended(): void
  committed(answer: CommitAnswer): void
}
