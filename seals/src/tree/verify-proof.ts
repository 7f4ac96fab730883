/** Verification of proofs, as RFC 9162 sections 2.1.3.2 and 2.1.4.2 describe it. Numbers may be above 2^32: no bit operators. */
import { EMPTY_ROOT, nodeHash } from './hashes.ts'

export interface Inclusion {
  readonly leafHash: Uint8Array
  readonly index: number
  readonly size: number
  readonly root: Uint8Array
  readonly proof: readonly Uint8Array[]
}

/** Whether the leaf is in the tree of this root, at this index. */
export function verifyInclusion({ leafHash, index, size, root, proof }: Inclusion): boolean {
  if (!isSize(index) || !isSize(size) || index >= size) return false
  let [node, last, hash] = [index, size - 1, leafHash]
  for (const sibling of proof) {
    if (last === 0) return false
    if (isOdd(node) || node === last) {
      hash = nodeHash(sibling, hash)
      while (!isOdd(node) && node !== 0) [node, last] = [half(node), half(last)]
    } else {
      hash = nodeHash(hash, sibling)
    }
    ;[node, last] = [half(node), half(last)]
  }
  return last === 0 && equal(hash, root)
}

export interface Consistency {
  readonly from: number
  readonly to: number
  readonly oldRoot: Uint8Array
  readonly newRoot: Uint8Array
  readonly proof: readonly Uint8Array[]
}

/** Whether the tree of `from` leaves is the beginning of the tree of `to` leaves. */
export function verifyConsistency({ from, to, oldRoot, newRoot, proof }: Consistency): boolean {
  if (!isSize(from) || !isSize(to) || from > to) return false
  // Any tree begins with the empty one, and a tree with itself: these proofs are empty.
  if (from === 0) return proof.length === 0 && equal(oldRoot, EMPTY_ROOT)
  if (from === to) return proof.length === 0 && equal(oldRoot, newRoot)
  const [first, ...rest] = isPowerOfTwo(from) ? [oldRoot, ...proof] : proof
  if (first === undefined) return false
  let [node, last] = [from - 1, to - 1]
  while (isOdd(node)) [node, last] = [half(node), half(last)]
  let [old, current] = [first, first]
  for (const hash of rest) {
    if (last === 0) return false
    if (isOdd(node) || node === last) {
      ;[old, current] = [nodeHash(hash, old), nodeHash(hash, current)]
      while (!isOdd(node) && node !== 0) [node, last] = [half(node), half(last)]
    } else {
      current = nodeHash(current, hash)
    }
    ;[node, last] = [half(node), half(last)]
  }
  return last === 0 && equal(old, oldRoot) && equal(current, newRoot)
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

function isOdd(value: number): boolean {
  return value % 2 === 1
}

function half(value: number): number {
  return Math.floor(value / 2)
}

function isPowerOfTwo(value: number): boolean {
  let power = 1
  while (power < value) power *= 2
  return power === value
}

function equal(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0
}
