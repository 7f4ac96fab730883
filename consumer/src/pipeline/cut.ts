/** Stage: cuts the log of one partition into batches. */
import type { LogPartition, LogRecord, LogSlice } from '@agent-audit/kafka'
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import { Batch } from './batch.ts'
import type { BufferMemory } from './buffer-memory.ts'
import type { RecordCheck } from './check.ts'
import { type Clock, orTimeIsUp, TIME_IS_UP } from './clock.ts'
import type { DuplicateFilter } from './duplicates.ts'
import type { Pace } from './pace.ts'
import type { OffsetRange } from './sink.ts'

export interface BatchLimits {
  readonly maxEvents: number
  /** Bytes of the block for ClickHouse, before compression. */
  readonly maxBytes: number
  /** Consecutive dead letters that are allowed. The count goes on across batches. */
  readonly maxDeadInARow: number
}

/** The record that cutting stopped at: it would be one dead letter too many in a row. */
export interface DeadStop {
  readonly kind: 'stopped'
  readonly offset: number
  readonly logTimeMs: number
  /** Why the record cannot be stored. */
  readonly reason: string
}

/** The log holds a batch that cannot be unpacked. Every record before it was cut. */
export interface Unreadable {
  readonly kind: 'unreadable'
  /** `BATCH_UNREADABLE`, with the offsets and the reason. */
  readonly error: IntegrityError
}

/** Why cutting stopped. */
export type Stop = DeadStop | Unreadable

/** @throws any other error */
export function unreadable(error: unknown): Unreadable {
  if (error instanceof IntegrityError && error.code === 'BATCH_UNREADABLE') return { kind: 'unreadable', error }
  throw error
}

/** The cutter's view of an assignment: its partition, its records, and the offsets that are accounted for already. */
export interface CutInput {
  readonly logPartition: LogPartition
  readonly slices: AsyncGenerator<LogSlice, void, void>
  readonly next: number
  readonly above: readonly OffsetRange[]
  /** Consecutive dead letters just below `next`. */
  readonly deadInARow: number
  /** Class of the last batch below `next`. */
  readonly retentionClass: string
  /** Says which records may be duplicates: the batch keeps all of their bytes. */
  readonly filter: Pick<DuplicateFilter, 'suspectUpTo' | 'noteCut'>
  readonly check: RecordCheck
  readonly limits: BatchLimits
  readonly pace: Pace
  readonly memory: BufferMemory
  readonly clock: Clock
}

/**
 * Yields whole batches: the offsets of each follow on the previous batch, except those in `above`. The caller releases each
 * batch.
 * @returns undefined once the slices end, else why cutting stopped.
 */
export async function* cutBatches(input: CutInput): AsyncGenerator<Batch, Stop | undefined, void> {
  const { logPartition, clock, pace } = input
  const cursor = new Cursor(input)
  let batch = new Batch(logPartition, input.next, input)
  let cutAt: number | undefined
  // All partitions are cut at one moment. A batch that has not reached the end of the log fills on: it will be a large one.
  const timeLeft = (): number => {
    cutAt ??= pace.cutAt(clock.now())
    return batch.next < batch.logEnd ? pace.ageMs - batch.ageMs() : cutAt - clock.now()
  }
  // The caller owns the batch from here on, and may ask for the next one while it writes this one.
  const handOver = (): Batch => {
    const cut = batch
    cutAt = undefined
    input.filter.noteCut(cut)
    batch = new Batch(logPartition, cut.next, { ...input, retentionClass: cut.retentionClass })
    return cut
  }
  let pending = input.slices.next()
  try {
    for (;;) {
      const leftMs = batch.isEmpty ? undefined : timeLeft()
      const slice = await orTimeIsUp(pending, leftMs, clock).catch(unreadable)
      if (slice === TIME_IS_UP || 'kind' in slice || slice.done === true) {
        if (!batch.isEmpty) yield handOver()
        if (slice === TIME_IS_UP) continue
        return 'kind' in slice ? slice : undefined
      }
      await input.check.prepare(slice.value.records)
      cursor.take(slice.value)
      while (!cursor.fill(batch)) {
        if (!batch.isEmpty) yield handOver()
        if (cursor.stop !== undefined) return cursor.stop
      }
      // Request the next slice only now: the request ends the current one, whose memory counts until then.
      pending = input.slices.next()
      // A failure is handled where this is awaited. Until then it must not count as unhandled.
      pending.catch(() => undefined)
    }
  } finally {
    batch.release()
  }
}

/** Walks a slice offset by offset, and stops where a batch is full. */
class Cursor {
  readonly #input: CutInput
  #above: readonly OffsetRange[]
  #slice: LogSlice
  #index = 0
  #deadInARow: number
  /** Set at a record that must not be taken. No record is taken from then on. */
  stop: DeadStop | undefined

  constructor(input: CutInput) {
    this.#input = input
    this.#above = input.above
    this.#slice = { firstOffset: input.next, records: [], nextOffset: input.next, logEnd: 0 }
    this.#deadInARow = input.deadInARow
  }

  /** @throws AuditUnavailableError `LOG_UNAVAILABLE` if the slice does not follow on the previous one. */
  take(slice: LogSlice): void {
    // The offsets between them would count as holes, and their records be lost.
    if (slice.firstOffset > this.#slice.nextOffset) {
      const skipped = `${this.#slice.nextOffset} to ${slice.firstOffset - 1}`
      throw new AuditUnavailableError('LOG_UNAVAILABLE', `offsets ${skipped} were not delivered: reading again`)
    }
    this.#slice = slice
    this.#index = 0
  }

  /** Moves records into the batch. @returns false if the batch has to be written first. */
  fill(batch: Batch): boolean {
    batch.logEnd = this.#slice.logEnd
    batch.deadInARow = this.#deadInARow
    for (;;) {
      const record = this.#slice.records[this.#index]
      const target = record?.offset ?? this.#slice.nextOffset
      while (batch.next < target) {
        if (this.#isFull(batch)) return false
        if (!this.#stepOver(batch, record)) return false
      }
      if (record === undefined) return true
      if (record.offset === batch.next && !this.#isAccounted(batch)) {
        if (this.#isFull(batch) || !this.#add(batch, record)) return false
      }
      this.#index++
    }
  }

  // A block may hold as many bytes as are free for all (buffer-memory.ts).
  #isFull(batch: Batch): boolean {
    const { limits, memory } = this.#input
    if (batch.isEmpty) return false
    if (batch.block.count + batch.skipped.length >= limits.maxEvents) return true
    return batch.bytes >= Math.min(limits.maxBytes, memory.freeBytes)
  }

  /** Steps over an offset without a record: accounted for already, or a hole. @returns false if it belongs to the next batch. */
  #stepOver(batch: Batch, following: LogRecord | undefined): boolean {
    if (this.#isAccounted(batch)) return true
    const logTimeMs = following?.logTimeMs ?? this.#slice.records.at(-1)?.logTimeMs ?? this.#input.clock.wallMs()
    if (!batch.admits(monthOf(logTimeMs), undefined)) return false
    const reason = 'the log has no record at this offset'
    batch.skip({ kind: 'hole', reason, identity: undefined, offset: batch.next, logTimeMs, record: undefined })
    return true
  }

  // An owner that died between two inserts wrote the ranges above the first gap: leave them out.
  #isAccounted(batch: Batch): boolean {
    while ((this.#above[0]?.last ?? Number.POSITIVE_INFINITY) < batch.next) this.#above = this.#above.slice(1)
    const range = this.#above[0]
    if (range === undefined || range.first > batch.next) return false
    batch.pass()
    return true
  }

  #add(batch: Batch, record: LogRecord): boolean {
    const { value, offset, logTimeMs } = record
    const verdict = this.#input.check.check(record)
    const { retentionClass } = verdict.storable ? verdict.head : verdict
    if (!verdict.storable && this.#deadInARow >= this.#input.limits.maxDeadInARow) {
      this.stop = { kind: 'stopped', offset, logTimeMs, reason: verdict.reason }
      return false
    }
    if (!batch.admits(monthOf(logTimeMs), retentionClass)) return false
    if (verdict.storable && value !== null) {
      batch.addEvent(record, value, verdict)
      if (verdict.head.reportsLoss) batch.block.lossReports++
    } else if (!verdict.storable) {
      batch.skip({ kind: 'dead', reason: verdict.reason, identity: verdict.identity, offset, logTimeMs, record })
    }
    this.#deadInARow = verdict.storable ? 0 : this.#deadInARow + 1
    batch.deadInARow = this.#deadInARow
    return true
  }
}

let cachedMonth = { from: 0, to: 0, key: '' }

/** The month in UTC, as toYYYYMM has it. */
function monthOf(logTimeMs: number): string {
  if (logTimeMs < cachedMonth.from || logTimeMs >= cachedMonth.to) {
    const date = new Date(logTimeMs)
    const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()]
    cachedMonth = { from: Date.UTC(year, month), to: Date.UTC(year, month + 1), key: `${year}-${month + 1}` }
  }
  return cachedMonth.key
}

/** A slice that is at hand, as a reader gives it. */
export async function* oneSlice(slice: LogSlice): AsyncGenerator<LogSlice, void, void> {
  yield slice
}
