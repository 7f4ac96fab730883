/**
 * Delivery: takes chunks from the recorder, stores them, sends them, and reports. Runs in a worker thread, or inline.
 *
 * Each record's partition is chosen once. With durability `disk` the chunk is committed to the spool, and sent from memory
 * if it is next and there is room, else read back later. The spools that dead runs left in this directory are sent beside it,
 * under their own run_ids. While the number of partitions is unknown, a chunk waits: on disk, without partitions, until its spool
 * is given the number; with another durability in memory, and nothing counts as stored.
 *
 * A chunk is stored as soon as it arrives. The rest happens in turns: the outbox only lists acknowledged chunks, and a turn
 * reports them, trims the spools and reads on. Every piece of work runs in `Work`, which meets unexpected errors.
 */
import { SEALS_SUFFIX } from '@agent-audit/schemas'
import { lastKnownTopic, openRunSpool, rememberTopic } from '@agent-audit/spool'
import type { Chunk, KnownTopic } from '@agent-audit/spool'
import { Backlog } from './backlog.ts'
import { backoffMs, Connections } from './connection.ts'
import { OneCluster } from './one-cluster.ts'
import { Outbox } from './outbox.ts'
import type { LoadedChunk } from './partition-queue.ts'
import { assignPartitions } from './partitioner.ts'
import type { EncodedChunk, Gauges, Report, ThreadSettings, ToDelivery } from './protocol.ts'
import { NO_GAUGES, toProblem } from './protocol.ts'
import { RejectedRecords } from './rejected-records.ts'
import { Reporter } from './reporter.ts'
import { Sealing } from './sealing/sealing.ts'
import { createSender } from './senders.ts'
import { Work } from './work.ts'

/** Bytes of stored chunks kept in memory for sending. Chunks beyond that wait on disk. */
export const WINDOW_BYTES: number = 8 * 1024 * 1024
/** Kept free in the spool for the trail's own events: a full spool must not refuse the events that explain its refusals. */
const RESERVE_BYTES = 64 * 1024
/** Pause before records that the broker does not take are set aside again, after the disk has refused. */
const KEEP_RETRY_MS = 1000

export interface DeliveryOptions {
  readonly post: (report: Report) => void
  /** Called once, with an unexpected error: this delivery does nothing from then on. */
  readonly fail: (error: unknown) => void
}

export class Delivery {
  readonly #settings: ThreadSettings
  readonly #work: Work
  readonly #reporter: Reporter
  readonly #connections: Connections
  readonly #outbox: Outbox
  readonly #sealing: Sealing
  readonly #backlog: Backlog
  readonly #rejected: RejectedRecords
  /** Chunks not stored yet, in order; the first may have its partitions already. */
  readonly #waiting: EncodedChunk[] = []
  #first: Chunk | undefined
  /** The trail's topic: as it was last seen, until the broker has described it. */
  #known: KnownTopic | undefined
  #full = false
  #failures = 0
  #retry: NodeJS.Timeout | undefined
  #adopted = 0
  #turnAhead = false
  #closed = false

  constructor(settings: ThreadSettings, options: DeliveryOptions) {
    this.#settings = settings
    const work = (this.#work = new Work(options.fail))
    const { fail } = work
    const wake = (): void => this.#wake()
    this.#reporter = new Reporter({ post: options.post, gauges: () => this.#gauges(), settled: settings.settled, wake })
    const problem = (error: Error): void => this.#reporter.problem(toProblem(error, 'BROKER_UNAVAILABLE'))
    const oneCluster = new OneCluster(settings, problem)
    this.#connections = new Connections({
      oneCluster,
      create: (topic) => createSender(settings, topic),
      onConnected: (topic, known) => work.run(() => this.#onConnected(topic, known)),
      onFailure: (error, topic) => this.#onDisconnected(error, topic),
      fail,
    })
    // Without a spool the recorder's own limit bounds the memory.
    const windowBytes = settings.durability === 'disk' ? WINDOW_BYTES : Number.MAX_SAFE_INTEGER
    this.#outbox = new Outbox({ connections: this.#connections, windowBytes, wake, fail })
    this.#sealing = new Sealing({
      settings,
      connections: this.#connections,
      work,
      wake: () => this.#backlog.request(),
      onChain: (chain) => this.#reporter.chain(chain),
      onProblem: (error) => this.#reporter.problem(toProblem(error, 'SPOOL_UNAVAILABLE')),
    })
    this.#rejected = new RejectedRecords({ settings, reporter: this.#reporter, sealing: this.#sealing })
    this.#backlog = new Backlog({
      sealing: this.#sealing,
      outbox: this.#outbox,
      reporter: this.#reporter,
      oneCluster,
      // The spools of dead runs say their topics.
      connect: (topic) => void this.#connections.of(topic),
      wake,
      work,
    })
  }

  start(): void {
    this.#work.run(() => {
      const { durability, spoolDir, topic, runId, restarted } = this.#settings
      if (durability === 'disk') {
        this.#known = lastKnownTopic(spoolDir, topic)
        this.#backlog.adopt(spoolDir, restarted ? runId : undefined)
        this.#openSpool()
      } else {
        if (restarted) this.#reporter.resumed([])
        this.#sealing.useMemory()
      }
      this.#connections.of(topic)
    })
  }

  handle(message: ToDelivery): void {
    this.#work.run(() => {
      if (message.type === 'close') return void this.#close(message.nextSeq).catch(this.#work.fail)
      this.#waiting.push(message.chunk)
      this.#admit()
    })
  }

  /** Closes the files and connections of a delivery that has failed, as the end of its thread would. */
  abandon(): void {
    this.#closed = true
    this.#connections.close().catch(() => {})
    this.#backlog.abandon()
  }

  #wake(): void {
    if (this.#turnAhead) return
    this.#turnAhead = true
    setImmediate(() => {
      this.#turnAhead = false
      this.#work.run(() => this.#turn())
    })
  }

  /** Reports the facts since the last turn, then trims the spools, reads on, and stores the chunks that had no room. */
  #turn(): void {
    for (const loaded of [...this.#rejected.takeUnkept(), ...this.#outbox.takeAcknowledged()])
      this.#onAcknowledged(loaded)
    // First: receipts do not wait for the disk. And only what is reported may be trimmed: what the next delivery does not find
    // in the spools of one that has failed, and no report has acknowledged, counts as lost.
    this.#reporter.post()
    if (this.#closed || !this.#backlog.advance()) return
    this.#reporter.changed()
    if (this.#waiting.length > 0) this.#admit()
  }

  #onAcknowledged(loaded: LoadedChunk): void {
    const { chunk, stored, ranges, rejected, sendRejected } = loaded
    if (rejected.length > 0 && !this.#setAside(loaded)) return
    if (stored !== undefined && stored.feed.spool.runId !== this.#settings.runId)
      this.#adopted += chunk.ends.length - rejected.length
    else this.#reporter.acked({ firstSeq: chunk.firstSeq, partitions: chunk.partitions, ranges, rejected })
    if (stored === undefined) this.#reporter.settle()
    else this.#backlog.acknowledge(stored, chunk.bytes.length)
    if (!sendRejected) this.#free(chunk)
  }

  #setAside(loaded: LoadedChunk): boolean {
    if (this.#rejected.keep(loaded)) return true
    this.#work.later(() => this.#wake(), KEEP_RETRY_MS)
    return false
  }

  /** Gives a chunk's memory back to the agent's thread. No code of this thread may read it from here on. */
  #free({ bytes }: Chunk): void {
    this.#reporter.freed(bytes.buffer as ArrayBuffer)
  }

  #onConnected(connected: string, known: KnownTopic): void {
    const { durability, spoolDir, topic } = this.#settings
    this.#sealing.sender.connected(connected)
    this.#backlog.connected(connected, known)
    if (connected !== topic) return
    const { cluster, partitions } = this.#known ?? {}
    if (durability === 'disk' && (known.partitions !== partitions || known.cluster !== cluster)) {
      try {
        rememberTopic(spoolDir, topic, known)
      } catch (error) {
        this.#reporter.problem(toProblem(error, 'SPOOL_UNAVAILABLE'))
      }
    }
    this.#known = known
  }

  #onDisconnected(error: unknown, topic: string): void {
    const said = topic.endsWith(SEALS_SUFFIX) ? this.#sealing.sender.failed(topic, error) : error
    if (said !== undefined) this.#reporter.problem(toProblem(said, 'BROKER_UNAVAILABLE'))
  }

  #openSpool(): void {
    const { spoolDir: directory, runId, topic, spoolMaxBytes: maxBytes, fsync, restarted: again } = this.#settings
    try {
      const seals = this.#sealing.start()
      const spool = openRunSpool({ directory, runId, topic, maxBytes, fsync, known: this.#known, again, seals })
      this.#backlog.use(spool)
      this.#sealing.use(spool)
    } catch (error) {
      this.#waitForDisk(error)
    }
  }

  /** Stores and passes on as many waiting chunks as it can. */
  #admit(): void {
    if (this.#retry !== undefined || this.#closed) return
    if (this.#settings.durability !== 'disk' && this.#known === undefined) return
    if (this.#settings.durability === 'disk' && this.#backlog.own === undefined) this.#openSpool()
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      // Kept: a commit without a clear answer may only be tried again with the very same chunk.
      this.#first ??= assignPartitions(next, this.#known?.partitions)
      if (!this.#accept(this.#first, next)) return
      this.#first = undefined
      this.#waiting.shift()
    }
  }

  /** @returns false when the chunk has to wait. */
  #accept(chunk: Chunk, { fromTrail }: EncodedChunk): boolean {
    const leaves = this.#sealing.leavesOf(chunk)
    if (this.#settings.durability !== 'disk') {
      this.#sealing.added(leaves)
      this.#outbox.add(chunk, this.#settings.topic)
      return true
    }
    const spool = this.#backlog.own
    if (spool === undefined) return false
    let id: number
    try {
      const keepFreeBytes = this.#backlog.olderBytes + (fromTrail ? 0 : RESERVE_BYTES)
      id = spool.append(chunk, { keepFreeBytes, leaves })
    } catch (error) {
      return this.#onRefusedAppend(chunk, error)
    }
    this.#failures = 0
    this.#sealing.added(leaves)
    this.#reporter.stored(chunk.firstSeq)
    this.#reporter.settle()
    if (!this.#backlog.appended(chunk, id)) this.#free(chunk)
    return true
  }

  #onRefusedAppend(chunk: Chunk, error: unknown): boolean {
    const problem = toProblem(error, 'SPOOL_UNAVAILABLE')
    this.#reporter.problem(problem)
    if (problem.code === 'SPOOL_UNAVAILABLE') {
      this.#waitForDisk(error)
      return false
    }
    this.#full = true
    if (problem.code === 'SPOOL_FULL' && this.#settings.onFull === 'wait') return false // Until something is trimmed.
    this.#reporter.refused(chunk.firstSeq, problem)
    this.#reporter.settle()
    this.#free(chunk)
    return true
  }

  #waitForDisk(error: unknown): void {
    this.#reporter.problem(toProblem(error, 'SPOOL_UNAVAILABLE'))
    const retry = (): void => {
      this.#retry = undefined
      this.#admit()
    }
    this.#retry = this.#work.later(retry, backoffMs(this.#failures++))
  }

  async #close(nextSeq: number): Promise<void> {
    // The records that wait here are lost, or were stored by a commit that seemed to fail: the next owner sees which.
    await this.#sealing.close(this.#waiting.length === 0 ? nextSeq : undefined)
    this.#closed = true
    this.#work.close()
    await this.#connections.close()
    for (const loaded of this.#outbox.takeAcknowledged()) this.#onAcknowledged(loaded)
    // Before the trim, as in each turn.
    this.#reporter.post()
    this.#backlog.close()
    this.#reporter.post(true)
  }

  #gauges(): Gauges {
    return {
      ...(this.#closed ? NO_GAUGES : this.#backlog.gauges()),
      spoolFull: !this.#closed && this.#isFull(),
      adopted: this.#adopted,
      connected: this.#connections.of(this.#settings.topic).connected,
    }
  }

  /** Full from the first chunk without room on, or with an eighth of the spool left, until half of it is free. */
  #isFull(): boolean {
    const share = ((this.#backlog.own?.bytes ?? 0) + this.#backlog.olderBytes) / this.#settings.spoolMaxBytes
    if (share > 7 / 8) this.#full = true
    if (share < 1 / 2) this.#full = false
    return this.#full
  }
}
