/**
 * The chunks on disk that are not acknowledged: the spools to send from, those of dead runs and this run's own. Reads them as
 * far as there is room in memory, trims acknowledged chunks, and removes empty spools. A spool that a failed delivery of this
 * run has left is one of a dead run, but for its acknowledgements.
 *
 * Dead runs' spools are sent one after the other, the oldest run first, beside this run's own. Each side has half of the
 * memory while both have something to send, so that neither waits for the other. A run's chunks stay in order; runs need no
 * order between them, since the consumer tells records apart by (run_id, run_seq). A spool that the disk does not let be
 * read, or whose topic is not there, is left out until it is tried again.
 */
import { isUnassigned } from '@agent-audit/spool'
import type { AdoptedSpool, Chunk, KnownTopic, RunSpool } from '@agent-audit/spool'
import { IntegrityError } from '@agent-audit/schemas'
import type { OneCluster } from './one-cluster.ts'
import type { Outbox } from './outbox.ts'
import { type Loss, type SpoolGauges, toProblem } from './protocol.ts'
import type { Reporter } from './reporter.ts'
import type { Sealing } from './sealing/sealing.ts'
import { gaugesOf, type SpoolEntry, SpoolFeed } from './spool-feed.ts'
import { retryMs, SpoolSearch } from './spool-search.ts'
import { watchSpools } from './spool-watch.ts'
import type { Work } from './work.ts'

export interface BacklogOptions {
  readonly outbox: Outbox
  /** Takes problems and losses. */
  readonly reporter: Reporter
  readonly oneCluster: OneCluster
  readonly sealing: Sealing
  /** Called with the topic of each dead run's spool: {@link Backlog.connected} is called once it can be sent to. */
  readonly connect: (topic: string) => void
  /** Called when {@link Backlog.advance} has work. */
  readonly wake: () => void
  readonly work: Work
}

export class Backlog {
  readonly #outbox: Outbox
  readonly #reporter: Reporter
  readonly #oneCluster: OneCluster
  readonly #sealing: Sealing
  readonly #connect: (topic: string) => void
  readonly #wake: () => void
  readonly #work: Work
  /** Spools of dead owners that are not read to their end, the oldest run first. */
  #dead: SpoolFeed[] = []
  /** This run's own spool, and its feed, which never reaches its end. */
  #own: { readonly spool: RunSpool; readonly feed: SpoolFeed } | undefined
  /** Dead runs' spools that were read to their end and are not acknowledged yet. */
  readonly #draining: Set<SpoolFeed> = new Set<SpoolFeed>()
  /** Feeds that the disk did not let be read: not tried before their pause is over. */
  readonly #paused: Set<SpoolFeed> = new Set<SpoolFeed>()
  /** The topics that are connected. */
  readonly #known: Map<string, KnownTopic> = new Map<string, KnownTopic>()
  /** Bytes of dead runs' chunks in the outbox. */
  #deadBytes = 0
  /** Whether there is something to trim or to read. */
  #due = false

  constructor({ outbox, reporter, oneCluster, sealing, connect, wake, work }: BacklogOptions) {
    this.#outbox = outbox
    this.#reporter = reporter
    this.#oneCluster = oneCluster
    this.#sealing = sealing
    this.#connect = connect
    this.#wake = wake
    this.#work = work
  }

  /**
   * Takes the spools of dead runs in a directory, also those that can be read only later.
   * @param resumed - This run, where a delivery of it has failed: its spools are taken too, and their chunks reported.
   */
  adopt(directory: string, resumed: string | undefined): void {
    const found = (spool: AdoptedSpool): void => {
      this.#dead.push(new SpoolFeed(spool, true))
      this.#sealing.adopt(spool)
      this.#connect(spool.topic)
      this.request()
    }
    const lost = (loss: Loss): void => this.#reportLoss(loss)
    const open = (): AdoptedSpool[] => this.#feeds.map(({ spool }) => spool)
    const shared = { work: this.#work, reporter: this.#reporter, open }
    new SpoolSearch({ directory, resumed, found, lost, ...shared }).look()
    watchSpools(shared)
  }

  /** Takes this run's own spool. */
  use(spool: RunSpool): void {
    this.#own = { spool, feed: new SpoolFeed(spool, false) }
  }

  /** This run's own spool; undefined before there is one, and once it had to be closed: damaged, or on a full disk. */
  get own(): RunSpool | undefined {
    return this.#own?.spool
  }

  /** Bytes in further spools of this run, those of a delivery that has failed: they count against its limit too. */
  get olderBytes(): number {
    const runId = this.#own?.spool.runId
    const older = this.#feeds.filter(({ spool, adopted }) => adopted && spool.runId === runId)
    return older.reduce((bytes, { spool }) => bytes + spool.bytes, 0)
  }

  /** A topic can be sent to. */
  connected(topic: string, known: KnownTopic): void {
    this.#known.set(topic, known)
    this.request()
  }

  /**
   * Takes a chunk that was just appended to this run's own spool: sends it from memory if it is next and there is room.
   * @returns false when the chunk will be read back from disk: its memory is free.
   */
  appended(chunk: Chunk, id: number): boolean {
    const own = this.#own?.feed
    if (own === undefined || !own.isNext(id) || this.#mustWait(own) || this.#roomFor(own) <= 0) return false
    if (own.spool.unbound || isUnassigned(chunk)) {
      // The count may have arrived since the chunk was made: without this request nothing would read the chunk.
      if (this.#known.has(own.spool.topic)) this.request()
      return false
    }
    own.pass(id, chunk)
    this.#send(own, id, chunk)
    return true
  }

  /** All records of a chunk are acknowledged. */
  acknowledge({ feed, id }: SpoolEntry, bytes: number): void {
    feed.acknowledge(id)
    if (feed.adopted) this.#deadBytes -= bytes
    this.request()
  }

  /** The feeds whose spools are not empty yet. */
  get #feeds(): SpoolFeed[] {
    const own = this.#own === undefined ? [] : [this.#own.feed]
    return [...this.#draining, ...this.#dead, ...own]
  }

  /** There may be something to trim, to read or to close. */
  request(): void {
    this.#due = true
    this.#wake()
  }

  #send(feed: SpoolFeed, id: number, chunk: Chunk): void {
    if (feed.adopted) this.#deadBytes += chunk.bytes.length
    this.#outbox.add(chunk, feed.spool.topic, { feed, id })
  }

  /** Trims acknowledged chunks, removes empty spools, and reads on as far as there is room. @returns false if there was no need. */
  advance(): boolean {
    if (!this.#due) return false
    this.#due = false
    // The files stay, and another process can adopt them while this run lives.
    for (const feed of this.#oneCluster.others(this.#dead)) this.#guard(feed, () => this.#leave(feed))
    for (const feed of this.#draining) this.#guard(feed, () => this.#finish(feed))
    for (const feed of this.#dead) if (this.#canSend(feed)) this.#guard(feed, () => this.#sendFrom(feed))
    const own = this.#own?.feed
    if (own !== undefined && !this.#paused.has(own)) this.#guard(own, () => this.#sendFrom(own))
    // Spools may have been bound to their cluster now.
    this.#sealing.sender.wake()
    return true
  }

  #canSend(feed: SpoolFeed): boolean {
    return !this.#paused.has(feed) && this.#known.has(feed.spool.topic) && !this.#mustWait(feed)
  }

  /**
   * Whether an older file of the same run is still to be read. One that cannot be read is passed by: the consumer takes the
   * records of a run out of order as well, at the cost of a look-up.
   */
  #mustWait(feed: SpoolFeed): boolean {
    const { runId } = feed.spool
    const older = this.#dead.find(({ spool }) => spool.runId === runId)
    return older !== undefined && older !== feed && !this.#paused.has(older)
  }

  /** Bytes that may be read from a feed: half of the memory while the other side has something to send. */
  #roomFor(feed: SpoolFeed): number {
    const { room, windowBytes } = this.#outbox
    const leftToDead = windowBytes / 2 - this.#deadBytes
    if (feed.adopted) return Math.min(room, leftToDead)
    return this.#dead.some((dead) => this.#canSend(dead)) ? room - leftToDead : room
  }

  #sendFrom(feed: SpoolFeed): void {
    this.#trim(feed)
    if (!this.#feeds.includes(feed) || this.#mustWait(feed) || this.#roomFor(feed) <= 0) return
    const known = feed.spool.unbound ? this.#known.get(feed.spool.topic) : undefined
    if (known !== undefined) feed.spool.bind(known)
    if (feed.spool.unbound) return
    for (let room = this.#roomFor(feed); room > 0; room = this.#roomFor(feed)) {
      const chunks = feed.read(room)
      for (const { id, chunk } of chunks) this.#send(feed, id, chunk)
      if (chunks.length > 0) continue
      if (!feed.adopted) return
      this.#dead = this.#dead.filter((other) => other !== feed)
      this.#draining.add(feed)
      return this.#finish(feed)
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
      if (feed !== this.#own?.feed || !feed.idle || feed.unread.first !== null || !this.#sealing.leaveFile()) return
      this.#drop(feed)
      feed.close()
    }
  }

  #drop(feed: SpoolFeed): void {
    this.#dead = this.#dead.filter((other) => other !== feed)
    this.#draining.delete(feed)
    if (feed === this.#own?.feed) this.#own = undefined
  }

  /** Closes a dead run's spool, which removes its file, once all of it is acknowledged, its last seal too. */
  #finish(feed: SpoolFeed): void {
    if (!feed.idle || this.#sealing.finish(feed.spool)) this.#leave(feed)
  }

  #leave(feed: SpoolFeed): void {
    if (!feed.idle) return this.#trim(feed)
    this.#drop(feed)
    this.#sealing.left(feed.spool.seals)
    feed.close()
  }

  #guard(feed: SpoolFeed, work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#problem(error)
      if (error instanceof IntegrityError) this.#giveUp(feed, error.message)
      else this.#pause(feed)
    }
  }

  #pause(feed: SpoolFeed): void {
    this.#paused.add(feed)
    const resume = (): void => {
      this.#paused.delete(feed)
      this.request()
    }
    this.#work.later(resume, retryMs(feed.adopted ? feed.failures++ : 0))
  }

  /** Nothing more is read from a damaged spool; chunks that were read before are still sent. */
  #giveUp(feed: SpoolFeed, reason: string): void {
    this.#drop(feed)
    const loss = { runId: feed.spool.runId, ...feed.unread, code: 'SPOOL_CORRUPT', reason } as const
    this.#sealing.rescue(feed.spool, { ...loss, file: null })
    this.#reportLoss({ ...loss, file: feed.giveUp((error) => this.#problem(error)) })
  }

  #reportLoss(loss: Loss): void {
    const error = new IntegrityError('SPOOL_CORRUPT', `set aside as ${loss.file}: ${loss.reason}`)
    this.#reporter.problem(toProblem(error, 'SPOOL_CORRUPT'))
    this.#reporter.lost(loss)
  }

  #problem(error: unknown): void {
    this.#reporter.problem(toProblem(error, 'SPOOL_UNAVAILABLE'))
  }

  /** What is on disk and not trimmed, over all spools. */
  gauges(): SpoolGauges {
    return gaugesOf(this.#feeds)
  }

  /** Trims and closes all spools; the next owner adopts those that are not empty. */
  close(): void {
    for (const feed of this.#feeds) this.#guard(feed, () => feed.close())
  }

  /** Closes all spools of a delivery that has failed, and trims none: not every acknowledgement was reported. */
  abandon(): void {
    for (const { spool } of this.#feeds) {
      try {
        spool.close()
      } catch {
        // Its lock is free all the same.
      }
    }
  }
}
