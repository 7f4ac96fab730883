/** Sends what is in memory: an ordered queue a partition, one send in flight each, tried until it succeeds. */
import { TrailError } from '@agent-audit/schemas'
import type { Chunk } from '@agent-audit/spool'
import type { Connection } from './connection.ts'
import { acknowledge, PartitionQueue } from './partition-queue.ts'
import type { Batch, LoadedChunk } from './partition-queue.ts'

/** One send: large enough that its cost is shared, small enough to be below a broker's limit before compression. */
const SEND_RECORDS = 1000
const SEND_BYTES = 900 * 1024

export interface OutboxOptions {
  readonly connection: Connection
  /** Bytes of chunks in memory, beyond which nothing should be added. */
  readonly windowBytes: number
  /** Told of the memory of acknowledged chunks, which nobody reads any more. */
  readonly free: (memory: ArrayBuffer) => void
}

export class Outbox {
  readonly #connection: Connection
  readonly #windowBytes: number
  readonly #free: (memory: ArrayBuffer) => void
  readonly #queues: Map<number, PartitionQueue> = new Map<number, PartitionQueue>()
  readonly #sending: Set<PartitionQueue> = new Set<PartitionQueue>()
  #bytes = 0

  constructor({ connection, windowBytes, free }: OutboxOptions) {
    this.#connection = connection
    this.#windowBytes = windowBytes
    this.#free = free
  }

  /** Bytes that may still be added. */
  get room(): number {
    return this.#windowBytes - this.#bytes
  }

  /** Sends a chunk's records after all that were added before; `done` is told when all are acknowledged. */
  add(chunk: Chunk, done: (loaded: LoadedChunk) => void): void {
    this.#bytes += chunk.bytes.length
    const finish = (loaded: LoadedChunk): void => {
      this.#bytes -= chunk.bytes.length
      done(loaded)
      if (!loaded.held) this.#free(chunk.bytes.buffer as ArrayBuffer)
    }
    const loaded: LoadedChunk = { chunk, runs: [], left: chunk.ends.length, held: false, done: finish }
    for (const [partition, indexes] of groupByPartition(chunk)) {
      const queue = this.#queue(partition)
      queue.add(loaded, indexes)
      if (!this.#sending.has(queue)) void this.#drain(queue)
    }
  }

  #queue(partition: number): PartitionQueue {
    let queue = this.#queues.get(partition)
    if (queue === undefined) {
      queue = new PartitionQueue(partition)
      this.#queues.set(partition, queue)
    }
    return queue
  }

  /** The one loop that sends for this partition; ends when nothing is left or the connection is closed. */
  async #drain(queue: PartitionQueue): Promise<void> {
    this.#sending.add(queue)
    try {
      while (!queue.empty) {
        const batch = queue.take({ maxRecords: SEND_RECORDS, maxBytes: SEND_BYTES })
        await this.#deliver(queue.partition, batch)
      }
    } catch (error) {
      // Only closing ends the tries; what is not acknowledged stays in the spool.
      if (!this.#connection.closed) throw error
    } finally {
      this.#sending.delete(queue)
    }
  }

  /**
   * Sends until it succeeds. A send that was rejected may have been appended all the same: sending it again can make
   * duplicates, which the consumer removes; going on without it could lose it.
   */
  async #deliver(partition: number, batch: Batch): Promise<void> {
    for (let failures = 0; ; failures++) {
      const current = this.#connection.sender()
      const sender = await current
      try {
        const { baseOffset } = await sender.send(partition, batch.records)
        acknowledge(batch, baseOffset)
        return
      } catch (error) {
        if (this.#connection.closed) throw error
        for (const { loaded } of batch.parts) loaded.held = true
        this.#connection.discard(sender, current, error)
        if (isTooLarge(error) && batch.records.length > 1) return this.#deliverOneByOne(partition, batch)
        await this.#connection.pause(failures)
      }
    }
  }

  async #deliverOneByOne(partition: number, batch: Batch): Promise<void> {
    let at = 0
    for (const { loaded, indexes } of batch.parts) {
      for (let index = 0; index < indexes.length; index++) {
        const part = { loaded, indexes: indexes.subarray(index, index + 1) }
        await this.#deliver(partition, { records: batch.records.slice(at, ++at), parts: [part] })
      }
    }
  }
}

function isTooLarge(error: unknown): boolean {
  return error instanceof TrailError && error.code === 'RECORD_TOO_LARGE'
}

/** The indexes of a chunk's records by partition, each group in order. */
function groupByPartition({ partitions }: Chunk): Map<number, Uint32Array> {
  const groups = new Map<number, number[]>()
  for (let index = 0; index < partitions.length; index++) {
    const partition = partitions[index] ?? 0
    const group = groups.get(partition)
    if (group === undefined) groups.set(partition, [index])
    else group.push(index)
  }
  return new Map([...groups].map(([partition, indexes]) => [partition, Uint32Array.from(indexes)]))
}
