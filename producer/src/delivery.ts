/**
 * Delivery: takes chunks from the recorder, stores them, sends them, and reports. Runs in a worker thread, or inline.
 *
 * A chunk waits until the number of partitions is known; then each record's partition is chosen, once. With durability
 * `disk` it is committed to the spool, and sent from memory if it is next and there is room, else read back later. What
 * dead runs left on this directory goes first, under their own run_ids.
 */
import { adoptSpools, lastPartitions, openRunSpool, rememberPartitions } from '@agent-audit/spool'
import type { Chunk, RunSpool } from '@agent-audit/spool'
import { AuditUnavailableError, IntegrityError } from '@agent-audit/schemas'
import { backoffMs, Connection } from './connection.ts'
import type { DeliverySettings, Gauges, Report, SealedChunk, ToDelivery } from './delivery-protocol.ts'
import { toProblem } from './delivery-protocol.ts'
import { Outbox } from './outbox.ts'
import { assignPartitions } from './partitioner.ts'
import { Reporter } from './reporter.ts'
import { createSender } from './sender.ts'
import { SpoolFeed } from './spool-feed.ts'

/** Bytes of stored chunks kept in memory for sending. What is beyond waits on disk. */
const WINDOW_BYTES = 8 * 1024 * 1024
/** Pause before a spool that could not be read or trimmed is tried again. */
const RETRY_READ_MS = 1000

export class Delivery {
  readonly #settings: DeliverySettings
  readonly #reporter: Reporter
  readonly #connection: Connection
  readonly #outbox: Outbox
  /** Chunks not stored yet, in order; the first may have its partitions already. */
  readonly #waiting: SealedChunk[] = []
  #first: Chunk | undefined
  #partitions: number | undefined
  #spool: RunSpool | undefined
  /** The spools to read from, in order: dead runs' first, then this run's own. */
  #feeds: SpoolFeed[] = []
  #own: SpoolFeed | undefined
  /** Dead runs' spools that were read to their end and are not acknowledged yet. */
  readonly #draining: Set<SpoolFeed> = new Set<SpoolFeed>()
  #failures = 0
  #retry: NodeJS.Timeout | undefined
  #refillScheduled = false
  #adopted = 0
  #closed = false

  constructor(settings: DeliverySettings, post: (report: Report) => void) {
    this.#settings = settings
    this.#reporter = new Reporter({ post, gauges: () => this.#gauges(), settled: settings.settled })
    this.#connection = new Connection(() => createSender(settings), {
      onConnected: (partitions) => this.#onConnected(partitions),
      onFailure: (error) => this.#reporter.problem(toProblem(error, 'BROKER_UNAVAILABLE')),
    })
    // Without a spool the recorder's own limit bounds what is here.
    const windowBytes = settings.durability === 'disk' ? WINDOW_BYTES : Number.MAX_SAFE_INTEGER
    this.#outbox = new Outbox({ connection: this.#connection, windowBytes })
    if (settings.durability === 'disk') {
      this.#partitions = lastPartitions(settings.spoolDir, settings.topic)
      this.#adopt()
      this.#openSpool()
    }
    this.#connection.sender().catch(() => {}) // Rejects when closed first.
    this.#scheduleRefill()
  }

  handle(message: ToDelivery): void {
    if (message.type === 'close') return void this.#close()
    this.#waiting.push(message.chunk)
    this.#admit()
  }

  #onConnected(partitions: number): void {
    this.#reporter.changed()
    const { durability, spoolDir, topic } = this.#settings
    if (durability === 'disk' && partitions !== this.#partitions) {
      try {
        rememberPartitions(spoolDir, topic, partitions)
      } catch (error) {
        this.#reporter.problem(toProblem(error, 'SPOOL_UNAVAILABLE'))
      }
    }
    this.#partitions = partitions
    this.#admit()
  }

  #adopt(): void {
    try {
      const { spools, damaged, skipped } = adoptSpools({ directory: this.#settings.spoolDir })
      this.#feeds = spools.map((spool) => new SpoolFeed(spool))
      for (const { file, reason } of damaged) {
        this.#reporter.problem(
          toProblem(new IntegrityError('SPOOL_CORRUPT', `set aside as ${file}: ${reason}`), 'SPOOL_CORRUPT'),
        )
      }
      for (const { file, reason } of skipped) {
        this.#reporter.problem(
          toProblem(new AuditUnavailableError('SPOOL_UNAVAILABLE', `left ${file}: ${reason}`), 'SPOOL_UNAVAILABLE'),
        )
      }
    } catch (error) {
      this.#reporter.problem(toProblem(error, 'SPOOL_UNAVAILABLE'))
    }
  }

  #openSpool(): void {
    const { spoolDir: directory, runId, spoolMaxBytes: maxBytes, fsync } = this.#settings
    try {
      this.#spool = openRunSpool({ directory, runId, maxBytes, fsync })
      this.#own = new SpoolFeed(this.#spool)
      this.#feeds.push(this.#own)
    } catch (error) {
      this.#waitForDisk(error)
    }
  }

  /** Stores and passes on as many waiting chunks as it can. */
  #admit(): void {
    if (this.#partitions === undefined || this.#retry !== undefined || this.#closed) return
    if (this.#settings.durability === 'disk' && this.#spool === undefined) this.#openSpool()
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      // Kept: a commit without a clear answer may only be tried again with the very same chunk.
      this.#first ??= assignPartitions(next, this.#partitions)
      if (!this.#accept(this.#first)) return
      this.#first = undefined
      this.#waiting.shift()
    }
  }

  /** @returns false when the chunk has to wait. */
  #accept(chunk: Chunk): boolean {
    if (this.#settings.durability !== 'disk') {
      this.#send(chunk)
      return true
    }
    if (this.#spool === undefined || this.#own === undefined) return false
    try {
      const id = this.#spool.append(chunk)
      this.#failures = 0
      this.#reporter.stored(chunk.firstSeq)
      this.#reporter.settle()
      if (this.#feeds[0] === this.#own && this.#own.isNext(id) && this.#outbox.room > 0) {
        this.#own.pass(id)
        this.#send(chunk, { feed: this.#own, id })
      }
      return true
    } catch (error) {
      return this.#onRefusedAppend(chunk, error)
    }
  }

  #onRefusedAppend(chunk: Chunk, error: unknown): boolean {
    const problem = toProblem(error, 'SPOOL_UNAVAILABLE')
    this.#reporter.problem(problem)
    if (problem.code === 'SPOOL_FULL' && this.#settings.onFull === 'wait') return false // Until something is trimmed.
    if (problem.code === 'SPOOL_UNAVAILABLE') {
      this.#waitForDisk(error)
      return false
    }
    this.#reporter.refused(chunk.firstSeq, problem)
    this.#reporter.settle()
    return true
  }

  #waitForDisk(error: unknown): void {
    this.#reporter.problem(toProblem(error, 'SPOOL_UNAVAILABLE'))
    const retry = (): void => {
      this.#retry = undefined
      this.#admit()
    }
    this.#retry = setTimeout(retry, backoffMs(this.#failures++)).unref()
  }

  /** Sends a chunk; `from` is the place in a spool where it is kept meanwhile. */
  #send(chunk: Chunk, from?: { feed: SpoolFeed; id: number }): void {
    const own = from === undefined || from.feed === this.#own
    this.#outbox.add(chunk, ({ offsets }) => {
      const { firstSeq, partitions } = chunk
      if (own) this.#reporter.acked({ firstSeq, partitions, offsets })
      else this.#adopted += partitions.length
      if (from === undefined) this.#reporter.settle()
      else from.feed.acknowledge(from.id)
      this.#scheduleRefill()
    })
  }

  #scheduleRefill(): void {
    if (this.#refillScheduled || this.#settings.durability !== 'disk') return
    this.#refillScheduled = true
    setImmediate(() => {
      this.#refillScheduled = false
      if (!this.#closed) this.#refill()
    })
  }

  /** Forgets what is acknowledged, reads back what has waited on disk, and admits what had no room there. */
  #refill(): void {
    for (const feed of this.#draining) this.#guardFeed(feed, () => this.#finish(feed))
    let feed: SpoolFeed | undefined
    do {
      feed = this.#feeds[0]
      const first = feed
      if (first !== undefined) this.#guardFeed(first, () => this.#advance(first))
    } while (this.#feeds[0] !== feed)
    this.#reporter.changed()
    if (this.#waiting.length > 0) this.#admit()
  }

  #advance(feed: SpoolFeed): void {
    feed.trim()
    // In order: a later feed is not read before the ones in front of it have been read to their ends.
    while (this.#feeds[0] === feed && this.#outbox.room > 0) {
      const chunks = feed.read(this.#outbox.room)
      for (const { id, chunk } of chunks) this.#send(chunk, { feed, id })
      if (chunks.length > 0) continue
      if (feed === this.#own) return
      this.#feeds.shift()
      this.#draining.add(feed)
      this.#finish(feed)
    }
  }

  /** Closes a dead run's spool, which removes its file, once all of it is acknowledged. */
  #finish(feed: SpoolFeed): void {
    feed.trim()
    if (!feed.idle) return
    this.#draining.delete(feed)
    feed.spool.close()
  }

  #guardFeed(feed: SpoolFeed, work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#reporter.problem(toProblem(error, 'SPOOL_UNAVAILABLE'))
      if (!(error instanceof IntegrityError)) {
        setTimeout(() => this.#scheduleRefill(), RETRY_READ_MS).unref()
        return
      }
      // Nothing is delivered from a damaged spool; the file is kept aside for a person to look at. This run goes on with
      // a new one.
      this.#feeds = this.#feeds.filter((other) => other !== feed)
      this.#draining.delete(feed)
      if (feed === this.#own) {
        this.#spool = undefined
        this.#own = undefined
      }
      const aside = feed.spool.setAside()
      this.#reporter.problem(toProblem(new IntegrityError('SPOOL_CORRUPT', `set aside as ${aside}`), 'SPOOL_CORRUPT'))
    }
  }

  async #close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#retry)
    await this.#connection.close()
    for (const feed of [...this.#draining, ...this.#feeds]) {
      this.#guardFeed(feed, () => {
        feed.trim()
        feed.spool.close()
      })
    }
    this.#reporter.close()
  }

  #gauges(): Gauges {
    const stats = this.#closed ? undefined : this.#statsOfSpool()
    return {
      spoolBytes: stats?.bytes ?? 0,
      spoolOldestMs: stats?.oldestMs ?? null,
      adopted: this.#adopted,
      connected: this.#connection.connected,
    }
  }

  #statsOfSpool(): { bytes: number; oldestMs: number | null } | undefined {
    try {
      return this.#spool?.stats()
    } catch {
      return undefined
    }
  }
}
