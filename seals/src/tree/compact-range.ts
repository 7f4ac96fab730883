/** An RFC 6962 tree that only grows and only tells its root: one hash for each bit of its size. */
import { EMPTY_ROOT, HASH_BYTES, nodeHash } from './hashes.ts'

export class CompactRange {
  #size = 0
  /** Complete subtrees from left to right, the largest first. */
  readonly #hashes: Buffer[] = []

  /** @param hashes - As {@link CompactRange.hashes} gave them at this size. */
  static from(size: number, hashes: readonly Uint8Array[]): CompactRange {
    if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`expected a size, found ${size}`)
    const count = size.toString(2).replaceAll('0', '').length
    if (hashes.length !== count)
      throw new RangeError(`expected ${count} hashes for size ${size}, found ${hashes.length}`)
    const range = new CompactRange()
    range.#size = size
    range.#hashes.push(...hashes.map((hash) => Buffer.from(hash)))
    return range
  }

  get size(): number {
    return this.#size
  }

  hashes(): Buffer[] {
    return [...this.#hashes]
  }

  append(leafHash: Uint8Array): void {
    if (leafHash.length !== HASH_BYTES) throw new RangeError(`expected a hash of ${HASH_BYTES} bytes`)
    let hash: Buffer = Buffer.from(leafHash)
    // Each set bit at the end of the size is a subtree that the new one completes.
    for (let rest = this.#size; rest % 2 === 1; rest = Math.floor(rest / 2)) {
      hash = nodeHash(this.#hashes.pop() ?? hash, hash)
    }
    this.#hashes.push(hash)
    this.#size += 1
  }

  root(): Buffer {
    return this.#size === 0 ? EMPTY_ROOT : this.#hashes.reduceRight((right, left) => nodeHash(left, right))
  }
}
