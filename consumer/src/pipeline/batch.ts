/**
 * A range of offsets of one partition. Each offset becomes one row: an event, or a skipped row with the reason. All rows of a
 * batch have one retention class and one month, so each table takes one insert, into one ClickHouse partition.
 */
import type { LogRecord, LogPartition } from '@agent-audit/kafka'
import { readEventId } from '@agent-audit/schemas'
import { type EncodedRows, encodeSkipped, EventBlock, type SkippedRow } from './block.ts'
import type { BufferMemory } from './buffer-memory.ts'
import type { RecordCheck } from './check.ts'
import type { Clock } from './clock.ts'
import { bytesAround, copyHeaders, copyRecord } from './copy-record.ts'
import type { StoredRecord } from './sink.ts'

/** A run with events in a batch. */
export interface BatchRun {
  readonly id: Buffer
  /** 32 hex digits. */
  readonly hex: string
  highestSeq: number
  /** Up to this run_seq a record may be a duplicate. */
  readonly suspectUpTo: number
}

/** What the block does not hold of a record that may be a duplicate. */
interface Wrapping {
  /** The bytes in front of the body. */
  readonly frame: Buffer
  readonly key: Buffer | null
  readonly headers: LogRecord['headers']
}

/** A record that has the (run_id, run_seq) of another one, and another event_id: it is not the same record sent again. */
export interface Conflict {
  readonly runId: string
  readonly runSeq: number
  readonly storedOffset: number
  readonly skippedOffset: number
}

/** What is known of the runs in the table and in the batches before. */
export interface SeenRuns {
  /** The highest run_seq of a run, in hex, at which its next record may be a duplicate. */
  suspectUpTo(run: string): number
}

export interface BatchParts {
  readonly memory: BufferMemory
  readonly clock: Clock
  readonly filter: SeenRuns
  /** Class of the last batch before: a batch without a record whose class is known takes it over. */
  readonly retentionClass: string
}

/** What a {@link Wrapping} takes beside its key and headers, about. */
const WRAPPING_BYTES = 200

/** A range of offsets and the rows they become. Holds memory until it is released. */
export class Batch {
  readonly block: EventBlock
  readonly skipped: SkippedRow[] = []
  readonly runs: Map<string, BatchRun> = new Map()
  /** Identity and log position of each event, by position in the block. In columns: an object per event costs too much. */
  readonly eventRuns: BatchRun[] = []
  readonly eventSeqs: number[] = []
  readonly eventOffsets: number[] = []
  readonly eventTimes: number[] = []
  /** Of the duplicates in {@link skipped}. */
  readonly conflicts: Conflict[] = []
  /** Whether some run_seq is not above the earlier ones of its run in the batch: a repeat, or out of order. */
  unordered: boolean = false
  readonly first: number
  /** Offset behind the last one in the batch. */
  next: number
  logEnd: number = 0
  /** Append times of the first and the last of its rows, milliseconds since 1970. */
  firstLogTimeMs: number | undefined
  lastLogTimeMs: number | undefined
  /** Consecutive dead letters at the end of the batch. */
  deadInARow: number = 0
  readonly #memory: BufferMemory
  readonly #clock: Clock
  /** Positions of the events that may be duplicates; and of each the bytes of its body, and what is around it. */
  readonly #suspects: number[] = []
  readonly #bodyBytes: number[] = []
  readonly #wrappings: Wrapping[] = []
  readonly #filter: SeenRuns
  /** Bytes of the records in skipped rows, and all bytes that count as held beside the block. */
  #skippedBytes = 0
  #heldBytes = 0
  #startedAt = 0
  #month: string | undefined
  readonly #classBefore: string
  #retentionClass: string | undefined
  #run: BatchRun | undefined

  constructor(logPartition: LogPartition, first: number, { memory, clock, filter, retentionClass }: BatchParts) {
    this.block = new EventBlock(logPartition, memory)
    this.#memory = memory
    this.#clock = clock
    this.#filter = filter
    this.#classBefore = retentionClass
    this.first = first
    this.next = first
  }

  get isEmpty(): boolean {
    return this.next === this.first
  }

  /** Of all its rows. */
  get retentionClass(): string {
    return this.#retentionClass ?? this.#classBefore
  }

  /** Class and month of all its rows. */
  get tablePartition(): string {
    return `${this.retentionClass} ${this.#month}`
  }

  ageMs(): number {
    return this.#clock.now() - this.#startedAt
  }

  addEvent(record: LogRecord, value: Buffer, verdict: StorableVerdict): void {
    const { head } = verdict
    const run = this.#runOf(value, head.runIdStart)
    if (head.runSeq <= run.suspectUpTo || head.runSeq <= run.highestSeq)
      this.#suspect(record, run, value, verdict.bodyStart)
    if (head.runSeq > run.highestSeq) run.highestSeq = head.runSeq
    else this.unordered = true
    this.block.append(value, verdict.bodyStart, verdict.version, record.offset, record.logTimeMs)
    this.eventRuns.push(run)
    this.eventSeqs.push(head.runSeq)
    this.eventOffsets.push(record.offset)
    this.eventTimes.push(record.logTimeMs)
    this.#noteTime(record.logTimeMs)
    this.#advance(record.offset)
  }

  /** Bytes of its records. */
  get bytes(): number {
    return this.block.bytes + this.#skippedBytes
  }

  /** Positions of the events that may be duplicates: those outside are none. */
  get suspects(): readonly number[] {
    return this.#suspects
  }

  eventIdAt(position: number): string {
    return readEventId(this.block.view(position), 0)
  }

  skip(row: SkippedRow): void {
    this.#push({ ...row, record: row.record && copyRecord(row.record) })
    this.#noteTime(row.logTimeMs)
    this.#advance(row.offset)
  }

  /** Steps over an offset that has its row already. */
  pass(): void {
    this.#advance(this.next)
  }

  /**
   * Whether a row of this month and class may join: both tables are partitioned by class and month, and one insert must not
   * span two partitions. The first row determines the month, the first row whose class is known the class.
   * @param retentionClass - undefined for a hole or a dead letter whose class cannot be read: it follows the batch.
   */
  admits(month: string, retentionClass: string | undefined): boolean {
    if (this.#month !== undefined && this.#month !== month) return false
    if (retentionClass !== undefined && this.#retentionClass !== undefined)
      return this.#retentionClass === retentionClass
    this.#month = month
    this.#retentionClass ??= retentionClass
    return true
  }

  /**
   * Turns events into skipped rows of kind duplicate, which keep the bytes: they may differ from those that are stored.
   * @param duplicates - Positions among {@link suspects}, and the record that each repeats.
   */
  markDuplicates(duplicates: ReadonlyMap<number, StoredRecord>): void {
    if (duplicates.size === 0) return
    const indexes = new Map(this.#suspects.map((position, index) => [position, index]))
    for (const [position, stored] of duplicates) {
      const index = indexes.get(position) ?? -1
      const [run, wrapping] = [this.eventRuns[position], this.#wrappings[index]]
      if (run === undefined || wrapping === undefined) throw new Error(`position ${position} is no suspect`)
      const { runId, runSeq, offset: storedOffset } = stored
      const [offset, logTimeMs] = [this.eventOffsets[position] ?? 0, this.eventTimes[position] ?? 0]
      if (this.eventIdAt(position) !== stored.eventId) {
        this.conflicts.push({ runId, runSeq, storedOffset, skippedOffset: offset })
      }
      const { frame, key, headers } = wrapping
      const value = Buffer.concat([frame, this.block.view(position).subarray(0, this.#bodyBytes[index])])
      const reason = 'this run_id and run_seq are stored already'
      const record = { offset, logTimeMs, key, value, headers }
      this.#push({ kind: 'duplicate', reason, identity: { runId: run.id, runSeq }, offset, logTimeMs, record })
    }
    this.block.remove(duplicates)
  }

  /** Its skipped rows, encoded in the order of their offsets. They count as held memory until the release. */
  closeSkipped(logPartition: LogPartition): EncodedRows {
    // Duplicates are found last.
    this.skipped.sort((one, other) => one.offset - other.offset)
    const rows = encodeSkipped(logPartition, this)
    this.#hold(rows.bytes)
    return rows
  }

  /** Releases its memory. Its rows are gone. */
  release(): void {
    this.block.release()
    this.#memory.release(this.#heldBytes)
    this.#heldBytes = 0
  }

  #push(row: SkippedRow): void {
    this.skipped.push(row)
    const bytes = row.record === undefined ? 0 : (row.record.value?.length ?? 0) + bytesAround(row.record)
    this.#skippedBytes += bytes
    this.#hold(bytes)
  }

  // A run that is new to the filter makes all of its records suspects. Nearly all have the frame of the previous one, the id
  // of the run as their key, and no headers: then nothing is copied, and the records of a run share one object.
  #suspect(record: LogRecord, run: BatchRun, value: Buffer, bodyStart: number): void {
    const last = this.#wrappings.at(-1)
    const frame = isFrameOf(value, bodyStart, last?.frame) ? last.frame : Buffer.from(value.subarray(0, bodyStart))
    const given = record.key
    const key = given?.equals(run.id) === true ? run.id : given && Buffer.from(given)
    const headers = copyHeaders(record.headers)
    const same = last?.frame === frame && last.key === key && last.headers === headers
    const wrapping = same ? last : { frame, key, headers }
    if (!same) this.#hold(WRAPPING_BYTES + bytesAround(wrapping))
    this.#suspects.push(this.eventSeqs.length)
    this.#bodyBytes.push(value.length - bodyStart)
    this.#wrappings.push(wrapping)
  }

  #hold(bytes: number): void {
    this.#heldBytes += bytes
    this.#memory.reserve(bytes)
  }

  #noteTime(logTimeMs: number): void {
    this.firstLogTimeMs ??= logTimeMs
    this.lastLogTimeMs = logTimeMs
  }

  #advance(offset: number): void {
    if (this.isEmpty) this.#startedAt = this.#clock.now()
    this.next = offset + 1
  }

  // Consecutive records mostly belong to one run: comparing 16 bytes with the previous run is far cheaper than a look-up.
  #runOf(value: Buffer, start: number): BatchRun {
    const last = this.#run
    if (last !== undefined && value.compare(last.id, 0, 16, start, start + 16) === 0) return last
    const hex = value.toString('hex', start, start + 16)
    const known = this.runs.get(hex)
    const id = Buffer.from(value.subarray(start, start + 16))
    const run = known ?? { id, hex, highestSeq: -1, suspectUpTo: this.#filter.suspectUpTo(hex) }
    if (known === undefined) this.runs.set(hex, run)
    this.#run = run
    return run
  }
}

type StorableVerdict = Extract<ReturnType<RecordCheck['check']>, { storable: true }>

/** Byte by byte: for so few it is cheaper than a call of Buffer.compare. */
function isFrameOf(value: Buffer, bodyStart: number, frame: Buffer | undefined): frame is Buffer {
  if (frame?.length !== bodyStart) return false
  for (let index = 0; index < bodyStart; index++) if (value[index] !== frame[index]) return false
  return true
}
