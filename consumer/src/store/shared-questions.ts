/**
 * Questions that several partitions ask at one moment, in one query: their leases are due together, and each query costs the
 * server some milliseconds by itself. An answer is read after everyone who gets it has asked, as if it had asked alone.
 */
import { EVENTS_TABLE, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { LogPartition } from '@agent-audit/kafka'
import type { OffsetRange } from '../pipeline/sink.ts'
import { countOffsets } from './offsets.ts'
import { OFFSETS_A_QUERY, type PartitionStore } from './question.ts'

/** Ranges of a query, and offsets of each: together no more than a query may look at. */
const MOST_RANGES = 128
const SHORT_RANGE: number = OFFSETS_A_QUERY / MOST_RANGES

/** Calls `ask` once for all callers of the same moment. */
export function sharedAnswer<T>(ask: () => Promise<T>): () => Promise<T> {
  let next: Promise<T> | undefined
  return () => {
    next ??= afterThisMoment().then(() => {
      next = undefined
      return ask()
    })
    return next
  }
}

interface Asked {
  readonly of: LogPartition
  readonly range: OffsetRange
  readonly resolve: (count: number | Promise<number>) => void
  readonly reject: (error: unknown) => void
}

/** `countOffsets` for partitions that ask at the same moment. */
export function sharedCounts(
  about: (logPartition: LogPartition) => PartitionStore,
): (logPartition: LogPartition, range: OffsetRange) => Promise<number> {
  let waiting: Asked[] = []
  const answerAll = async (): Promise<void> => {
    await afterThisMoment()
    const asked = waiting
    waiting = []
    const short = asked.filter(({ range }) => range.last - range.first < SHORT_RANGE)
    // One range of each partition: a writer that has lost it may ask beside the one that has it now.
    const sharing = [
      ...new Map(short.map((one) => [`${one.of.logId.toString('hex')}/${one.of.partition}`, one])).values(),
    ]
    for (const one of asked) if (!sharing.includes(one)) one.resolve(countOffsets(about(one.of), one.range))
    for (const ofLog of Map.groupBy(sharing, ({ of }) => of.logId.toString('hex')).values()) {
      for (let from = 0; from < ofLog.length; from += MOST_RANGES) {
        void answer(ofLog.slice(from, from + MOST_RANGES), about)
      }
    }
  }
  return (of, range) =>
    new Promise((resolve, reject) => {
      if (waiting.push({ of, range, resolve, reject }) === 1) void answerAll()
    })
}

/** @param asked - At least one; each of another partition of one log. */
async function answer(asked: readonly Asked[], about: (logPartition: LogPartition) => PartitionStore): Promise<void> {
  const [first, second] = asked
  if (first === undefined) return
  if (second === undefined) return first.resolve(countOffsets(about(first.of), first.range))
  const ranges = asked.map(
    ({ of, range }) => `(log_partition = ${of.partition} AND log_offset BETWEEN ${range.first} AND ${range.last})`,
  )
  const rowsOf = (table: string): string =>
    `SELECT log_partition, log_offset AS o FROM ${table} WHERE log_id = unhex({log:String}) AND (${ranges.join(' OR ')})`
  const query = `SELECT log_partition AS partition, toFloat64(groupBitmap(toUInt32(bitAnd(o, 4294967295)))) AS offsets
    FROM (${rowsOf(EVENTS_TABLE)} UNION ALL ${rowsOf(SKIPPED_TABLE)}) GROUP BY log_partition`
  try {
    const what = `the number of rows of ${asked.length} partitions, one`
    const rows = await about(first.of).ask<{ partition: number; offsets: number }>({ what, query })
    const found = new Map(rows.map(({ partition, offsets }) => [partition, offsets]))
    for (const { of, resolve } of asked) resolve(found.get(of.partition) ?? 0)
  } catch (error) {
    for (const { reject } of asked) reject(error)
  }
}

function afterThisMoment(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
