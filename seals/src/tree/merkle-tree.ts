/** An RFC 6962 tree in memory: 64 bytes a leaf, so that it gives any proof at once. */
import { consistencyProofOf, inclusionProofOf, nodeHash, rootOf, type SubtreeHashes } from './hashes.ts'

const HASH_BYTES = 32
const FIRST_HASHES = 32

/** A list of hashes in one buffer, that grows. */
class HashList {
  #bytes = Buffer.alloc(FIRST_HASHES * HASH_BYTES)
  length = 0

  push(hash: Uint8Array): void {
    const at = this.length * HASH_BYTES
    if (at === this.#bytes.length) this.#bytes = Buffer.concat([this.#bytes], 2 * at)
    this.#bytes.set(hash, at)
    this.length += 1
  }

  get(index: number): Buffer {
    if (index >= this.length) throw new RangeError(`expected an index below ${this.length}, found ${index}`)
    return this.#bytes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES)
  }
}

export class MerkleTree {
  /** Of each level the complete subtrees, from left to right. */
  readonly #levels: HashList[] = []
  readonly #hashes: SubtreeHashes = (level, index) => Buffer.from(this.#level(level).get(index))

  get size(): number {
    return this.#levels[0]?.length ?? 0
  }

  /** @param leafHash - As `leafHash` gives it. */
  append(leafHash: Uint8Array): void {
    if (leafHash.length !== HASH_BYTES) throw new RangeError(`expected a hash of ${HASH_BYTES} bytes`)
    let hash = leafHash
    for (let level = 0; ; level += 1) {
      const list = this.#level(level)
      list.push(hash)
      if (list.length % 2 === 1) return
      hash = nodeHash(list.get(list.length - 2), list.get(list.length - 1))
    }
  }

  /** @param size - Of the tree's first leaves. @defaultValue all leaves */
  root(size: number = this.size): Buffer {
    return rootOf(this.#hashes, this.#known(size))
  }

  /** @throws RangeError, if the tree of `size` leaves has no such leaf */
  inclusionProof(index: number, size: number = this.size): Buffer[] {
    return inclusionProofOf(this.#hashes, index, this.#known(size))
  }

  /** @throws RangeError, if the sizes fall or are above the tree's */
  consistencyProof(from: number, to: number = this.size): Buffer[] {
    return consistencyProofOf(this.#hashes, from, this.#known(to))
  }

  /** The hash of a complete subtree, as tiles have them. */
  subtree(level: number, index: number): Buffer {
    return this.#hashes(level, index)
  }

  #known(size: number): number {
    if (Number.isInteger(size) && size >= 0 && size <= this.size) return size
    throw new RangeError(`expected a size of at most ${this.size}, found ${size}`)
  }

  #level(level: number): HashList {
    return (this.#levels[level] ??= new HashList())
  }
}
