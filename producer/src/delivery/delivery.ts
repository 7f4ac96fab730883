/**
 * Delivery: takes chunks from the recorder, stores them, sends them, and reports. Runs in a worker thread, or inline.
 *
 * Each record's partition is chosen once. With durability `disk` the chunk is committed to the spool, and sent from memory
 * if it is next and there is room, else read back later. What dead runs left on this directory goes first, under their
 * own run_ids. As long as the number of partitions is not known, a chunk waits: on disk, its choice left open, for its
 * spool to be told the number; with another durability in memory, and nothing counts as stored.
 */
import { lastPartitions, openRunSpool, rememberPartitions } from '@agent-audit/spool'
import type { Chunk, RunSpool } from '@agent-audit/spool'
import { Backlog } from './backlog.ts'
import { backoffMs, Connection } from './connection.ts'
import type { ChunkAck, DeliverySettings, Gauges, Report, SealedChunk, ToDelivery } from './protocol.ts'
import { toProblem } from './protocol.ts'
import { Outbox } from './outbox.ts'
import type { LoadedChunk } from './partition-queue.ts'
import { assignPartitions } from './partitioner.ts'
import { Reporter } from './reporter.ts'
import { createSender } from '../log/sender.ts'

/** Bytes of stored chunks kept in memory for sending. What is beyond waits on disk. */
export const WINDOW_BYTES: number = 8 * 1024 * 1024
/** Kept free in the spool for the trail's own events: a full spool must not refuse what explains its refusals. */
const RESERVE_BYTES = 64 * 1024

export class Delivery {
  readonly #settings: DeliverySettings
  readonly #reporter: Reporter
  readonly #connection: Connection
  readonly #outbox: Outbox
  readonly #backlog: Backlog
  /** Chunks not stored yet, in order; the first may have its partitions already. */
  readonly #waiting: SealedChunk[] = []
  #first: Chunk | undefined
  #partitions: number | undefined
  #spool: RunSpool | undefined
  #full = false
  #failures = 0
  #retry: NodeJS.Timeout | undefined
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
    const free = (memory: ArrayBuffer): void => this.#reporter.freed(memory)
    this.#outbox = new Outbox({ connection: this.#connection, windowBytes, free })
    this.#backlog = this.#createBacklog()
    if (settings.durability === 'disk') {
      this.#partitions = lastPartitions(settings.spoolDir, settings.topic)
      this.#backlog.adopt(settings.spoolDir)
      this.#openSpool()
    }
    this.#connection.sender().catch(() => {}) // Rejects when closed first.
  }

  #createBacklog(): Backlog {
    return new Backlog(this.#outbox, {
      acked: ({ runId }, loaded) => {
        if (runId === this.#settings.runId) this.#acked(loaded)
        else this.#adopted += loaded.chunk.ends.length
      },
      lost: (loss) => this.#reporter.lost(loss),
      gone: (spool) => {
        // If it is the run's own, it goes on with a new one.
        if (spool === this.#spool) this.#spool = undefined
      },
      problem: (problem) => this.#reporter.problem(problem),
      moved: () => {
        this.#reporter.changed()
        if (this.#waiting.length > 0) this.#admit()
      },
    })
  }

  #acked({ chunk, runs }: LoadedChunk): void {
    this.#reporter.acked({ firstSeq: chunk.firstSeq, partitions: narrowed(chunk.partitions), runs })
  }

  handle(message: ToDelivery): void {
    if (message.type === 'close') return void this.#close()
    this.#waiting.push(message.chunk)
    this.#admit()
  }

  #onConnected(partitions: number): void {
    const { durability, spoolDir, topic } = this.#settings
    if (durability === 'disk' && partitions !== this.#partitions) {
      try {
        rememberPartitions(spoolDir, topic, partitions)
      } catch (error) {
        this.#reporter.problem(toProblem(error, 'SPOOL_UNAVAILABLE'))
      }
    }
    this.#partitions = partitions
    this.#backlog.connected(partitions)
    this.#admit()
  }

  #openSpool(): void {
    const { spoolDir: directory, runId, topic, spoolMaxBytes: maxBytes, fsync } = this.#settings
    try {
      this.#spool = openRunSpool({ directory, runId, topic, maxBytes, fsync, partitions: this.#partitions })
      this.#backlog.own(this.#spool)
    } catch (error) {
      this.#waitForDisk(error)
    }
  }

  /** Stores and passes on as many waiting chunks as it can. */
  #admit(): void {
    if (this.#retry !== undefined || this.#closed) return
    if (this.#settings.durability !== 'disk' && this.#partitions === undefined) return
    if (this.#settings.durability === 'disk' && this.#spool === undefined) this.#openSpool()
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      // Kept: a commit without a clear answer may only be tried again with the very same chunk.
      this.#first ??= assignPartitions(next, this.#partitions)
      if (!this.#accept(this.#first, next)) return
      this.#first = undefined
      this.#waiting.shift()
    }
  }

  /** @returns false when the chunk has to wait. */
  #accept(chunk: Chunk, { own, bytes }: SealedChunk): boolean {
    if (this.#settings.durability !== 'disk') {
      this.#outbox.add(chunk, (loaded) => {
        this.#acked(loaded)
        this.#reporter.settle()
      })
      return true
    }
    if (this.#spool === undefined) return false
    try {
      const id = this.#spool.append(chunk, { keepFreeBytes: own ? 0 : RESERVE_BYTES })
      this.#failures = 0
      this.#reporter.stored(chunk.firstSeq)
      this.#reporter.settle()
      if (!this.#backlog.appended(chunk, id)) this.#reporter.freed(bytes.buffer)
      return true
    } catch (error) {
      return this.#onRefusedAppend(chunk, error)
    }
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

  async #close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#retry)
    await this.#connection.close()
    this.#backlog.close()
    this.#reporter.close()
  }

  #gauges(): Gauges {
    const { bytes, oldestMs } = this.#closed ? { bytes: 0, oldestMs: null } : this.#backlog.stats()
    return {
      spoolBytes: bytes,
      spoolOldestMs: oldestMs,
      spoolFull: !this.#closed && this.#isFull(),
      adopted: this.#adopted,
      connected: this.#connection.connected,
    }
  }

  /** Full from the first chunk without room on, or with an eighth of the spool left, until half of it is free. */
  #isFull(): boolean {
    const share = (this.#spool?.bytes ?? 0) / this.#settings.spoolMaxBytes
    if (share > 7 / 8) this.#full = true
    if (share < 1 / 2) this.#full = false
    return this.#full
  }
}

/**
 * A copy, for of a view all the memory behind it would go along; and as narrow as it can be, since it may lie long on the
 * agent's thread, whose garbage collector has little to do while a backlog drains.
 */
function narrowed(partitions: Int32Array): ChunkAck['partitions'] {
  let most = 0
  for (const partition of partitions) most = Math.max(most, partition)
  if (most < 2 ** 8) return Uint8Array.from(partitions)
  return most < 2 ** 16 ? Uint16Array.from(partitions) : partitions.slice()
}
