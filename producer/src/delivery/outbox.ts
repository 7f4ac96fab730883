/**
 * Sends the chunks in memory: one ordered queue per partition, one send in flight for each, repeated until it succeeds.
 * A single record that the broker will never take is rejected, and the rest goes on. Chunks whose records all have an answer
 * are listed until delivery takes them in its next turn.
 */
import type { TopicPartition } from '@agent-audit/kafka'
import { TrailError } from '@agent-audit/schemas'
import type { Chunk } from '@agent-audit/spool'
import type { Connections } from './connection.ts'
import { PartitionQueue } from './partition-queue.ts'
import type { Batch, LoadedChunk } from './partition-queue.ts'
import { toProblem } from './protocol.ts'
import type { Problem } from './protocol.ts'
import type { SpoolEntry } from './spool-feed.ts'

/** One send: large enough that its cost is shared, small enough to be below a broker's limit before compression. */
const SEND_RECORDS = 1000
const SEND_BYTES = 900 * 1024

export interface OutboxOptions {
  readonly connections: Connections
  /** Bytes of chunks in memory, beyond which nothing should be added. */
  readonly windowBytes: number
  /** Called when chunks are acknowledged. */
  readonly wake: () => void
  /** Takes an error that no retry is for: nothing more is sent to that partition. */
  readonly fail: (error: unknown) => void
}

export class Outbox {
  readonly #connections: Connections
  readonly windowBytes: number
  readonly #wake: () => void
  readonly #fail: (error: unknown) => void
  readonly #queues: Map<string, Map<number, PartitionQueue>> = new Map<string, Map<number, PartitionQueue>>()
  readonly #sending: Set<PartitionQueue> = new Set<PartitionQueue>()
  #acknowledged: LoadedChunk[] = []
  #bytes = 0

  constructor({ connections, windowBytes, wake, fail }: OutboxOptions) {
    this.#connections = connections
    this.windowBytes = windowBytes
    this.#wake = wake
    this.#fail = fail
  }

  /** Bytes that may still be added. */
  get room(): number {
    return this.windowBytes - this.#bytes
  }

  /**
   * Sends a chunk's records to a topic, after all that were added before.
   * @param stored - The chunk in its spool, where there is one.
   */
  add(chunk: Chunk, topic: string, stored?: SpoolEntry): void {
    this.#bytes += chunk.bytes.length
    const unacknowledged = chunk.ends.length
    const loaded: LoadedChunk = { chunk, stored, ranges: [], rejected: [], unacknowledged, sendRejected: false }
    for (const [partition, indexes] of groupByPartition(chunk)) {
      const queue = this.#queue(topic, partition)
      queue.add(loaded, indexes)
      if (!this.#sending.has(queue)) void this.#drain(queue)
    }
  }

  #queue(topic: string, partition: number): PartitionQueue {
    const queues = this.#queues.get(topic) ?? new Map<number, PartitionQueue>()
    this.#queues.set(topic, queues)
    const queue = queues.get(partition) ?? new PartitionQueue({ topic, partition })
    queues.set(partition, queue)
    return queue
  }

  /** The one loop that sends for this partition; ends when nothing is left or the connection is closed. */
  async #drain(queue: PartitionQueue): Promise<void> {
    this.#sending.add(queue)
    try {
      while (!queue.empty) {
        const batch = queue.take({ maxRecords: SEND_RECORDS, maxBytes: SEND_BYTES })
        await this.#deliver(queue.to, batch)
      }
    } catch (error) {
      // Only closing ends the retries. The spool keeps the records that are not acknowledged.
      if (!this.#connections.of(queue.to.topic).closed) this.#fail(error)
    } finally {
      this.#sending.delete(queue)
    }
  }

  /**
   * Sends until it succeeds, or until the broker has refused a single record for its size, or lacks the partition. The broker may have appended a send that was rejected: sending it again can make duplicates,
   * which the consumer removes; skipping it could lose it.
   */
  async #deliver(to: TopicPartition, batch: Batch): Promise<void> {
    const connection = this.#connections.of(to.topic)
    for (let failures = 0; ; failures++) {
      const current = connection.sender()
      const sender = await current
      if (to.partition >= connection.partitions) {
        if (await connection.lacks(to.partition)) return this.#reject(batch, lacking(to, connection.partitions))
        continue
      }
      let baseOffset: number
      try {
        ;({ baseOffset } = await sender.send(to, batch.records))
      } catch (error) {
        if (connection.closed) throw error
        for (const { loaded } of batch.parts) loaded.sendRejected = true
        const tooLarge = isTooLarge(error)
        connection.discard(sender, current, tooLarge ? undefined : error)
        if (tooLarge && batch.records.length > 1) return this.#deliverOneByOne(to, batch)
        if (tooLarge) return this.#reject(batch, toProblem(error, 'RECORD_TOO_LARGE'))
        await connection.pause(failures)
        continue
      }
      // Outside of the try: an error of our own from here on must not send an acknowledged batch again.
      return this.#acknowledge(to, batch, baseOffset)
    }
  }

  async #deliverOneByOne(to: TopicPartition, batch: Batch): Promise<void> {
    let at = 0
    for (const { loaded, indexes } of batch.parts) {
      for (let index = 0; index < indexes.length; index++) {
        const part = { loaded, indexes: indexes.subarray(index, index + 1) }
        await this.#deliver(to, { records: batch.records.slice(at, ++at), parts: [part] })
      }
    }
  }

  /** Notes that the broker has a batch, from an offset on. */
  #acknowledge({ partition }: TopicPartition, batch: Batch, baseOffset: number): void {
    let firstOffset = baseOffset
    for (const { loaded, indexes } of batch.parts) {
      loaded.ranges.push({ partition, firstOffset, count: indexes.length })
      firstOffset += indexes.length
    }
    this.#answered(batch)
  }

  /** Notes that the broker will never take these records. */
  #reject(batch: Batch, problem: Problem): void {
    for (const { loaded, indexes } of batch.parts) {
      for (const index of indexes) loaded.rejected.push({ index, problem })
    }
    this.#answered(batch)
  }

  #answered({ parts }: Batch): void {
    for (const { loaded, indexes } of parts) {
      loaded.unacknowledged -= indexes.length
      if (loaded.unacknowledged > 0) continue
      this.#bytes -= loaded.chunk.bytes.length
      loaded.rejected.sort((one, other) => one.index - other.index)
      this.#acknowledged.push(loaded)
    }
    if (this.#acknowledged.length > 0) this.#wake()
  }

  /** The chunks whose records were all acknowledged, or rejected, since the last call. */
  takeAcknowledged(): LoadedChunk[] {
    const taken = this.#acknowledged
    if (taken.length > 0) this.#acknowledged = []
    return taken
  }
}

function lacking({ topic, partition }: TopicPartition, partitions: number): Problem {
  const message = `topic ${topic} has ${partitions} partitions, and no partition ${partition}: it was made anew with fewer`
  return { kind: 'integrity', code: 'LOG_REPLACED', message }
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
