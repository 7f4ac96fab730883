/**
 * Encodes records back to back into a slab of memory, which becomes a chunk for delivery. Owns the slabs of the agent's
 * thread: docs/memory.md.
 */
import { NEWEST_SCHEMA, SINGLE_OBJECT_BYTES, singleObjectHeader, writeRecord } from '@agent-audit/schemas'
import type { AuditRecord } from '@agent-audit/schemas'
import type { Durability } from '../api/trail-options.ts'
import type { EncodedChunk } from '../delivery/protocol.ts'
import type { EventRecord } from '../record/event-record.ts'
import type { LostRange } from './lost-events.ts'

/** Most records of a chunk: one group commit, one message to the worker. */
const CHUNK_RECORDS = 512
/** 512 small records nearly fill it, since a slab is kept as a whole. A larger record gets a separate slab. */
const SLAB_BYTES = 192 * 1024
/** Kept for reuse. Without reuse, slabs pile up in the other thread between two runs of its garbage collector. */
const MOST_SPARE_SLABS = 16

const HEADER = singleObjectHeader(NEWEST_SCHEMA)

/** How one record is appended. */
export interface AppendOptions {
  /** Upper bound of its encoded bytes. */
  readonly maxBytes: number
  /** @defaultValue the trail's */
  readonly durability?: Durability | undefined
  /** Microseconds since 1970, for imports. @defaultValue the clock */
  readonly timestamp?: number | undefined
  /** Takes the record even when the buffer is full: the trail's own events. */
  readonly always?: boolean | undefined
  /** Encrypts the texts of the record once it has its number, which they are bound to. */
  readonly encrypt?: ((record: EventRecord) => void) | undefined
  /** The lost events that the record, which is taken always, explains: unexplained again if it is lost too. */
  readonly explains?: LostRange | undefined
}

/** Holds one open chunk at a time. */
export class ChunkWriter {
  #slab: Buffer = Buffer.allocUnsafeSlow(SLAB_BYTES)
  readonly #spare: ArrayBuffer[] = []
  #used = 0
  #count = 0
  readonly #ends: Uint32Array = new Uint32Array(CHUNK_RECORDS)

  /** Records in the open chunk. */
  get count(): number {
    return this.#count
  }

  /** Bytes of the open chunk. */
  get bytes(): number {
    return this.#used
  }

  /** Whether a record of at most `maxBytes` fits into the open chunk; if not, {@link take} the chunk first. */
  fits(maxBytes: number): boolean {
    return this.#count < CHUNK_RECORDS && (this.#count === 0 || this.#used + maxBytes <= this.#slab.length)
  }

  /**
   * Appends a record that {@link fits}.
   * @throws RangeError when the record is larger than its bound: a fault of this package. The open chunk stays as it was.
   */
  append(record: AuditRecord, maxBytes: number): void {
    if (this.#count === 0 && maxBytes > this.#slab.length) this.#slab = Buffer.allocUnsafeSlow(maxBytes)
    const start = this.#used
    this.#slab.set(HEADER, start)
    const end = writeRecord(record, this.#slab, start + SINGLE_OBJECT_BYTES)
    // A text that finds no room is cut without an error.
    if (end > this.#slab.length) throw new RangeError('the record is larger than its bound')
    this.#used = end
    this.#ends[this.#count++] = this.#used
  }

  /**
   * Returns the open chunk and opens an empty one. The chunk's memory can be transferred: this writer does not read it again.
   * @param firstSeq - Number of its first record; the others follow.
   * @param fromTrail - Whether its events are those of the trail itself.
   */
  take(firstSeq: number, fromTrail: boolean): EncodedChunk {
    const chunk = {
      firstSeq,
      bytes: this.#takeBytes(),
      ends: this.#ends.slice(0, this.#count),
      fromTrail,
    }
    this.#used = 0
    this.#count = 0
    return chunk
  }

  /** A slab that is mostly empty is copied and used again: delivery must not hold unused memory. */
  #takeBytes(): Uint8Array<ArrayBuffer> {
    if (this.#used < this.#slab.length / 2) return new Uint8Array(this.#slab.subarray(0, this.#used))
    const bytes = new Uint8Array(this.#slab.buffer as ArrayBuffer, 0, this.#used)
    const spare = this.#spare.pop()
    this.#slab = spare === undefined ? Buffer.allocUnsafeSlow(SLAB_BYTES) : Buffer.from(spare)
    return bytes
  }

  /**
   * Takes memory that delivery has freed. Slabs are used again; the rest is freed now: V8 collects external memory late, because
   * it sees only the small objects that refer to it.
   */
  recycle(memory: readonly ArrayBuffer[]): void {
    for (const slab of memory) {
      if (slab.byteLength === SLAB_BYTES && this.#spare.length < MOST_SPARE_SLABS) this.#spare.push(slab)
      else slab.transfer(0)
    }
  }
}
