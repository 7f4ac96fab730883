/**
 * Seals one partition: says with the consumer's key which rows each range of offsets has (docs/adr/0057-what-a-consumer-seals.md).
 *
 * Ranges touch, and follow from what the group has committed, so that an owner after a crash makes the very same seals:
 *
 *   A commit of `next` says how far the partition is sealed (S), and, while the seal of a range may be on its way to its topic,
 *   where that range ends (E): `sealed S <hash> to E`.
 *   Once a commit without an E is acknowledged, the next range is (S, next - 1]. Every later commit carries that E until the
 *   topic has the seal. So at any time at most one seal is under way, and the newest commit tells which one.
 *   The next owner makes that seal first: (S, E], or else (S, committed next - 1].
 *
 * The hash of a range runs along with the inserts. Whenever it is not known to be exactly the rows of its range (after a takeover,
 * an unclear insert, rows of an earlier owner above a gap, a row in quarantine), the range is read from the log again and its
 * rows are made again. Where that cannot be done, the range is named and left out: a new chain begins behind it.
 */
import type { Assignment, Committed, LogSlice } from '@agent-audit/kafka'
import { formatConsumerSeal } from '@agent-audit/seals'
import { createHash } from 'node:crypto'
import type { Batch } from '../batch.ts'
import type { EncodedRows } from '../block.ts'
import type { BufferMemory } from '../buffer-memory.ts'
import type { RecordCheck } from '../check.ts'
import { formatProgress, readMetadata, type SealProgress } from '../commit-metadata.ts'
import type { PartitionObserver } from '../observer.ts'
import type { OffsetRange, Sink, StoredRow } from '../sink.ts'
import { RangeDigest, type RangeRows } from './range-digest.ts'
import { CannotRebuild, rebuildRows } from './rebuild.ts'
import type { SealTopics } from './seal-topics.ts'

export interface SealerParts {
  readonly seals: SealTopics
  readonly sink: Sink
  readonly check: RecordCheck
  readonly memory: BufferMemory
  readonly observer: Pick<PartitionObserver, 'sealsBegin' | 'sealed' | 'unsealed'>
}

/** Rows of the tables that are asked for at once, for the slices to come. */
const ROWS_AHEAD = 2 ** 14

export class PartitionSealer {
  readonly #assignment: Assignment
  readonly #parts: SealerParts
  /** The newest seal that its topic is known to have, and where the range ends whose seal is made next or under way. */
  #progress: SealProgress | undefined
  #digest = new RangeDigest(0)
  /** Whether the seal of the range up to `to` is made. */
  #sending = false
  /** Where the chain begins anew once that seal is in the topic. */
  #restart: number | undefined
  /** What the last commit carried, and whether it is acknowledged. */
  #carried: SealProgress | undefined
  #moved = Promise.withResolvers<void>()
  #ahead: { readonly range: OffsetRange; readonly rows: readonly StoredRow[] } | undefined

  constructor(assignment: Assignment, parts: SealerParts) {
    this.#assignment = assignment
    this.#parts = parts
  }

  /**
   * Call it after each recovery.
   * @param found - The group's commit and the first offset of the log, of one moment with the tables; `next` is the first
   * offset that is not accounted for.
   */
  recovered({ committed, start, next }: { committed: Committed | undefined; start: number; next: number }): void {
    this.#ahead = undefined
    // A chain that no commit has named yet begins anew: the row of its first offset may have come into quarantine since.
    const isNamed =
      this.#progress?.hash !== undefined || this.#progress?.to !== undefined || this.#carried !== undefined
    const { seals } = readMetadata(committed?.metadata)
    if (!isNamed) {
      this.#progress = seals === undefined ? beginAt(next) : takeOver(seals, committed)
      if (seals === undefined) this.#parts.observer.sealsBegin(next)
      this.#digest = new RangeDigest(this.#progress.last + 1)
    }
    // Rows that were in the hash are not in the tables: they are written again, and may become others.
    if (next < this.#digest.next) this.#digest.clear()
    // Another owner has sealed on, so this assignment is over: the records were not needed any more.
    const isFenced = (seals?.last ?? -1) > (this.#progress?.last ?? -1)
    if (isFenced || !this.isBehind(next) || this.#digest.next >= start) return
    this.giveUp(next, `the log begins at offset ${start}`)
  }

  /** First offset whose row is not in the hash. */
  get readFrom(): number {
    return this.#digest.next
  }

  /** Whether rows below `next` have to be read again. */
  isBehind(next: number): boolean {
    return this.#digest.next < next
  }

  /**
   * What the next commit says, and the first record that an owner which finds it may have to read again; undefined: nothing. The
   * caller sends it at once, and no other until it is answered.
   */
  describe(): { readonly metadata: string; readonly keepFrom: number } | undefined {
    const progress = this.#progress
    this.#carried = progress
    return progress && { metadata: formatProgress(progress), keepFrom: progress.last + 1 }
  }

  /** The commit that {@link describe} was asked for is acknowledged: every offset below `next` has its row. */
  committed(next: number): void {
    const progress = this.#progress
    // While the commit was under way the topic may have got the seal of the range that it names. The next owner makes that seal,
    // and goes on from there: no other range may be sealed before a commit says so.
    if (progress === undefined || this.#carried?.to !== undefined || next - 1 <= progress.last) return
    this.#progress = { ...progress, to: next - 1 }
    this.#sealIfWhole()
  }

  /** Whether a commit of the same offset would tell the next owner more. */
  get unsettled(): boolean {
    return this.#progress !== undefined && (this.#progress.to !== undefined || this.#carried !== this.#progress)
  }

  /** While {@link unsettled}: resolves once the next commit would tell more than the last one, or name another range. */
  get moved(): Promise<void> {
    // The topic may have got the seal while the last commit, which names it as under way, was sent.
    return this.#progress?.to === undefined ? Promise.resolve() : this.#moved.promise
  }

  /** A batch is stored. Its rows' memory is as it was inserted. */
  stored(batch: Batch, skipped: EncodedRows | undefined): void {
    const { first, next, block } = batch
    const whole = block.count + batch.skipped.length === next - first
    const { to } = this.#progress ?? {}
    const within = to === undefined || this.#sending || first > to
    if (this.#digest.next !== first || !whole || !within) return
    this.#digest.add(next, { events: block.close(), skipped })
  }

  /** Makes the rows of a slice again, as far as they are below `next` and not in the hash. Slices follow on one another. */
  async rebuild(slice: LogSlice, next: number): Promise<void> {
    if (!this.isBehind(next) || slice.nextOffset <= this.#digest.next) return
    const range = { first: this.#digest.next, last: Math.min(slice.nextOffset, next) - 1 }
    if (slice.firstOffset > range.first) {
      return this.giveUp(next, `offsets ${range.first} to ${slice.firstOffset - 1} were not delivered`)
    }
    await this.#parts.check.prepare(slice.records)
    const stored = await this.#storedIn(range, next)
    try {
      const { to } = this.#progress ?? {}
      const [below, above] = to === undefined || this.#sending ? [range] : split(range, to)
      if (below !== undefined) this.#rebuild(slice, below, stored)
      this.#sealIfWhole()
      if (above !== undefined) this.#rebuild(slice, above, stored)
    } catch (error) {
      if (!(error instanceof CannotRebuild)) throw error
      this.giveUp(next, error.message)
    }
  }

  /** The rows from the hash on, up to `next`, cannot be made again: they stay without a seal. */
  giveUp(next: number, reason: string): void {
    const range = { first: this.#digest.first, last: next - 1 }
    this.#digest = new RangeDigest(next)
    if (this.#sending) this.#restart = next
    else this.#progress = beginAt(next)
    this.#parts.observer.unsealed(range, reason)
  }

  #rebuild(slice: LogSlice, range: OffsetRange, stored: readonly StoredRow[]): void {
    const { check, memory } = this.#parts
    const parts = { logPartition: this.#assignment, memory, check }
    const use = (rows: RangeRows): void => this.#digest.add(range.last + 1, rows)
    rebuildRows({ records: slice.records, range, stored }, parts, use)
  }

  /** Rows that count, for this slice and the next ones: a query for each slice would take longer than the slice. */
  async #storedIn(range: OffsetRange, next: number): Promise<readonly StoredRow[]> {
    if (this.#ahead === undefined || range.first < this.#ahead.range.first || range.last > this.#ahead.range.last) {
      const asked = { first: range.first, last: Math.max(range.last, Math.min(range.first + ROWS_AHEAD, next) - 1) }
      this.#ahead = { range: asked, rows: await this.#parts.sink.rowsBetween(this.#assignment, asked, 'counting') }
    }
    return this.#ahead.rows
  }

  #sealIfWhole(): void {
    const { last, hash, to } = this.#progress ?? {}
    if (last === undefined || to === undefined || this.#sending || this.#digest.next !== to + 1) return
    const { logId, topic, partition } = this.#assignment
    const range = { first: last + 1, last: to }
    const rows = this.#digest.close()
    const text = formatConsumerSeal({
      logId: logId.toString('hex'),
      topic,
      partition,
      ...range,
      rows: 1,
      ...rows,
      prev: hash,
    })
    this.#sending = true
    this.#digest = new RangeDigest(to + 1)
    void this.#send(text, range)
  }

  async #send(text: string, range: OffsetRange): Promise<void> {
    const { seals, observer } = this.#parts
    if (!(await seals.send(this.#assignment, text, this.#assignment.ended))) return
    this.#sending = false
    const hash = createHash('sha256').update(text).digest()
    this.#progress = { last: range.last, hash, to: undefined }
    if (this.#restart !== undefined) this.#progress = beginAt(this.#restart)
    this.#restart = undefined
    observer.sealed(range)
    this.#moved.resolve()
    this.#moved = Promise.withResolvers()
  }
}

function beginAt(first: number): SealProgress {
  return { last: first - 1, hash: undefined, to: undefined }
}

/** What an owner that died after this commit may have sealed, and nothing else. */
function takeOver({ last, hash, to }: SealProgress, committed: Committed | undefined): SealProgress {
  const end = to ?? (committed?.offset ?? 0) - 1
  return { last, hash, to: end > last ? end : undefined }
}

/** @returns the parts up to `to`, and above it */
function split({ first, last }: OffsetRange, to: number): [OffsetRange | undefined, OffsetRange | undefined] {
  const below = first <= to ? { first, last: Math.min(last, to) } : undefined
  const above = last > to ? { first: Math.max(first, to + 1), last } : undefined
  return [below, above]
}
