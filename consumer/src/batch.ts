/**
 * Stage: cuts the log of one partition into batches. A batch is a range of offsets, each of which becomes one row: an
 * event, or a skipped row that says why it is none. All rows of a batch lie in one ClickHouse partition per table, so
 * each table takes one insert.
 */
import { EventBlock, type SkippedRow } from './block.ts'
import type { RecordCheck } from './check.ts'
import { type Clock, orTimeIsUp, TIME_IS_UP } from './clock.ts'
import type { OffsetRange } from './sink.ts'
import type { LogPlace, LogRecord, LogSlice } from './source.ts'

export interface BatchLimits {
  readonly maxEvents: number
  /** Of the block sent to ClickHouse, before its compression. */
  readonly maxBytes: number
  /** From the first offset in the batch, milliseconds. */
  readonly maxAgeMs: number
  /** Dead letters that may follow one another; what lies between two batches counts on. */
  readonly maxDeadInARow: number
}

/** Why cutting ended though the log goes on: this record would be one dead letter too many in a row. */
export interface DeadStop {
  readonly offset: number
  /** Why the record cannot be stored. */
  readonly reason: string
}

/** A run that has events in a batch. */
export interface BatchRun {
  readonly id: Buffer
  /** 32 hex digits. */
  readonly hex: string
  highestSeq: number
}

/** Who an event in the block is, and where it lay. */
export interface BatchEvent {
  readonly run: BatchRun
  readonly runSeq: number
  readonly offset: number
  readonly logTimeMs: number
}

/** A range of offsets and the rows they become. */
export class Batch {
  readonly block: EventBlock
  readonly skipped: SkippedRow[] = []
  readonly runs: Map<string, BatchRun> = new Map()
  /** By position in the block. */
  readonly events: BatchEvent[] = []
  /** Positions whose run_seq is not above those of their run before it in the batch: repeats, or out of order. */
  readonly unordered: number[] = []
  readonly first: number
  /** Offset after the last one in the batch. */
  next: number
  logEnd: number = 0
  /** Dead letters in a row at its end. */
  deadInARow: number = 0
  readonly #clock: Clock
  #startedAt = 0
  #month: string | undefined
  #retentionClass: string | undefined
  #run: BatchRun | undefined

  constructor(block: EventBlock, first: number, clock: Clock) {
    block.reset()
    this.#clock = clock
    this.block = block
    this.first = first
    this.next = first
  }

  get isEmpty(): boolean {
    return this.next === this.first
  }

  ageMs(): number {
    return this.#clock.now() - this.#startedAt
  }

  isFull(limits: BatchLimits): boolean {
    return this.block.count + this.skipped.length >= limits.maxEvents || this.block.bytes >= limits.maxBytes
  }

  addEvent(record: LogRecord, value: Buffer, verdict: StorableVerdict): void {
    const { head } = verdict
    const run = this.#runOf(value, head.runIdStart)
    if (head.runSeq > run.highestSeq) run.highestSeq = head.runSeq
    else this.unordered.push(this.block.count)
    this.block.append(value, verdict.bodyStart, verdict.version, record.offset, record.logTimeMs)
    this.events.push({ run, runSeq: head.runSeq, offset: record.offset, logTimeMs: record.logTimeMs })
    this.#advance(record.offset)
  }

  skip(row: SkippedRow): void {
    this.skipped.push(row)
    this.#advance(row.offset)
  }

  /** An offset that has its row already. */
  pass(): void {
    this.#advance(this.next)
  }

  /**
   * Whether a row of this time may join, and of this class if it is an event: audit_events is partitioned by class and
   * month, audit_skipped by month, and one insert must not span two partitions. Joining settles what the batch has.
   */
  admits(month: string, retentionClass: string | undefined): boolean {
    if (this.#month !== undefined && this.#month !== month) return false
    if (retentionClass !== undefined && this.#retentionClass !== undefined)
      return this.#retentionClass === retentionClass
    this.#month = month
    this.#retentionClass ??= retentionClass
    return true
  }

  /** Turns events into skipped rows of kind duplicate. */
  markDuplicates(positions: ReadonlySet<number>): void {
    if (positions.size === 0) return
    for (const position of positions) {
      const event = this.events[position]
      if (event === undefined) continue
      const identity = { runId: event.run.id, runSeq: event.runSeq }
      const reason = 'this run_id and run_seq are stored already'
      const { offset, logTimeMs } = event
      this.skipped.push({ kind: 'duplicate', reason, identity, offset, logTimeMs, record: undefined })
    }
    this.block.remove(positions)
  }

  #advance(offset: number): void {
    if (this.isEmpty) this.#startedAt = this.#clock.now()
    this.next = offset + 1
  }

  // Records of a run come in stretches: comparing 16 bytes with the run before is far cheaper than a look-up.
  #runOf(value: Buffer, start: number): BatchRun {
    const last = this.#run
    if (last !== undefined && value.compare(last.id, 0, 16, start, start + 16) === 0) return last
    const hex = value.toString('hex', start, start + 16)
    const known = this.runs.get(hex)
    const run = known ?? { id: Buffer.from(value.subarray(start, start + 16)), hex, highestSeq: -1 }
    if (known === undefined) this.runs.set(hex, run)
    this.#run = run
    return run
  }
}

type StorableVerdict = Extract<ReturnType<RecordCheck['check']>, { storable: true }>

/** What the cutter needs to know of a claim: its place, its records, and what of them is accounted for already. */
export interface CutInput {
  readonly place: LogPlace
  readonly slices: AsyncGenerator<LogSlice, void, void>
  readonly next: number
  readonly above: readonly OffsetRange[]
  /** Dead letters in a row just below `next`. */
  readonly deadInARow: number
  readonly check: RecordCheck
  readonly limits: BatchLimits
  readonly clock: Clock
}

/**
 * Yields batches, each whole: its offsets follow on the batch before, but for those in `above`. A batch uses the memory
 * of the one before the last, so at most two may be in use.
 * @returns undefined at the end of the log; else why the record after the last batch must not be taken.
 */
export async function* cutBatches(input: CutInput): AsyncGenerator<Batch, DeadStop | undefined, void> {
  const blocks = [new EventBlock(input.place), new EventBlock(input.place)] as const
  let turn = 0
  let batch = new Batch(blocks[0], input.next, input.clock)
  const startNext = (): Batch => new Batch(blocks[++turn % 2 === 0 ? 0 : 1], batch.next, input.clock)
  const cursor = new Cursor(input)
  let pending = input.slices.next()
  for (;;) {
    const left = batch.isEmpty ? undefined : input.limits.maxAgeMs - batch.ageMs()
    const slice = await orTimeIsUp(pending, left, input.clock)
    if (slice === TIME_IS_UP || slice.done === true) {
      if (!batch.isEmpty) yield batch
      if (slice !== TIME_IS_UP) return undefined
      batch = startNext()
      continue
    }
    pending = input.slices.next()
    // Its failure is met when it is awaited; until then it must not count as unhandled.
    pending.catch(() => undefined)
    await input.check.prepare(slice.value.records)
    cursor.take(slice.value)
    while (!cursor.fill(batch)) {
      if (!batch.isEmpty) yield batch
      if (cursor.stop !== undefined) return cursor.stop
      batch = startNext()
    }
  }
}

/** Walks a slice offset by offset, and stops where a batch is full. */
class Cursor {
  readonly #input: CutInput
  #above: readonly OffsetRange[]
  #slice: LogSlice = { records: [], nextOffset: 0, logEnd: 0 }
  #index = 0
  #deadInARow: number
  /** Set once a record came that must not be taken: nothing is taken from then on. */
  stop: DeadStop | undefined

  constructor(input: CutInput) {
    this.#input = input
    this.#above = input.above
    this.#deadInARow = input.deadInARow
  }

  take(slice: LogSlice): void {
    this.#slice = slice
    this.#index = 0
  }

  /** Moves records into the batch; false if the batch has to be written first. */
  fill(batch: Batch): boolean {
    const { limits } = this.#input
    batch.logEnd = this.#slice.logEnd
    batch.deadInARow = this.#deadInARow
    for (;;) {
      const record = this.#slice.records[this.#index]
      const target = record?.offset ?? this.#slice.nextOffset
      while (batch.next < target) {
        if (batch.isFull(limits)) return false
        if (!this.#stepOver(batch, record)) return false
      }
      if (record === undefined) return true
      if (record.offset === batch.next && !this.#isAccounted(batch)) {
        if (batch.isFull(limits) || !this.#add(batch, record)) return false
      }
      this.#index++
    }
  }

  /** An offset without a record: accounted for already, or a hole. False if it belongs to the next batch. */
  #stepOver(batch: Batch, following: LogRecord | undefined): boolean {
    if (this.#isAccounted(batch)) return true
    const logTimeMs = following?.logTimeMs ?? this.#slice.records.at(-1)?.logTimeMs ?? this.#input.clock.wallMs()
    if (!batch.admits(monthOf(logTimeMs), undefined)) return false
    const reason = 'the log has no record at this offset'
    batch.skip({ kind: 'hole', reason, identity: undefined, offset: batch.next, logTimeMs, record: undefined })
    return true
  }

  // Ranges above the first gap were written by an owner that died between two inserts: leave them out.
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
    const retentionClass = verdict.storable ? verdict.head.retentionClass : undefined
    if (!verdict.storable && this.#deadInARow >= this.#input.limits.maxDeadInARow) {
      this.stop = { offset, reason: verdict.reason }
      return false
    }
    if (!batch.admits(monthOf(logTimeMs), retentionClass)) return false
    if (verdict.storable && value !== null) batch.addEvent(record, value, verdict)
    else if (!verdict.storable) {
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
