/**
 * Stage: compares rows that an earlier owner left with the log, before they are passed over. A row may be forged, by a client
 * with the consumer's password, or of another log of the same name: then its record would never be stored.
 *
 * Identities are compared, since the consumer may read no content: (run_id, run_seq, event_id) of an event, (run_id, run_seq) and
 * the append time of a skipped row. The last part of each cannot be computed without the record.
 */
import type { Assignment, LogRecord, LogSlice } from '@agent-audit/kafka'
import { decodeRecord, IntegrityError } from '@agent-audit/schemas'
import type { PartitionSealer } from './sealing/partition-sealer.ts'
import type { RecordCheck } from './check.ts'
import { FORGED, type Resume } from './recover.ts'
import type { OffsetRange, Sink, StoredRow } from './sink.ts'

export interface CompareParts {
  readonly assignment: Assignment
  readonly sink: Sink
  readonly check: RecordCheck
  /** Gets the rows that it has not hashed yet, below `next`. Undefined: without a signing key. */
  readonly sealer: PartitionSealer | undefined
  /** Told of each slice: every row below the offset is of its record. */
  readonly compared: (offset: number) => void
}

/**
 * The slices from `readFrom` on, each with its rows compared; from an earlier offset on, if the sealer needs the records.
 * @throws IntegrityError `LOG_REPLACED` naming the first row that is not of its record. {@link QuarantinedSince}: then recover.
 */
export async function* readCompared(
  { next, readFrom, above, quarantined }: Resume,
  parts: CompareParts,
  until: AbortSignal,
): AsyncGenerator<LogSlice, void, void> {
  const ranges = readFrom < next ? [{ first: readFrom, last: next - 1 }, ...above] : above
  for await (const slice of readSealing({ next, readFrom }, parts, until)) {
    await expectSameRecords(slice, ranges, parts)
    await expectOtherRecords(slice, quarantined, parts)
    parts.compared(slice.nextOffset)
    await parts.sealer?.rebuild(slice, next)
    yield slice
  }
}

// A batch below `readFrom` that cannot be unpacked any more stops no partition: its records are stored.
async function* readSealing(
  { next, readFrom }: Pick<Resume, 'next' | 'readFrom'>,
  { assignment, sealer }: CompareParts,
  until: AbortSignal,
): AsyncGenerator<LogSlice, void, void> {
  const from = Math.min(readFrom, sealer?.readFrom ?? readFrom)
  let reached = from
  try {
    for await (const slice of assignment.read(from, until)) {
      reached = slice.nextOffset
      yield slice
    }
  } catch (error) {
    const unreadable = error instanceof IntegrityError && error.code === 'BATCH_UNREADABLE'
    if (!unreadable || reached >= readFrom) throw error
    sealer?.giveUp(next, error.message)
    yield* assignment.read(readFrom, until)
  }
}

/** A row that counted when the partition was recovered is in quarantine by now: its offset is not accounted for. */
export class QuarantinedSince extends Error {}

// An offset of the ranges without a row has expired, and nothing is left to compare; or its row came into quarantine after
// recovery had read the tables, and to pass over the offset would leave its record out. Ask for quarantined rows last: a row
// that comes into quarantine between the two questions is a counting one in the first.
async function expectSameRecords(slice: LogSlice, ranges: readonly OffsetRange[], parts: CompareParts): Promise<void> {
  for (const range of ranges) {
    const compared = new Set<number>()
    for await (const [row, record] of pairs(slice, range, 'counting', parts)) {
      if (!fits(row, record)) throw mismatch(row, record, parts.assignment)
      compared.add(row.offset)
    }
    for await (const [{ offset }] of pairs(slice, range, 'quarantined', parts)) {
      if (!compared.has(offset) && !(await isExpired(offset, parts))) throw new QuarantinedSince()
    }
  }
}

async function isExpired(offset: number, { assignment, sink }: CompareParts): Promise<boolean> {
  const notes = await sink.expired(assignment, offset)
  return notes.some(({ first, last }) => first <= offset && offset <= last)
}

// Or the record would be stored a second time, as the same row, which is in quarantine as well.
async function expectOtherRecords(slice: LogSlice, quarantined: readonly number[], parts: CompareParts): Promise<void> {
  for (const offset of quarantined) {
    for await (const [row, record] of pairs(slice, { first: offset, last: offset }, 'quarantined', parts)) {
      // A duplicate is judged again: the event that it repeats may be in quarantine as well.
      if (row.kind === 'duplicate' || !fits(row, record)) continue
      const { topic, partition } = parts.assignment
      const wrong = `the row in quarantine at offset ${offset} of ${topic}/${partition} is that of the log's record`
      throw new IntegrityError('LOG_REPLACED', `${wrong}: take it back with agent-audit quarantine --release`)
    }
  }
}

async function* pairs(
  slice: LogSlice,
  range: OffsetRange,
  which: 'counting' | 'quarantined',
  { assignment, sink, check }: CompareParts,
): AsyncGenerator<[StoredRow, Described | undefined], void, void> {
  const first = Math.max(range.first, slice.firstOffset)
  const last = Math.min(range.last, slice.nextOffset - 1)
  if (first > last) return
  await check.prepare(slice.records)
  const records = new Map(slice.records.map((record) => [record.offset, record]))
  for (const row of await sink.rowsBetween(assignment, { first, last }, which)) {
    yield [row, describeRecord(records.get(row.offset), check)]
  }
}

/** What the log has at an offset; `undefined`: no record. */
interface Described {
  readonly storable: boolean
  readonly logTimeMs: number
  /** Undefined if the record cannot be read so far. */
  readonly identity: { readonly runId: string; readonly runSeq: number } | undefined
  /** Of a storable record. */
  readonly eventId: string | undefined
}

function describeRecord(record: LogRecord | undefined, check: RecordCheck): Described | undefined {
  if (record === undefined) return undefined
  const { logTimeMs, value } = record
  const verdict = check.check(record)
  if (!verdict.storable || value === null) {
    const read = verdict.storable ? undefined : verdict.identity
    const identity = read && { runId: read.runId.toString('hex'), runSeq: read.runSeq }
    return { storable: false, logTimeMs, identity, eventId: undefined }
  }
  const { runIdStart, runSeq } = verdict.head
  const runId = value.toString('hex', runIdStart, runIdStart + 16)
  const eventId = eventIdOf(record, verdict)
  return { storable: true, logTimeMs, identity: { runId, runSeq }, eventId }
}

// A record that passes the check and does not decode is a dead letter: it has no event to compare.
function eventIdOf(
  { value }: LogRecord,
  verdict: Extract<ReturnType<RecordCheck['check']>, { storable: true }>,
): string {
  try {
    return value === null ? '' : String(decodeRecord(verdict.version, value, verdict.bodyStart)['event_id'])
  } catch {
    return ''
  }
}

function fits(row: StoredRow, record: Described | undefined): boolean {
  if (row.kind === 'hole' || record === undefined) return row.kind === 'hole' && record === undefined
  const { identity } = record
  if (row.kind === 'dead' && !record.storable && (identity === undefined || row.runId === null)) {
    return row.logTimeMs === record.logTimeMs
  }
  // What this consumer cannot store, another version may have stored as an event: its identity alone can be compared.
  if (identity === undefined || identity.runId !== row.runId || identity.runSeq !== row.runSeq) return false
  if (row.eventId === null) return row.logTimeMs === record.logTimeMs
  return !record.storable || row.eventId === record.eventId
}

function mismatch(row: StoredRow, record: Described | undefined, { topic, partition }: Assignment): IntegrityError {
  const stored = `${row.kind} ${nameOf(row.runId, row.runSeq, row.eventId)} of ${new Date(row.logTimeMs).toISOString()}`
  const { identity, eventId = null } = record ?? {}
  const there =
    record === undefined
      ? 'no record'
      : `record ${nameOf(identity?.runId ?? null, identity?.runSeq ?? null, eventId)} of ${timeText(record.logTimeMs)}`
  const message = `offset ${row.offset} of ${topic}/${partition} has the row ${stored}, but the log has ${there}`
  return new IntegrityError('LOG_REPLACED', `${message}: the log was replaced, or ${FORGED}`)
}

function nameOf(runId: string | null, runSeq: number | null, eventId: string | null): string {
  const run = runId === null ? 'without a run' : `${runId}:${runSeq}`
  return eventId === null ? run : `${run} (event ${eventId})`
}

function timeText(ms: number): string {
  const date = new Date(ms)
  return Number.isNaN(date.getTime()) ? `${ms} ms` : date.toISOString()
}
