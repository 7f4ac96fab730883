/**
 * The chunks on disk that are not acknowledged: the spools to send from, in order, dead runs' first, then this run's own.
 * Reads them as far as there is room in memory, trims acknowledged chunks, and removes empty spools.
 */
import { adoptSpools, isUnassigned } from '@agent-audit/spool'
import type { AdoptedSpool, Chunk, RunSpool } from '@agent-audit/spool'
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import { toProblem } from './protocol.ts'
import type { Loss } from './protocol.ts'
import type { Outbox } from './outbox.ts'
import type { Reporter } from './reporter.ts'
import { SpoolFeed } from './spool-feed.ts'
import type { SpoolEntry } from './spool-feed.ts'

/** Pause before a spool that could not be read or trimmed is tried again. */
const RETRY_MS = 1000

export interface BacklogOptions {
  readonly outbox: Outbox
  /** Takes problems and losses. */
  readonly reporter: Reporter
  /** Called when {@link Backlog.advance} has work. */
  readonly wake: () => void
}

export class Backlog {
  readonly #outbox: Outbox
  readonly #reporter: Reporter
  readonly #wake: () => void
  #feeds: SpoolFeed[] = []
  /** This run's own spool, and its feed: the last one, which never reaches its end. */
  #own: { readonly spool: RunSpool; readonly feed: SpoolFeed } | undefined
  /** Dead runs' spools that were read to their end and are not acknowledged yet. */
  readonly #draining: Set<SpoolFeed> = new Set<SpoolFeed>()
  /** Partition counts by topic, once connected. */
  #partitions: ReadonlyMap<string, number> = new Map<string, number>()
  /** Whether there is something to trim or to read. */
  #due = false

  constructor({ outbox, reporter, wake }: BacklogOptions) {
    this.#outbox = outbox
    this.#reporter = reporter
    this.#wake = wake
  }

  /** Takes the spools of dead runs in a directory. */
  adopt(directory: string): void {
    try {
      const { spools, damaged, skipped } = adoptSpools({ directory })
      for (const spool of spools) this.#feeds.push(new SpoolFeed(spool))
      for (const { file, runId, reason } of damaged) {
        this.#reportLoss({ runId, first: null, last: null, file, reason })
      }
      for (const { file, reason } of skipped) {
        this.#problem(new AuditUnavailableError('SPOOL_UNAVAILABLE', `left ${file}: ${reason}`))
      }
    } catch (error) {
      this.#problem(error)
    }
    this.#request()
  }

  /** Takes this run's own spool, after all others. */
  use(spool: RunSpool): void {
    const feed = new SpoolFeed(spool)
    this.#own = { spool, feed }
    this.#feeds.push(feed)
  }

  /** This run's own spool; undefined before there is one, and once it had to be closed: damaged, or on a full disk. */
  get own(): RunSpool | undefined {
    return this.#own?.spool
  }

  /** The partition counts are known: unassigned records can be sent. */
  connected(partitions: ReadonlyMap<string, number>): void {
    this.#partitions = partitions
    this.#request()
  }

  /**
   * Takes a chunk that was just appended to this run's own spool: sends it from memory if it is next and there is room.
   * @returns false when the chunk will be read back from disk: its memory is free.
   */
  appended(chunk: Chunk, id: number): boolean {
    const own = this.#own?.feed
    if (own === undefined || this.#feeds[0] !== own || !own.isNext(id) || this.#outbox.room <= 0) return false
    if (isUnassigned(chunk)) {
      // The count may have arrived since the chunk was made: without this request nothing would read the chunk.
      if (this.#partitions.has(own.spool.topic)) this.#request()
      return false
    }
    own.pass(id, chunk)
    this.#send(own, id, chunk)
    return true
  }

  /** All records of a chunk are acknowledged. */
  acknowledge({ feed, id }: SpoolEntry): void {
    feed.acknowledge(id)
    this.#request()
  }

  /** The spools that are not empty yet. */
  get spools(): AdoptedSpool[] {
    return [...this.#draining, ...this.#feeds].map((feed) => feed.spool)
  }

  #request(): void {
    this.#due = true
    this.#wake()
  }

  #send(feed: SpoolFeed, id: number, chunk: Chunk): void {
    this.#outbox.add(chunk, feed.spool.topic, { feed, id })
  }

  /** Trims acknowledged chunks, removes empty spools, and reads on as far as there is room. @returns false if there was no need. */
  advance(): boolean {
    if (!this.#due) return false
    this.#due = false
    for (const feed of this.#draining) this.#guard(feed, () => this.#finish(feed))
    let feed: SpoolFeed | undefined
    do {
      feed = this.#feeds[0]
      const first = feed
      if (first !== undefined) this.#guard(first, () => this.#sendFrom(first))
    } while (this.#feeds[0] !== feed)
    return true
  }

  #sendFrom(feed: SpoolFeed): void {
    this.#trim(feed)
    if (feed.spool.unassigned) {
      const partitions = this.#partitions.get(feed.spool.topic)
      if (partitions === undefined) return
      feed.spool.setPartitionCount(partitions)
    }
    // In order: a later feed is not read before the feeds in front of it have been read to their ends.
    while (this.#feeds[0] === feed && this.#outbox.room > 0) {
      const chunks = feed.read(this.#outbox.room)
      for (const { id, chunk } of chunks) this.#send(feed, id, chunk)
      if (chunks.length > 0) continue
      if (feed === this.#own?.feed) return
      this.#feeds.shift()
      this.#draining.add(feed)
      this.#finish(feed)
    }
  }

  /**
   * On a full disk even a trim fails for lack of space; the rest of the spool is sent all the same. Once all of it is
   * acknowledged, the file as a whole can be removed: that frees space, and the run goes on with a new file. A dead run's
   * file is removed when it has been read to its end.
   */
  #trim(feed: SpoolFeed): void {
    try {
      feed.trim()
    } catch (error) {
      if (error instanceof IntegrityError) throw error
      this.#problem(error)
      if (feed !== this.#own?.feed || !feed.idle || feed.unread.first !== null) return
      this.#drop(feed)
      feed.close()
    }
  }

  #drop(feed: SpoolFeed): void {
    this.#feeds = this.#feeds.filter((other) => other !== feed)
    this.#draining.delete(feed)
    if (feed === this.#own?.feed) this.#own = undefined
  }

  /** Closes a dead run's spool, which removes its file, once all of it is acknowledged. */
  #finish(feed: SpoolFeed): void {
    if (!feed.idle) return this.#trim(feed)
    this.#drop(feed)
    feed.close()
  }

  #guard(feed: SpoolFeed, work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#problem(error)
      if (error instanceof IntegrityError) this.#giveUp(feed, error.message)
      else setTimeout(() => this.#request(), RETRY_MS).unref()
    }
  }

  /** Nothing more is read from a damaged spool; chunks that were read before are still sent. */
  #giveUp(feed: SpoolFeed, reason: string): void {
    this.#drop(feed)
    this.#reportLoss({ runId: feed.spool.runId, ...feed.unread, file: this.#setAside(feed.spool), reason })
  }

  #setAside(spool: AdoptedSpool): string {
    try {
      return spool.setAside() ?? spool.file
    } catch (error) {
      this.#problem(error)
      return spool.file
    }
  }

  #reportLoss(loss: Loss): void {
    const error = new IntegrityError('SPOOL_CORRUPT', `set aside as ${loss.file}: ${loss.reason}`)
    this.#reporter.problem(toProblem(error, 'SPOOL_CORRUPT'))
    this.#reporter.lost(loss)
  }

  #problem(error: unknown): void {
    this.#reporter.problem(toProblem(error, 'SPOOL_UNAVAILABLE'))
  }

  /** Bytes on disk that are not trimmed, and the age of the oldest chunk, over all spools. */
  stats(): { bytes: number; oldestMs: number | null } {
    let bytes = 0
    let oldestMs: number | null = null
    for (const spool of this.spools) {
      const stats = statsOf(spool)
      bytes += stats.bytes
      if (stats.oldestMs !== null) oldestMs = Math.min(oldestMs ?? stats.oldestMs, stats.oldestMs)
    }
    return { bytes, oldestMs }
  }

  /** Trims and closes all spools; the next owner adopts those that are not empty. */
  close(): void {
    for (const feed of [...this.#draining, ...this.#feeds]) {
      this.#guard(feed, () => feed.close())
    }
  }
}

function statsOf(spool: AdoptedSpool): { bytes: number; oldestMs: number | null } {
  try {
    return spool.stats()
  } catch {
    return { bytes: 0, oldestMs: null } // Reads and trims report trouble with the disk.
  }
}
