/**
 * The consumer without its process, for simulations, fault tests and benchmarks: its composition over any source, sink and
 * clock, and the interfaces that these implement.
 */
export { BATCH_DECODERS } from './log/batch-decoders.ts'
export { createEmbeddedSource } from './log/embedded-source.ts'
export { copyRecord } from './pipeline/copy-record.ts'
export { BLOCK_COLUMNS, type EncodedRows, encodeSkipped, EventBlock, type SkippedRow } from './pipeline/block.ts'
export { BufferMemory } from './pipeline/buffer-memory.ts'
export { CLEAN, type CommitMetadata, readMetadata, type SealProgress } from './pipeline/commit-metadata.ts'
export { createRecordCheck, type RecordCheck } from './pipeline/check.ts'
export { type ClickHouseSink } from './store/clickhouse-sink.ts'
export { type Clock, systemClock } from './pipeline/clock.ts'
export { composeParts, type ConsumerParts } from './consumer.ts'
export { Pace } from './pipeline/pace.ts'
export { RangeDigest } from './pipeline/sealing/range-digest.ts'
export { CannotRebuild, rebuildRows } from './pipeline/sealing/rebuild.ts'
export { SealTopics, type SealTopicsObserver, type SealTopicsParts } from './pipeline/sealing/seal-topics.ts'
export { type Outcome, type Piece, SharedInserts } from './pipeline/shared-inserts.ts'
export type { PartitionObserver } from './pipeline/observer.ts'
export { writePartition, type WriterOptions, type WriterParts } from './pipeline/partition-writer.ts'
export {
  type Insert,
  type InsertAnswer,
  insertId,
  insertMark,
  type OffsetRange,
  type RecordIdentity,
  type Sink,
  type StoredRecord,
  type StoredRow,
  type Table,
} from './pipeline/sink.ts'
export type { Assignment, CommitAnswer, Committed, LogRecord, LogSlice, Source, LogPartition } from '@agent-audit/kafka'
