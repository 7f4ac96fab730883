/**
 * Makes the rows of stored offsets again, from the log and from what the consumer may read of the tables: which offset is an event,
 * and of a skipped row its kind, reason, class and time. An event's bytes are those of its record, a skipped row's key, value and
 * headers too: no content is read from the tables, and what counts is what the log holds.
 */
import type { LogPartition, LogRecord, LogSlice } from '@agent-audit/kafka'
import { readEventId } from '@agent-audit/schemas'
import { type EncodedRows, encodeSkipped, EventBlock, type SkippedRow } from '../block.ts'
import type { BufferMemory } from '../buffer-memory.ts'
import type { RecordCheck, Verdict } from '../check.ts'
import type { OffsetRange, StoredRow } from '../sink.ts'
import type { RangeRows } from './range-digest.ts'

/** Why the rows of a range cannot be made again. */
export class CannotRebuild extends Error {}

export interface RebuildParts {
  readonly logPartition: LogPartition
  readonly memory: BufferMemory
  readonly check: RecordCheck
}

/**
 * Makes the rows of a range within a slice. Call `prepare` of the check before.
 * @param stored - The rows that count, in order.
 * @param use - Gets the rows. Their memory is given back once it returns.
 * @throws CannotRebuild naming the first offset without exactly one row that is of its record.
 */
export function rebuildRows(
  { records, range, stored }: { records: LogSlice['records']; range: OffsetRange; stored: readonly StoredRow[] },
  { logPartition, memory, check }: RebuildParts,
  use: (rows: RangeRows) => void,
): void {
  const block = new EventBlock(logPartition, memory)
  const skipped: { row: SkippedRow; retentionClass: string }[] = []
  const [byOffset, rows] = [new Map(records.map((record) => [record.offset, record])), new Queue(stored)]
  try {
    for (let offset = range.first; offset <= range.last; offset++) {
      const record = byOffset.get(offset)
      const row = rowOf(record, rows.takeAt(offset), check)
      if (row === undefined) throw new CannotRebuild(`offset ${offset} has no row, or several, that are of its record`)
      if (row.kind === 'event') append(block, record, check)
      else skipped.push({ row: skippedRow(row, record), retentionClass: row.retentionClass })
    }
    use({ events: block.close(), skipped: encodeAll(logPartition, skipped) })
  } finally {
    block.release()
  }
}

/** Rows in the order of their offsets. */
class Queue {
  readonly #rows: readonly StoredRow[]
  #index = 0

  constructor(rows: readonly StoredRow[]) {
    this.#rows = rows
  }

  takeAt(offset: number): StoredRow[] {
    const taken: StoredRow[] = []
    for (let row = this.#rows[this.#index]; row !== undefined && row.offset <= offset; row = this.#rows[this.#index]) {
      if (row.offset === offset) taken.push(row)
      this.#index++
    }
    return taken
  }
}

/** The only row that is of the record. Another party may have inserted others at the offset. */
function rowOf(record: LogRecord | undefined, rows: readonly StoredRow[], check: RecordCheck): StoredRow | undefined {
  const verdict = record && check.check(record)
  const found = rows.filter((row) => isOf(row, record, verdict))
  return found.length === 1 ? found[0] : undefined
}

function isOf(row: StoredRow, record: LogRecord | undefined, verdict: Verdict | undefined): boolean {
  if (record === undefined || verdict === undefined) return row.kind === 'hole'
  if (row.kind === 'hole') return false
  const identity = identityOf(record, verdict)
  const same = identity?.runId === row.runId && identity.runSeq === row.runSeq
  if (row.kind !== 'event') {
    return row.logTimeMs === record.logTimeMs && (same || identity === undefined || row.runId === null)
  }
  // A record that only another version of the consumer can read has been an event for it. Its bytes cannot be told here.
  if (!verdict.storable || record.value === null) return false
  return same && row.eventId === readEventId(record.value, verdict.bodyStart)
}

function identityOf({ value }: LogRecord, verdict: Verdict): { runId: string; runSeq: number } | undefined {
  if (!verdict.storable || value === null) {
    const read = verdict.storable ? undefined : verdict.identity
    return read && { runId: read.runId.toString('hex'), runSeq: read.runSeq }
  }
  const { runIdStart, runSeq } = verdict.head
  return { runId: value.toString('hex', runIdStart, runIdStart + 16), runSeq }
}

function append(block: EventBlock, record: LogRecord | undefined, check: RecordCheck): void {
  const verdict = record && check.check(record)
  if (record === undefined || record.value === null || verdict?.storable !== true) throw new Error('no event')
  block.append(record.value, verdict.bodyStart, verdict.version, record.offset, record.logTimeMs)
}

function skippedRow(
  { kind, reason, runId, runSeq, offset, logTimeMs }: StoredRow,
  record: LogRecord | undefined,
): SkippedRow {
  const identity = runId === null || runSeq === null ? undefined : { runId: Buffer.from(runId, 'hex'), runSeq }
  if (kind !== 'duplicate' && kind !== 'dead' && kind !== 'hole') {
    throw new CannotRebuild(`offset ${offset} is of the unknown kind ${JSON.stringify(kind)}`)
  }
  return { kind, reason: reason ?? '', identity, offset, logTimeMs, record }
}

function encodeAll(
  logPartition: LogPartition,
  rows: readonly { row: SkippedRow; retentionClass: string }[],
): EncodedRows | undefined {
  if (rows.length === 0) return undefined
  const encoded = rows.map(({ row, retentionClass }) => encodeSkipped(logPartition, { retentionClass, skipped: [row] }))
  return {
    count: rows.length,
    bytes: encoded.reduce((sum, { bytes }) => sum + bytes, 0),
    data: encoded.flatMap(({ data }) => data),
  }
}
