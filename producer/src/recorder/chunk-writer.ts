/** Encodes records back to back into a slab of memory, which becomes a chunk for delivery. */
import { NEWEST_SCHEMA, SINGLE_OBJECT_BYTES, singleObjectHeader, writeRecord } from '@agent-audit/schemas'
import type { AuditRecord } from '@agent-audit/schemas'
import type { EncodedChunk } from '../delivery/protocol.ts'

/** Most records of a chunk: one group commit, one message to the worker. */
const CHUNK_RECORDS = 512
/** As many small records fill it nearly, for it is kept as a whole; a larger record has a slab of its own. */
const SLAB_BYTES = 192 * 1024
/** Kept for use again. Left to the garbage collector of the other thread, slabs pile up between two of its runs. */
const MOST_SPARE_SLABS = 16

const HEADER = singleObjectHeader(NEWEST_SCHEMA)

/** Holds one open chunk at a time. */
export class ChunkWriter {
  #slab: Buffer = Buffer.allocUnsafeSlow(SLAB_BYTES)
  readonly #spare: ArrayBuffer[] = []
  #used = 0
  #count = 0
  #firstSeq = 0
  readonly #ends: Uint32Array = new Uint32Array(CHUNK_RECORDS)

  /** Records in the open chunk. */
  get count(): number {
    return this.#count
  }

  /** Bytes of the open chunk. */
  get bytes(): number {
    return this.#used
  }

  /** Whether a record of at most `maxBytes` goes into the open chunk; if not, {@link take} it first. */
  fits(maxBytes: number): boolean {
    return this.#count < CHUNK_RECORDS && (this.#count === 0 || this.#used + maxBytes <= this.#slab.length)
  }

  /** Appends a record that {@link fits}; its run_seq MUST follow the one before. */
  append(record: AuditRecord, maxBytes: number): void {
    if (this.#count === 0) {
      this.#firstSeq = record.run_seq
      if (maxBytes > this.#slab.length) this.#slab = Buffer.allocUnsafeSlow(maxBytes)
    }
    const start = this.#used
    this.#slab.set(HEADER, start)
    this.#used = writeRecord(record, this.#slab, start + SINGLE_OBJECT_BYTES)
    this.#ends[this.#count++] = this.#used
  }

  /**
   * Gives the open chunk away and opens an empty one. The chunk's memory can be transferred.
   * @param fromTrail - Whether its events are those of the trail itself.
   */
  take(fromTrail: boolean): EncodedChunk {
    const chunk = {
      firstSeq: this.#firstSeq,
      bytes: this.#takeBytes(),
      ends: this.#ends.slice(0, this.#count),
      fromTrail,
    }
    this.#used = 0
    this.#count = 0
    return chunk
  }

  /** A slab that is mostly empty is copied and used again: delivery must not hold memory that nothing is in. */
  #takeBytes(): Uint8Array<ArrayBuffer> {
    if (this.#used < this.#slab.length / 2) return new Uint8Array(this.#slab.subarray(0, this.#used))
    const bytes = new Uint8Array(this.#slab.buffer as ArrayBuffer, 0, this.#used)
    const spare = this.#spare.pop()
    this.#slab = spare === undefined ? Buffer.allocUnsafeSlow(SLAB_BYTES) : Buffer.from(spare)
    return bytes
  }

  /** Takes memory that nobody uses any more: the garbage collector, which sees small objects, would leave it for long. */
  recycle(memory: readonly ArrayBuffer[]): void {
    for (const slab of memory) {
      if (slab.byteLength === SLAB_BYTES && this.#spare.length < MOST_SPARE_SLABS) this.#spare.push(slab)
      else slab.transfer(0)
    }
  }
}
