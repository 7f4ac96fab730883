/** The Merkle tree hash of RFC 6962 section 2.1, and proofs over stored hashes of complete subtrees. */
import { createHash } from 'node:crypto'

const LEAF = Buffer.of(0)
const NODE = Buffer.of(1)

/** Hash of a leaf: SHA-256(0x00 || data). */
export function leafHash(data: Uint8Array | string): Buffer {
  return createHash('sha256').update(LEAF).update(data).digest()
}

/** Hash of an inner node: SHA-256(0x01 || left || right). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return createHash('sha256').update(NODE).update(left).update(right).digest()
}

/** Root of the tree without leaves. */
export const EMPTY_ROOT: Buffer = createHash('sha256').digest()

/** The hash of the complete subtree over the leaves from `index * 2^level` to before `(index + 1) * 2^level`. */
export type SubtreeHashes = (level: number, index: number) => Buffer

/** Largest power of two below `size`, which is 2 or more. */
function split(size: number): number {
  let power = 1
  while (power * 2 < size) power *= 2
  return power
}

/** Hash over the leaves from `start` to before `end`, of a range that RFC 6962 splits to: `start` is aligned to it. */
function rangeHash(hashes: SubtreeHashes, start: number, end: number): Buffer {
  const size = end - start
  const level = Math.round(Math.log2(size))
  if (2 ** level === size) return hashes(level, start / size)
  const middle = start + split(size)
  return nodeHash(rangeHash(hashes, start, middle), rangeHash(hashes, middle, end))
}

export function rootOf(hashes: SubtreeHashes, size: number): Buffer {
  return size === 0 ? EMPTY_ROOT : rangeHash(hashes, 0, size)
}

/** From the sibling of the leaf up to the child of the root. */
export function inclusionProofOf(hashes: SubtreeHashes, index: number, size: number): Buffer[] {
  if (!(index >= 0 && index < size)) throw new RangeError(`expected an index below the size ${size}, found ${index}`)
  const proof: Buffer[] = []
  for (let [start, end] = [0, size]; end - start > 1;) {
    const middle = start + split(end - start)
    if (index < middle) {
      proof.push(rangeHash(hashes, middle, end))
      end = middle
    } else {
      proof.push(rangeHash(hashes, start, middle))
      start = middle
    }
  }
  return proof.toReversed()
}

/** Shows that the first `from` leaves of the tree of `to` leaves are the tree of `from` leaves. */
export function consistencyProofOf(hashes: SubtreeHashes, from: number, to: number): Buffer[] {
  if (!(from >= 0 && from <= to)) throw new RangeError(`expected sizes that do not fall, found ${from} and ${to}`)
  if (from === 0 || from === to) return []
  const proof: Buffer[] = []
  let [start, end] = [0, to]
  while (end !== from) {
    const middle = start + split(end - start)
    if (from <= middle) {
      proof.push(rangeHash(hashes, middle, end))
      end = middle
    } else {
      proof.push(rangeHash(hashes, start, middle))
      start = middle
    }
  }
  // The old tree's own root is known to the verifier; a part of it is not.
  if (start > 0) proof.push(rangeHash(hashes, start, end))
  return proof.toReversed()
}
