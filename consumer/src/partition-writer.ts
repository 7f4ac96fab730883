/**
 * Writes one claimed partition, from taking it over to handing it on: the protocol, read from top to bottom.
 *
 *   recover   wait out the owner before, look where the tables end
 *   cut       the next range of offsets, checked record by record
 *   dedupe    what is in the table already becomes skipped rows
 *   fence     hold a lease acknowledged for this epoch
 *   insert    skipped rows first, then events: one block, one partition, all or nothing
 *   release   idle or draining: mark the partition clean, so that the next owner need not wait
 *
 * After an unclear insert the partition is recovered as if from another owner: only it waits, and only until what was
 * sent can no longer land.
 */
import { randomBytes } from 'node:crypto'
import { IntegrityError } from '@agent-audit/schemas'
import { type Batch, type BatchLimits, cutBatches } from './batch.ts'
import { encodeSkipped } from './block.ts'
import type { RecordCheck } from './check.ts'
import type { Clock } from './clock.ts'
import { DuplicateFilter } from './duplicates.ts'
import { Fence, type FenceOptions } from './fence.ts'
import type { PartitionObserver } from './metrics.ts'
import { recover, type Resume } from './recover.ts'
import { insertPrefix, type Sink, type Table } from './sink.ts'
import type { Claim, LogSlice } from './source.ts'

export interface WriterOptions extends FenceOptions {
  /** M of the protocol: largest step back of the server's clock, milliseconds. */
  readonly marginMs: number
  readonly limits: BatchLimits
}

export interface WriterParts {
  readonly sink: Sink
  readonly clock: Clock
  readonly check: RecordCheck
  readonly observer: PartitionObserver
  readonly options: WriterOptions
}

/** How long a refused insert rests before it is tried again, milliseconds. */
const REFUSED_REST_MS = 1000

/**
 * Writes the partition until the claim ends or its log drains; then, if it still may, leaves it clean.
 * @throws IntegrityError if log and table do not belong together; AuditUnavailableError if broker or store are lost.
 */
export async function writePartition(claim: Claim, parts: WriterParts): Promise<void> {
  const writer = new PartitionWriter(claim, parts)
  try {
    while (!(await writer.run())) parts.observer.recovering()
  } catch (error) {
    // What fails because the claim has ended is nobody's fault: the partition belongs to somebody else now.
    if (!claim.ended.aborted && !(error instanceof Stopped)) throw error
  }
}

class PartitionWriter {
  readonly #claim: Claim
  readonly #parts: WriterParts
  readonly #fence: Fence
  readonly #filter: DuplicateFilter

  constructor(claim: Claim, parts: WriterParts) {
    this.#claim = claim
    this.#parts = parts
    this.#fence = new Fence(claim, parts, parts.options)
    this.#filter = new DuplicateFilter(claim, parts.sink)
  }

  /** Returns true when the log has drained, false when an insert went unclear: recover and go on. */
  async run(): Promise<boolean> {
    const { check, sink, clock, options } = this.#parts
    const resume = await recover(this.#claim, sink, { ...options, sleep: (ms) => this.#sleep(ms) })
    const reading = new AbortController()
    const slices = this.#verified(resume, reading.signal)
    const batches = cutBatches({ place: this.#claim, slices, ...resume, check, clock, limits: options.limits })
    let next = resume.next
    try {
      // One batch is made while the one before is inserted.
      let following = batches.next()
      for (;;) {
        const cut = await this.#nextOrIdle(following, next, resume)
        if (cut.done === true) break
        following = batches.next()
        // Its failure is met when it is awaited; until then it must not count as unhandled.
        following.catch(() => undefined)
        if (!(await this.#write(cut.value))) return false
        next = cut.value.next
      }
      if (this.#mayRelease(next, resume)) await this.#fence.release(next)
      return true
    } finally {
      reading.abort()
      await batches.return().catch(() => undefined)
    }
  }

  // While nothing comes, the lease is given up: an idle partition is clean, and no commit is sent for nothing.
  async #nextOrIdle<T>(following: Promise<T>, next: number, resume: Resume): Promise<T> {
    if (!this.#fence.held) return following
    const idle = Symbol('idle')
    const wait = new AbortController()
    const { clock } = this.#parts
    const timer = clock.sleep(Math.max(0, this.#fence.renewAt - clock.now()), wait.signal).then(() => idle)
    try {
      const first = await Promise.race([following, timer])
      if (first !== idle) return first as T
    } finally {
      wait.abort()
    }
    if (this.#mayRelease(next, resume)) await this.#fence.release(next)
    return following
  }

  #mayRelease(next: number, resume: Resume): boolean {
    return this.#fence.held && !this.#claim.ended.aborted && next > (resume.above.at(-1)?.last ?? -1)
  }

  /** Returns false if an insert went unclear or was refused: what of the batch is in the table must be looked up. */
  async #write(batch: Batch): Promise<boolean> {
    batch.markDuplicates(await this.#filter.find(batch))
    if (batch.skipped.length > 0) {
      if (!(await this.#insert('audit_skipped', [encodeSkipped(this.#claim, batch.skipped)], batch))) return false
    }
    if (batch.block.count > 0) {
      if (!(await this.#insert('audit_events', [batch.block.close()], batch))) return false
    }
    this.#filter.noteStored(batch)
    this.#parts.observer.written(batch)
    return true
  }

  async #insert(table: Table, body: readonly Buffer[], batch: Batch): Promise<boolean> {
    const { sink, clock, observer } = this.#parts
    const lease = await this.#fence.hold(batch.first)
    const queryId = `${insertPrefix(this.#claim)}${batch.first}-${randomBytes(8).toString('hex')}`
    const startedAt = clock.now()
    const answer = await sink.insert({ table, body, queryId, ...lease })
    if (answer.kind === 'stored') {
      observer.inserted(table, clock.now() - startedAt)
      return true
    }
    observer.notInserted(table, answer, { first: batch.first, last: batch.next - 1 })
    if (answer.kind === 'refused') await this.#sleep(REFUSED_REST_MS)
    return false
  }

  async #sleep(ms: number): Promise<void> {
    const stop = AbortSignal.any([this.#claim.ended, this.#claim.draining])
    await this.#parts.clock.sleep(ms, stop)
    if (stop.aborted) throw new Stopped('stopped waiting')
  }

  /**
   * The slices from `readFrom` on. Where that is the offset below `next`, its record is compared with the row there and
   * left out: a log that was replaced by another of the same name shows here.
   */
  async *#verified({ next, readFrom }: Resume, until: AbortSignal): AsyncGenerator<LogSlice, void, void> {
    let compared = readFrom === next
    for await (const slice of this.#claim.read(readFrom, until)) {
      if (!compared) await this.#expectSame(slice, readFrom)
      compared = true
      yield slice
    }
  }

  async #expectSame(slice: LogSlice, offset: number): Promise<void> {
    const row = await this.#parts.sink.identityAt(this.#claim, offset)
    const record = slice.records[0]
    if (row === undefined || record === undefined || record.offset !== offset) return
    await this.#parts.check.prepare([record])
    const verdict = this.#parts.check.check(record)
    if (!verdict.storable || record.value === null) return
    const { runIdStart, runSeq } = verdict.head
    const runId = record.value.toString('hex', runIdStart, runIdStart + 16)
    if (runId === row.runId && runSeq === row.runSeq) return
    const where = `offset ${offset} of ${this.#claim.topic}/${this.#claim.partition}`
    throw new IntegrityError('LOG_REPLACED', `the record at ${where} is not the one in the table: the log was replaced`)
  }
}

/** Waiting was given up, since the claim has ended or the consumer drains. */
class Stopped extends Error {}
