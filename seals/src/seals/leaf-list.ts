/** The leaves of a producer's seal: SHA-256(0x00 || record) of each, back to back in one buffer. */
import { hash } from 'node:crypto'

export const LEAF_BYTES = 32
const FIRST_LEAVES = 1_024
const FIRST_INPUT = 4_096
/** Views of the input up to this length are made once: some 100 bytes each. */
const MAX_VIEW = 1_024

/** Leaves are added in the order of run_seq. */
export class LeafList {
  #leaves = Buffer.alloc(FIRST_LEAVES * LEAF_BYTES)
  #bytes = 0
  /** 0x00, and then the record of the moment. */
  #input = Buffer.alloc(FIRST_INPUT)
  /** The first bytes of the input, by their number. */
  #views: Buffer[] = []

  /** @param leaves - As {@link LeafList.leaves} gives them. */
  static from(leaves: Uint8Array): LeafList {
    if (leaves.length % LEAF_BYTES !== 0) throw new RangeError(`expected leaves of ${LEAF_BYTES} bytes each`)
    const list = new LeafList()
    list.#reserve(leaves.length)
    list.#leaves.set(leaves)
    list.#bytes = leaves.length
    return list
  }

  /** @param bytes - Holds the Avro body of the record from `start` to before `end`. */
  add(bytes: Uint8Array, start: number, end: number): void {
    const length = 1 + end - start
    if (length > this.#input.length) {
      this.#input = Buffer.alloc(2 * length)
      this.#views = []
    }
    // Makes no view of the record, as set() would need.
    Buffer.prototype.copy.call(bytes, this.#input, 1, start, end)
    this.#reserve(LEAF_BYTES)
    // Text of one byte a character, written into the list: no buffer is made for the hash, which alone costs as much again.
    this.#leaves.write(hash('sha256', this.#view(length), 'binary'), this.#bytes, 'latin1')
    this.#bytes += LEAF_BYTES
  }

  #view(length: number): Buffer {
    if (length > MAX_VIEW) return this.#input.subarray(0, length)
    return (this.#views[length] ??= this.#input.subarray(0, length))
  }

  get count(): number {
    return this.#bytes / LEAF_BYTES
  }

  /** A copy: 32 bytes a leaf. */
  leaves(): Buffer {
    return Buffer.from(this.#leaves.subarray(0, this.#bytes))
  }

  /** SHA-256 over the leaves. */
  digest(): Buffer {
    return hash('sha256', this.#leaves.subarray(0, this.#bytes), 'buffer')
  }

  clear(): void {
    this.#bytes = 0
  }

  #reserve(more: number): void {
    if (this.#bytes + more <= this.#leaves.length) return
    const larger = Buffer.alloc(Math.max(2 * this.#leaves.length, this.#bytes + more))
    this.#leaves.copy(larger, 0, 0, this.#bytes)
    this.#leaves = larger
  }
}
