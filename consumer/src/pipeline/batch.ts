/**
 * A range of offsets of one partition. Each offset becomes one row: an event, or a skipped row with the reason. All rows of a
 * batch have one retention class and one month, so each table takes one insert, into one ClickHouse partition.
 */
import type { LogRecord, LogPartition } from '@agent-audit/kafka'
import { EventBlock, type SkippedRow } from './block.ts'
import type { BufferMemory } from './buffer-memory.ts'
import type { RecordCheck } from './check.ts'
import type { Clock } from './clock.ts'

/** A run with events in a batch. */
export interface BatchRun {
  readonly id: Buffer
  /** 32 hex digits. */
  readonly hex: string
  lowestSeq: number
  highestSeq: number
}

export interface BatchParts {
  readonly memory: BufferMemory
  readonly clock: Clock
  /** Class of the last batch before: a batch without a record whose class is known takes it over. */
  readonly retentionClass: string
}

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
  #deadBytes = 0
  #startedAt = 0
  #month: string | undefined
  readonly #classBefore: string
  #retentionClass: string | undefined
  #run: BatchRun | undefined

  constructor(logPartition: LogPartition, first: number, { memory, clock, retentionClass }: BatchParts) {
    this.block = new EventBlock(logPartition, memory)
    this.#memory = memory
    this.#clock = clock
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

  ageMs(): number {
    return this.#clock.now() - this.#startedAt
  }

  addEvent(record: LogRecord, value: Buffer, verdict: StorableVerdict): void {
    const { head } = verdict
    const run = this.#runOf(value, head.runIdStart)
    if (head.runSeq > run.highestSeq) run.highestSeq = head.runSeq
    else this.unordered = true
    if (head.runSeq < run.lowestSeq) run.lowestSeq = head.runSeq
    this.block.append(value, verdict.bodyStart, verdict.version, record.offset, record.logTimeMs)
    this.eventRuns.push(run)
    this.eventSeqs.push(head.runSeq)
    this.eventOffsets.push(record.offset)
    this.eventTimes.push(record.logTimeMs)
    this.#noteTime(record.logTimeMs)
    this.#advance(record.offset)
  }

  /** Bytes of its rows. Those of duplicates and holes are negligible, and not counted. */
  get bytes(): number {
    return this.block.bytes + this.#deadBytes
  }

  skip(row: SkippedRow): void {
    const record = row.record && copyRecord(row.record)
    this.skipped.push({ ...row, record })
    const bytes = record?.value?.length ?? 0
    this.#deadBytes += bytes
    this.#memory.reserve(bytes)
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

  /** Turns events into skipped rows of kind duplicate. */
  markDuplicates(positions: ReadonlySet<number>): void {
    if (positions.size === 0) return
    for (const position of positions) {
      const [run, offset, logTimeMs] = [
        this.eventRuns[position],
        this.eventOffsets[position] ?? 0,
        this.eventTimes[position] ?? 0,
      ]
      if (run === undefined) continue
      const identity = { runId: run.id, runSeq: this.eventSeqs[position] ?? 0 }
      const reason = 'this run_id and run_seq are stored already'
      this.skipped.push({ kind: 'duplicate', reason, identity, offset, logTimeMs, record: undefined })
    }
    this.block.remove(positions)
  }

  /** Releases its memory. Its rows are gone. */
  release(): void {
    this.block.release()
    this.#memory.release(this.#deadBytes)
    this.#deadBytes = 0
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
    const run = known ?? { id, hex, lowestSeq: Number.POSITIVE_INFINITY, highestSeq: -1 }
    if (known === undefined) this.runs.set(hex, run)
    this.#run = run
    return run
  }
}

type StorableVerdict = Extract<ReturnType<RecordCheck['check']>, { storable: true }>

/** A copy that outlives the record's slice. */
export function copyRecord({ offset, logTimeMs, key, value, headers }: LogRecord): LogRecord {
  const names = Object.entries(headers ?? {}).map(([name, header]) => [name, copyBytes(header)] as const)
  const copied = headers === undefined ? undefined : Object.fromEntries(names)
  return { offset, logTimeMs, key: key && Buffer.from(key), value: value && Buffer.from(value), headers: copied }
}

function copyBytes(header: unknown): unknown {
  return Array.isArray(header) ? header.map(copyBytes) : Buffer.isBuffer(header) ? Buffer.from(header) : header
}
