/**
 * The consumer without its process, for simulations, fault tests and benchmarks: its composition over any source, sink and
 * clock, and the interfaces these have to honour.
 */
export { BufferMemory } from './buffer-memory.ts'
export { CLEAN, readFence } from './fence.ts'
export { createRecordCheck, type RecordCheck } from './check.ts'
export { type ClickHouseSink } from '../store/clickhouse-sink.ts'
export { type Clock, systemClock } from './clock.ts'
export { composeParts, type ConsumerParts } from '../consumer.ts'
export { Pace } from './pace.ts'
export type { PartitionObserver } from '../metrics.ts'
export { writePartition, type WriterOptions, type WriterParts } from './partition-writer.ts'
export {
  type Insert,
  type InsertAnswer,
  insertPrefix,
  type OffsetRange,
  type RecordIdentity,
  type Sink,
  type Table,
} from './sink.ts'
export {
  type Claim,
  type CommitAnswer,
  type Committed,
  copyRecord,
  type LogPlace,
  type LogRecord,
  type LogSlice,
  type Source,
} from './source.ts'
