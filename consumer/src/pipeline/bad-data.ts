/**
 * Bisects a range that the server refuses because of its data, though every record of it passed the check. The check does not
 * know the cause, such as a constraint that an operator added to the table.
 *
 *   read     the range again: a batch keeps no records, and a refused range is rare
 *   decode   each record once; a record that does not decode is an offender: this finds all of those in one pass
 *   write    the range again, without the offenders
 *   halve    a range that is still refused, until it is one record: that one is an offender, with the server's reason
 *
 * An offender becomes a dead letter. Ranges are written in log order: every offset below the current range is accounted for,
 * and none above it.
 */
import type { Assignment, LogRecord, LogSlice } from '@agent-audit/kafka'
import { decodeRecord, readIdentity } from '@agent-audit/schemas'
import type { Batch } from './batch.ts'
import type { BufferMemory } from './buffer-memory.ts'
import type { RecordCheck } from './check.ts'
import { copyRecord } from './copy-record.ts'
import { type Stop, unreadable } from './cut.ts'

/** A refused range `[first, next)`, and the server's reason. */
export interface BadData {
  readonly kind: 'bad-data'
  readonly first: number
  readonly next: number
  readonly reason: string
}

/** The result of writing a batch. After `bad-data` none of its rows is in a table. */
export type Written = { readonly kind: 'stored' } | { readonly kind: 'unclear' } | BadData

export interface BisectParts {
  readonly assignment: Assignment
  readonly check: RecordCheck
  /** Records that are read again count into it. */
  readonly memory: BufferMemory
  /** Cuts a slice into batches. */
  readonly cut: (slice: LogSlice, check: RecordCheck) => AsyncGenerator<Batch, Stop | undefined, void>
  readonly write: (batch: Batch) => Promise<Written>
}

type Range = Pick<BadData, 'first' | 'next'>
export type Bisected = { readonly kind: 'stored' } | { readonly kind: 'unclear' } | { readonly kind: 'drained' } | Stop

/** Writes a refused range, its offenders as dead letters. `drained`: reading ended before the whole range came; no insert is pending. */
export async function bisect(refused: BadData, parts: BisectParts): Promise<Bisected> {
  const slice = await readAgain(parts.assignment, refused).catch(unreadable)
  if (slice === undefined) return { kind: 'drained' }
  if ('kind' in slice) return slice
  const bytes = slice.records.reduce((sum, { value }) => sum + (value?.length ?? 0), 0)
  parts.memory.reserve(bytes)
  try {
    return await bisectSlice(slice, refused, parts)
  } finally {
    parts.memory.release(bytes)
  }
}

async function bisectSlice(slice: LogSlice, refused: BadData, parts: BisectParts): Promise<Bisected> {
  const offenders = new Map<number, string>()
  await findUndecodable(slice.records, parts.check, offenders)
  const check = withOffenders(parts.check, offenders)
  const waiting = offenders.size > 0 ? [refused] : narrow(refused, offenders)
  for (let part = waiting.shift(); part !== undefined; part = waiting.shift()) {
    const written = await writePart(parts.cut(within(slice, part), check), parts.write)
    if (written.kind === 'stored') continue
    if (written.kind !== 'bad-data') return written
    // The rest of the range is cut again, too: only now is known how many dead letters precede it.
    waiting.unshift(...narrow(written, offenders), { first: written.next, next: part.next })
  }
  return { kind: 'stored' }
}

async function writePart(
  batches: ReturnType<BisectParts['cut']>,
  write: BisectParts['write'],
): Promise<Bisected | BadData> {
  try {
    for (;;) {
      const { value, done } = await batches.next()
      if (done === true) return value ?? { kind: 'stored' }
      const written = await write(value)
      if (written.kind !== 'stored') return written
    }
  } finally {
    await batches.return(undefined)
  }
}

function narrow({ first, next, reason }: BadData, offenders: Map<number, string>): Range[] {
  if (next - first > 1) {
    const middle = first + Math.floor((next - first) / 2)
    return [
      { first, next: middle },
      { first: middle, next },
    ]
  }
  offenders.set(first, `refused by ClickHouse: ${reason}`)
  return [{ first, next }]
}

async function readAgain(assignment: Assignment, { first, next }: Range): Promise<LogSlice | undefined> {
  const until = new AbortController()
  const records: LogRecord[] = []
  try {
    for await (const slice of assignment.read(first, until.signal)) {
      for (const record of slice.records) if (record.offset < next) records.push(copyRecord(record))
      if (slice.nextOffset >= next) return { firstOffset: first, records, nextOffset: next, logEnd: slice.logEnd }
    }
    return undefined
  } finally {
    until.abort()
  }
}

function within(slice: LogSlice, { first, next }: Range): LogSlice {
  const records = slice.records.filter(({ offset }) => offset >= first && offset < next)
  return { firstOffset: first, records, nextOffset: next, logEnd: slice.logEnd }
}

async function findUndecodable(
  records: readonly LogRecord[],
  check: RecordCheck,
  offenders: Map<number, string>,
): Promise<void> {
  await check.prepare(records)
  for (const record of records) {
    const verdict = check.check(record)
    if (!verdict.storable || record.value === null) continue
    try {
      decodeRecord(verdict.version, record.value, verdict.bodyStart)
    } catch (error) {
      offenders.set(record.offset, `does not decode: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
}

function withOffenders(check: RecordCheck, offenders: ReadonlyMap<number, string>): RecordCheck {
  return {
    prepare: (records) => check.prepare(records),
    check(record) {
      const verdict = check.check(record)
      const reason = offenders.get(record.offset)
      if (reason === undefined || !verdict.storable || record.value === null) return verdict
      const { retentionClass } = verdict.head
      return { storable: false, reason, identity: readIdentity(record.value, verdict.bodyStart), retentionClass }
    },
  }
}
