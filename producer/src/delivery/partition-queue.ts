/** The records that wait for one partition, in order. Pure: no I/O. */
import type { OutgoingRecord, TopicPartition } from '@agent-audit/kafka'
import type { Chunk } from '@agent-audit/spool'
import type { OffsetRange, RecordRejection } from './protocol.ts'
import type { SpoolEntry } from './spool-feed.ts'

/** A record of a chunk, as chunk and index: thousands wait at a time. */
class ChunkRecord implements OutgoingRecord {
  readonly #chunk: Chunk
  readonly #index: number

  constructor(chunk: Chunk, index: number) {
    this.#chunk = chunk
    this.#index = index
  }

  get key(): Buffer {
    const start = this.#chunk.keyStarts[this.#index] ?? 0
    return slice(this.#chunk, start, start + (this.#chunk.keyLengths[this.#index] ?? 0))
  }

  get value(): Buffer {
    return slice(this.#chunk, this.#start, this.#end)
  }

  get bytes(): number {
    return this.#end - this.#start + (this.#chunk.keyLengths[this.#index] ?? 0)
  }

  get #start(): number {
    return this.#index === 0 ? 0 : (this.#chunk.ends[this.#index - 1] ?? 0)
  }

  get #end(): number {
    return this.#chunk.ends[this.#index] ?? 0
  }
}

function slice({ bytes }: Chunk, start: number, end: number): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start)
}

/** A chunk in memory whose records are being sent. */
export interface LoadedChunk {
  readonly chunk: Chunk
  /** The chunk in its spool; undefined where nothing is stored. */
  readonly stored: SpoolEntry | undefined
  /** Offsets of the records acknowledged so far. */
  readonly ranges: OffsetRange[]
  /** Records that the broker will never take. */
  readonly rejected: RecordRejection[]
  /** Number of records neither acknowledged nor rejected yet. */
  unacknowledged: number
  /** A send of it was rejected: that client may still read its memory, so the memory is never reused (docs/memory.md). */
  sendRejected: boolean
}

/** Some records of a chunk, all of one partition. */
interface Part {
  readonly loaded: LoadedChunk
  /** The records, as indexes in the chunk. */
  readonly indexes: Uint32Array
}

/** The records of one send. */
export interface Batch {
  readonly records: readonly OutgoingRecord[]
  readonly parts: readonly Part[]
}

export interface BatchLimits {
  readonly maxRecords: number
  readonly maxBytes: number
}

/** First in, first out; a chunk's part may be split between sends. */
export class PartitionQueue {
  readonly to: TopicPartition
  #parts: Part[] = []

  constructor(to: TopicPartition) {
    this.to = to
  }

  get empty(): boolean {
    return this.#parts.length === 0
  }

  add(loaded: LoadedChunk, indexes: Uint32Array): void {
    this.#parts.push({ loaded, indexes })
  }

  /** Takes as many records as the limits allow, and at least one. */
  take(limits: BatchLimits): Batch {
    const records: OutgoingRecord[] = []
    const parts: Part[] = []
    let bytes = 0
    let whole = 0
    for (const part of this.#parts) {
      const fit = fitting(part, { maxRecords: limits.maxRecords - records.length, maxBytes: limits.maxBytes - bytes })
      const count = records.length === 0 ? Math.max(1, fit.count) : fit.count
      if (count === 0) break
      const taken = { loaded: part.loaded, indexes: part.indexes.subarray(0, count) }
      for (const index of taken.indexes) records.push(new ChunkRecord(part.loaded.chunk, index))
      parts.push(taken)
      bytes += fit.bytes
      if (count < part.indexes.length) {
        this.#parts[whole] = { loaded: part.loaded, indexes: part.indexes.subarray(count) }
        break
      }
      whole++
    }
    this.#parts.splice(0, whole)
    return { records, parts }
  }
}

function fitting({ loaded, indexes }: Part, limits: BatchLimits): { count: number; bytes: number } {
  const { ends } = loaded.chunk
  let bytes = 0
  let count = 0
  for (const index of indexes) {
    const size = (ends[index] ?? 0) - (index === 0 ? 0 : (ends[index - 1] ?? 0))
    if (count >= limits.maxRecords || bytes + size > limits.maxBytes) break
    bytes += size
    count++
  }
  return { count, bytes }
}
