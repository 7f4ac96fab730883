/**
 * Writes one assigned partition, from the takeover to the release. This file is the protocol from top to bottom.
 *
 *   recover   wait until the previous owner's inserts cannot land, find where the tables end
 *   cut       the next range of offsets, checked record by record
 *   dedupe    records that are in the table already become skipped rows
 *   fence     hold a lease acknowledged for this epoch
 *   insert    events first, then skipped rows: each in one block, together with other partitions (shared-inserts.ts)
 *   seal      with a signing key: say which rows the range has that the group has committed (./sealing)
 *   release   idle or draining: mark the partition clean, so that the next owner need not wait
 *
 * The exceptions:
 *
 *   unclear    recover as from another owner: only this partition waits, and only until the insert cannot land any more
 *   refused    nothing landed, for a reason other than the data: pause, longer each time, and send again
 *   bad data   nothing landed: bisect to find the offenders (bad-data.ts), make them dead letters, go on
 *   stopped    too many dead letters in a row point to a broken deployment, not to bad records: leave the partition clean,
 *              take no record, and check from time to time whether the next one has become good
 *   unreadable the log holds a batch that cannot be unpacked: store what precedes it, then as for stopped
 *   missing    acknowledged rows are not in the tables: no commit goes above them; recover, and write them again
 *   behind     the sealer lacks rows that were stored before: read them again from the log
 *   replaced   a row of an earlier owner is not that of the log: take no record, recover again from time to time
 */
import { type Assignment, type LogSlice, TopicMadeAnewError } from '@agent-audit/kafka'
import { DEFAULT_RETENTION_CLASS, IntegrityError } from '@agent-audit/schemas'
import { PartitionSealer } from './sealing/partition-sealer.ts'
import type { SealTopics } from './sealing/seal-topics.ts'
import { type BadData, bisect, type Bisected, type Written } from './bad-data.ts'
import type { Batch } from './batch.ts'
import type { BufferMemory } from './buffer-memory.ts'
import type { RecordCheck } from './check.ts'
import type { Clock } from './clock.ts'
import { type BatchLimits, cutBatches, oneSlice, type Stop } from './cut.ts'
import { DuplicateFilter } from './duplicates.ts'
import { QuarantinedSince, readCompared } from './compare.ts'
import { Fence, type FenceOptions, type Lease, RowsMissing } from './fence.ts'
import { Idle } from './idle.ts'
import type { PartitionObserver, Replaced } from './observer.ts'
import { recover, type Resume } from './recover.ts'
import { GATHER_MS, type Piece, type SharedInserts } from './shared-inserts.ts'
import type { Sink } from './sink.ts'

export interface WriterOptions extends FenceOptions {
  /** M of the protocol: largest step back of the server's clock, milliseconds. */
  readonly marginMs: number
  readonly limits: BatchLimits
}

export interface WriterParts {
  readonly sink: Sink
  readonly inserts: SharedInserts
  readonly clock: Clock
  readonly memory: BufferMemory
  readonly check: RecordCheck
  readonly observer: PartitionObserver
  /** Undefined: without a signing key. */
  readonly seals?: SealTopics | undefined
  readonly options: WriterOptions
}

/** Pause before a stopped partition looks again at what stopped it, milliseconds. */
const STOPPED_PAUSE_MS = 30_000

/** Why writing batch after batch ended. */
type Ending = Exclude<Written | Bisected, { kind: 'stored' }> | Replaced | { readonly kind: 'behind' }

/**
 * Writes the partition until the assignment ends or drains. Then leaves the partition clean, if it still may.
 * @throws IntegrityError `LOG_TRUNCATED` if the log no longer holds the next record; TopicMadeAnewError;
 * AuditUnavailableError if broker or store are lost.
 */
export async function writePartition(assignment: Assignment, parts: WriterParts): Promise<void> {
  const writer = new PartitionWriter(assignment, parts)
  try {
    await writer.run()
  } catch (error) {
    // Left busy: the next owner recovers from the committed offset, above which the rows are missing.
    if (error instanceof RowsMissing) return parts.observer.rowsMissing(error.range, error.found)
    // A failure after the end of the assignment is expected: the partition has another owner.
    if (!assignment.ended.aborted && !(error instanceof Stopped)) throw error
  }
}

class PartitionWriter {
  readonly #assignment: Assignment
  readonly #parts: WriterParts
  readonly #sealer: PartitionSealer | undefined
  readonly #fence: Fence
  readonly #idle: Idle
  #filter: DuplicateFilter
  /** Progress of the tables. Each written batch moves it. */
  #at: Resume = { next: 0, above: [], readFrom: 0, quarantined: [], deadInARow: 0 }
  /** Of the last written batch. */
  #retentionClass = DEFAULT_RETENTION_CLASS

  constructor(assignment: Assignment, parts: WriterParts) {
    this.#assignment = assignment
    this.#parts = parts
    const { seals } = parts
    const sealer = seals && new PartitionSealer(assignment, { ...parts, seals })
    this.#sealer = sealer
    this.#fence = new Fence(assignment, { ...parts, sealer }, parts.options)
    this.#idle = new Idle(assignment, { ...parts, fence: this.#fence, sealer })
    this.#filter = new DuplicateFilter(assignment, parts.sink)
  }

  async run(): Promise<void> {
    let ending = await this.#attempt(() => this.#goOnAfter(undefined))
    while (ending.kind !== 'drained') {
      const last = ending
      ending = await this.#attempt(() => this.#goOnAfter(last))
    }
    await this.#idle.leave(this.#at)
  }

  async #attempt(work: () => Promise<Ending>): Promise<Ending> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof RowsMissing) {
        this.#parts.observer.rowsMissing(error.range, error.found)
        return { kind: 'unclear' }
      }
      if (error instanceof QuarantinedSince) return { kind: 'unclear' }
      if (error instanceof TopicMadeAnewError) throw error
      const replaced = error instanceof IntegrityError && error.code === 'LOG_REPLACED'
      if (replaced && !this.#assignment.ended.aborted) return { kind: 'replaced', error }
      throw error
    }
  }

  async #recover(): Promise<void> {
    const options = { ...this.#parts.options, sleep: (ms: number) => this.#sleep(ms) }
    const recovered = await recover(this.#assignment, this.#parts.sink, options)
    this.#at = recovered
    this.#idle.recovered(recovered)
    this.#sealer?.recovered(recovered)
    this.#fence.recovered(this.#at.next, this.#at.quarantined)
    this.#parts.observer.recovered(this.#at.next)
    // Start a new filter: the old one was not told of rows that an unclear insert stored, and would let their repeats pass.
    this.#filter = new DuplicateFilter(this.#assignment, this.#parts.sink)
  }

  async #goOnAfter(ending: Ending | undefined): Promise<Ending> {
    const { observer } = this.#parts
    if (ending === undefined) await this.#recover()
    else if (ending.kind === 'unclear') {
      observer.recovering()
      await this.#recover()
    } else if (ending.kind === 'replaced') {
      observer.stopped(ending, this.#at.deadInARow)
      await this.#sleep(STOPPED_PAUSE_MS)
      await this.#recover()
    } else if (ending.kind === 'stopped' || ending.kind === 'unreadable') {
      await this.#idle.leaveClean(this.#at)
      observer.stopped(ending, this.#at.deadInARow)
      await this.#sleep(STOPPED_PAUSE_MS)
    } else if (ending.kind === 'bad-data') {
      const bisected = await this.#bisect(ending)
      if (bisected.kind !== 'stored') return bisected
    }
    return this.#writeOn()
  }

  /** Writes batch after batch, until the assignment drains or a batch is not simply stored. */
  async #writeOn(): Promise<Ending> {
    const reading = new AbortController()
    const compared = (offset: number): void => this.#noteCompared(offset)
    const parts = { ...this.#parts, assignment: this.#assignment, sealer: this.#sealer, compared }
    const slices = readCompared(this.#at, parts, reading.signal)
    const batches = this.#cut(slices)
    let following: ReturnType<typeof batches.next> | undefined
    try {
      for (;;) {
        following ??= batches.next()
        const cut = await this.#idle.nextOrIdle(following, () => this.#at)
        if (cut.done === true) return cut.value ?? { kind: 'drained' }
        // Fill the next batch while this one is inserted, unless memory is short: then one larger batch in the memory of two
        // smaller ones costs the server less, and other partitions fill theirs meanwhile.
        following = this.#parts.memory.roomy ? batches.next() : undefined
        // A failure is handled where this is awaited. Until then it must not count as unhandled.
        following?.catch(() => undefined)
        const written = await this.#write(cut.value)
        if (written.kind !== 'stored') return written
        // Other partitions do not wait for a renewal between two batches.
        await this.#fence.renewEarly(this.#at.next)
        const { next, above } = this.#at
        if (this.#sealer?.isBehind(next) === true && next > (above.at(-1)?.last ?? -1)) return { kind: 'behind' }
      }
    } catch (error) {
      // Three causes: the record is gone unread; retention removed a record that is in the table already; or another owner
      // has the partition and wrote on. Recovery finds out which. In the first case it throws, and stops the consumer.
      if (error instanceof IntegrityError && error.code === 'LOG_TRUNCATED') return { kind: 'unclear' }
      throw error
    } finally {
      reading.abort()
      const cut = await following?.catch(() => undefined)
      if (cut?.done === false) cut.value.release()
      await batches.return(undefined).catch(() => undefined)
      // The reader may be suspended at a slice that is not taken any more. Unless it is closed, it stays the assignment's reader.
      await slices.return().catch(() => undefined)
    }
  }

  #noteCompared(offset: number): void {
    const { next, readFrom } = this.#at
    this.#at = { ...this.#at, readFrom: Math.max(readFrom, Math.min(next, offset)) }
    this.#idle.compared(this.#at)
  }

  #cut(
    slices: AsyncGenerator<LogSlice, void, void>,
    check = this.#parts.check,
  ): AsyncGenerator<Batch, Stop | undefined, void> {
    const { clock, memory, options, inserts } = this.#parts
    const at = { ...this.#at, logPartition: this.#assignment, retentionClass: this.#retentionClass }
    return cutBatches({
      ...at,
      slices,
      check,
      clock,
      memory,
      filter: this.#filter,
      limits: options.limits,
      pace: inserts.pace,
    })
  }

  #bisect(refused: BadData): Promise<Bisected> {
    return bisect(refused, {
      assignment: this.#assignment,
      check: this.#parts.check,
      memory: this.#parts.memory,
      cut: (slice, check) => this.#cut(oneSlice(slice), check),
      write: (batch) => this.#write(batch, true),
    })
  }

  async #write(batch: Batch, alone = false): Promise<Written> {
    try {
      return await this.#writeRows(batch, alone)
    } finally {
      batch.release()
    }
  }

  async #writeRows(batch: Batch, alone: boolean): Promise<Written> {
    this.#parts.observer.writing(batch)
    await this.#assignment.expectSameLog?.()
    batch.markDuplicates(await this.#filter.find(batch))
    // Events first: if the server refuses their data, no row of the batch is in a table yet.
    if (batch.block.count > 0) {
      const events = await this.#insert(batch, { table: 'audit_events', rows: batch.block.close(), alone })
      if (events.kind !== 'stored') return events
    }
    const rows = batch.skipped.length > 0 ? batch.closeSkipped(this.#assignment) : undefined
    if (rows !== undefined) {
      const skipped = await this.#insert(batch, { table: 'audit_skipped', rows, alone })
      if (skipped.kind !== 'stored') return skipped
    }
    this.#sealer?.stored(batch, rows)
    this.#at = { ...this.#at, next: batch.next, readFrom: batch.next, deadInARow: batch.deadInARow }
    this.#retentionClass = batch.retentionClass
    this.#filter.noteStored(batch)
    this.#parts.observer.written(batch)
    return { kind: 'stored' }
  }

  async #insert(batch: Batch, { table, rows, alone }: Pick<Piece, 'table' | 'rows' | 'alone'>): Promise<Written> {
    const { inserts, observer } = this.#parts
    const { first, next, tablePartition } = batch
    const hold = (): Promise<Lease> => this.#fence.hold(first)
    // Before the piece is handed over, and for the time that it waits for others: they would wait for a commit.
    await this.#fence.hold(first, GATHER_MS)
    const outcome = await inserts.insert({
      logPartition: this.#assignment,
      table,
      tablePartition,
      rows,
      alone,
      hold,
      ended: this.#assignment.ended,
      draining: this.#assignment.draining,
      notInserted: (answer) => observer.notInserted(table, answer, { first, last: next - 1 }),
    })
    if (outcome.kind === 'bad-data') return { kind: 'bad-data', first, next, reason: outcome.reason }
    // Left busy: a proxy may keep a copy of the insert that was refused.
    if (outcome.kind === 'stopped') throw new Stopped('stopped waiting')
    return { kind: outcome.kind }
  }

  async #sleep(ms: number): Promise<void> {
    const stop = AbortSignal.any([this.#assignment.ended, this.#assignment.draining])
    await this.#parts.clock.sleep(ms, stop)
    if (stop.aborted) throw new Stopped('stopped waiting')
  }
}

/** A wait was cut short: the assignment has ended, or the consumer drains. */
class Stopped extends Error {}
