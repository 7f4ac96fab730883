/**
 * What is on disk and not acknowledged: the spools to send from, in order, dead runs' first, then this run's own. Reads
 * them as far as there is room in memory, trims what is acknowledged, and removes what is empty.
 */
import { adoptSpools, isUnassigned } from '@agent-audit/spool'
import type { AdoptedSpool, Chunk } from '@agent-audit/spool'
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import { toProblem } from './protocol.ts'
import type { Loss, Problem } from './protocol.ts'
import type { Outbox } from './outbox.ts'
import type { LoadedChunk } from './partition-queue.ts'
import { SpoolFeed } from './spool-feed.ts'

/** Pause before a spool that could not be read or trimmed is tried again. */
const RETRY_MS = 1000

export interface BacklogHooks {
  /** All records of a chunk are acknowledged. */
  acked(spool: AdoptedSpool, loaded: LoadedChunk): void
  /** What is left of a spool's events will not be sent: its file is damaged, and set aside. */
  lost(loss: Loss): void
  /** A spool that was not closed by the caller is closed: damaged, or empty on a full disk. */
  gone(spool: AdoptedSpool): void
  problem(problem: Problem): void
  /** Something was read, trimmed or removed: there may be room again. */
  moved(): void
}

export class Backlog {
  readonly #outbox: Outbox
  readonly #hooks: BacklogHooks
  #feeds: SpoolFeed[] = []
  /** The run's own: the last one, and never at its end. */
  #own: SpoolFeed | undefined
  /** Dead runs' spools that were read to their end and are not acknowledged yet. */
  readonly #draining: Set<SpoolFeed> = new Set<SpoolFeed>()
  #partitions: number | undefined
  #scheduled = false
  #closed = false

  constructor(outbox: Outbox, hooks: BacklogHooks) {
    this.#outbox = outbox
    this.#hooks = hooks
  }

  /** Takes the spools of dead runs on a directory. */
  adopt(directory: string): void {
    try {
      const { spools, damaged, skipped } = adoptSpools({ directory })
      for (const spool of spools) this.#feeds.push(new SpoolFeed(spool))
      for (const { file, runId, reason } of damaged) {
        this.#reportLoss({ runId, first: null, last: null, file, reason })
      }
      for (const { file, reason } of skipped) {
        const error = new AuditUnavailableError('SPOOL_UNAVAILABLE', `left ${file}: ${reason}`)
        this.#hooks.problem(toProblem(error, 'SPOOL_UNAVAILABLE'))
      }
    } catch (error) {
      this.#hooks.problem(toProblem(error, 'SPOOL_UNAVAILABLE'))
    }
    this.schedule()
  }

  /** Takes this run's own spool, behind all others. */
  own(spool: AdoptedSpool): void {
    this.#own = new SpoolFeed(spool)
    this.#feeds.push(this.#own)
  }

  /** The topic has as many partitions: spools whose records have none can be told, and sent. */
  connected(partitions: number): void {
    this.#partitions = partitions
    this.schedule()
  }

  /**
   * A chunk was just appended to this run's own spool: sends it from memory if it is next and there is room.
   * @returns false when it will be read back: its memory is free.
   */
  appended(chunk: Chunk, id: number): boolean {
    const own = this.#own
    if (own === undefined || this.#feeds[0] !== own || !own.isNext(id) || this.#outbox.room <= 0) return false
    if (isUnassigned(chunk)) {
      // The count may have come since: nobody else would have this chunk read.
      if (this.#partitions !== undefined) this.schedule()
      return false
    }
    own.pass(id, chunk)
    this.#send(own, id, chunk)
    return true
  }

  /** Whether nothing is left to be sent or acknowledged. */
  get empty(): boolean {
    return this.#feeds.length === 0 && this.#draining.size === 0
  }

  /** The spools that are not empty yet. */
  get spools(): AdoptedSpool[] {
    return [...this.#draining, ...this.#feeds].map((feed) => feed.spool)
  }

  schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      if (!this.#closed) this.#refill()
    })
  }

  #send(feed: SpoolFeed, id: number, chunk: Chunk): void {
    this.#outbox.add(chunk, (loaded) => {
      this.#hooks.acked(feed.spool, loaded)
      feed.acknowledge(id)
      this.schedule()
    })
  }

  #refill(): void {
    for (const feed of this.#draining) this.#guard(feed, () => this.#finish(feed))
    let feed: SpoolFeed | undefined
    do {
      feed = this.#feeds[0]
      const first = feed
      if (first !== undefined) this.#guard(first, () => this.#advance(first))
    } while (this.#feeds[0] !== feed)
    this.#hooks.moved()
  }

  #advance(feed: SpoolFeed): void {
    this.#trim(feed)
    if (feed.spool.unassigned) {
      if (this.#partitions === undefined) return
      feed.spool.setPartitionCount(this.#partitions)
    }
    // In order: a later feed is not read before the ones in front of it have been read to their ends.
    while (this.#feeds[0] === feed && this.#outbox.room > 0) {
      const chunks = feed.read(this.#outbox.room)
      for (const { id, chunk } of chunks) this.#send(feed, id, chunk)
      if (chunks.length > 0) continue
      if (feed === this.#own) return
      this.#feeds.shift()
      this.#draining.add(feed)
      this.#finish(feed)
    }
  }

  /**
   * On a full disk even a trim needs room that is not there: what is left is sent all the same. Once all of it is
   * acknowledged the file as a whole can go: that makes room, and the run goes on with a new one. A dead run's file goes
   * when it has been read to its end.
   */
  #trim(feed: SpoolFeed): void {
    try {
      feed.trim()
    } catch (error) {
      if (error instanceof IntegrityError) throw error
      this.#hooks.problem(toProblem(error, 'SPOOL_UNAVAILABLE'))
      if (feed !== this.#own || !feed.idle || feed.unread.first !== null) return
      this.#drop(feed)
      feed.close()
      this.#hooks.gone(feed.spool)
    }
  }

  #drop(feed: SpoolFeed): void {
    this.#feeds = this.#feeds.filter((other) => other !== feed)
    this.#draining.delete(feed)
    if (feed === this.#own) this.#own = undefined
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
      const problem = toProblem(error, 'SPOOL_UNAVAILABLE')
      this.#hooks.problem(problem)
      if (error instanceof IntegrityError) this.#giveUp(feed, problem.message)
      else setTimeout(() => this.schedule(), RETRY_MS).unref()
    }
  }

  /** Nothing more is delivered from a damaged spool; what was read from it before is on its way. */
  #giveUp(feed: SpoolFeed, reason: string): void {
    this.#drop(feed)
    this.#reportLoss({ runId: feed.spool.runId, ...feed.unread, file: this.#setAside(feed.spool), reason })
    this.#hooks.gone(feed.spool)
  }

  #setAside(spool: AdoptedSpool): string {
    try {
      return spool.setAside() ?? spool.file
    } catch (error) {
      this.#hooks.problem(toProblem(error, 'SPOOL_UNAVAILABLE'))
      return spool.file
    }
  }

  #reportLoss(loss: Loss): void {
    const error = new IntegrityError('SPOOL_CORRUPT', `set aside as ${loss.file}: ${loss.reason}`)
    this.#hooks.problem(toProblem(error, 'SPOOL_CORRUPT'))
    this.#hooks.lost(loss)
  }

  /** What is on disk and not trimmed, of all spools. */
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

  /** Trims and lets go of everything; what is left is adopted by who comes next. */
  close(): void {
    this.#closed = true
    for (const feed of [...this.#draining, ...this.#feeds]) {
      this.#guard(feed, () => feed.close())
    }
  }
}

function statsOf(spool: AdoptedSpool): { bytes: number; oldestMs: number | null } {
  try {
    return spool.stats()
  } catch {
    return { bytes: 0, oldestMs: null } // Trouble with the disk is reported by who reads and trims.
  }
}
