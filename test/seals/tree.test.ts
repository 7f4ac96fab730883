/** The RFC 6962 tree and its proofs: vectors of others, a second library, and proofs that were changed. */
import { EMPTY_ROOT, leafHash, MerkleTree, verifyConsistency, verifyInclusion } from '@agent-audit/seals'
import { sha256 } from '@noble/hashes/sha2.js'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import proofs from './transparency-dev-proofs.json' with { type: 'json' }

/** The tree of eight leaves of the reference implementations of RFC 6962, and its roots by size. */
const LEAVES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f']
const ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
]

function treeOf(leaves: readonly (Uint8Array | string)[]): MerkleTree {
  const tree = new MerkleTree()
  for (const leaf of leaves) tree.append(leafHash(leaf))
  return tree
}

function numbered(size: number): MerkleTree {
  return treeOf(Array.from({ length: size }, (_, index) => `leaf ${index}`))
}

/** MTH as RFC 6962 section 2.1 defines it, by the second library. */
function definition(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return sha256(new Uint8Array())
  if (leaves.length === 1) return sha256(Uint8Array.of(0, ...(leaves[0] ?? [])))
  let middle = 1
  while (middle * 2 < leaves.length) middle *= 2
  return sha256(Uint8Array.of(1, ...definition(leaves.slice(0, middle)), ...definition(leaves.slice(middle))))
}

function bytesOf(texts: readonly string[]): Buffer[] {
  return texts.map((text) => Buffer.from(text, 'base64'))
}

describe('vectors of transparency-dev', () => {
  it('roots by size', () => {
    const tree = treeOf(LEAVES.map((hex) => Buffer.from(hex, 'hex')))
    expect(ROOTS.map((_, size) => tree.root(size).toString('hex'))).toEqual(ROOTS)
    expect(EMPTY_ROOT.toString('hex')).toBe(ROOTS[0])
  })

  it('inclusion proofs, right and wrong', () => {
    const found = proofs.inclusion.map(({ index, size, leafHash: leaf, root, proof }) => {
      const [leafBytes = Buffer.alloc(0), rootBytes = Buffer.alloc(0)] = bytesOf([leaf, root])
      return verifyInclusion({ index, size, leafHash: leafBytes, root: rootBytes, proof: bytesOf(proof) })
    })
    expect(found).toEqual(proofs.inclusion.map(({ valid }) => valid))
    expect(found.filter(Boolean)).toHaveLength(6)
    expect(found).toHaveLength(96)
  })

  it('consistency proofs, right and wrong', () => {
    const found = proofs.consistency.map(({ from, to, oldRoot, newRoot, proof }) => {
      const [old = Buffer.alloc(0), current = Buffer.alloc(0)] = bytesOf([oldRoot, newRoot])
      return verifyConsistency({ from, to, oldRoot: old, newRoot: current, proof: bytesOf(proof) })
    })
    // One of the vectors takes equal roots that are no hashes.
    const hashes = proofs.consistency.map(({ oldRoot }) => Buffer.from(oldRoot, 'base64').length === 32)
    expect(found).toEqual(proofs.consistency.map(({ valid }, index) => valid && hashes[index]))
    expect(found.filter(Boolean)).toHaveLength(5)
    expect(found).toHaveLength(98)
  })
})

it('the root is that of the definition', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 10 }), { maxLength: 40 }), (leaves) => {
      expect(treeOf(leaves).root()).toEqual(Buffer.from(definition(leaves)))
    }),
  )
})

const MAX = 70

it(`each leaf of each tree up to ${MAX} leaves is included, and each tree is the beginning of the later ones`, () => {
  const tree = numbered(MAX)
  const wrong: string[] = []
  for (let size = 0; size <= MAX; size += 1) {
    const root = tree.root(size)
    for (let index = 0; index < size; index += 1) {
      const proof = tree.inclusionProof(index, size)
      if (!verifyInclusion({ index, size, root, proof, leafHash: leafHash(`leaf ${index}`) }))
        wrong.push(`${index} in ${size}`)
    }
    for (let from = 0; from <= size; from += 1) {
      const proof = tree.consistencyProof(from, size)
      if (!verifyConsistency({ from, to: size, oldRoot: tree.root(from), newRoot: root, proof }))
        wrong.push(`${from} to ${size}`)
    }
  }
  expect(wrong).toEqual([])
})

it('a proof of another leaf, index or size, cut, extended or with a changed bit shows nothing', () => {
  const tree = numbered(MAX)
  const sizes = fc.integer({ min: 2, max: MAX })
  fc.assert(
    fc.property(sizes, fc.nat(), fc.nat(), fc.nat(255), (size, at, which, bit) => {
      const index = at % size
      const root = tree.root(size)
      const right = { index, size, root, proof: tree.inclusionProof(index, size), leafHash: leafHash(`leaf ${index}`) }
      const wrong = [
        { ...right, leafHash: leafHash(`leaf ${index + 1}`) },
        { ...right, index: (index + 1) % size },
        { ...right, root: tree.root(size - 1) },
        { ...right, proof: right.proof.slice(1) },
        { ...right, proof: right.proof.slice(0, -1) },
        { ...right, proof: [...right.proof, root] },
        { ...right, proof: flipped(right.proof, which, bit) },
      ]
      expect(wrong.map(verifyInclusion)).toEqual(wrong.map(() => false))
    }),
    { numRuns: 500 },
  )
})

it('a fork is consistent with no proof', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: MAX }), fc.nat(), fc.nat(), fc.nat(255), (to, at, which, bit) => {
      const from = 1 + (at % (to - 1))
      const tree = numbered(to)
      // The same leaves but for one of the old ones.
      const fork = treeOf(Array.from({ length: to }, (_, index) => `leaf ${index === at % from ? 'forged' : index}`))
      const right = { from, to, oldRoot: tree.root(from), newRoot: tree.root(), proof: tree.consistencyProof(from, to) }
      expect(verifyConsistency(right)).toBe(true)
      const wrong = [
        { ...right, newRoot: fork.root() },
        { ...right, newRoot: fork.root(), proof: fork.consistencyProof(from, to) },
        { ...right, oldRoot: fork.root(from) },
        { ...right, from: from - 1 },
        { ...right, proof: right.proof.slice(1) },
        { ...right, proof: [...right.proof, right.newRoot] },
        { ...right, proof: flipped(right.proof, which, bit) },
      ]
      expect(wrong.map(verifyConsistency)).toEqual(wrong.map(() => false))
    }),
    { numRuns: 300 },
  )
})

it('refuses leaves, sizes and indexes that there are not', () => {
  const tree = numbered(5)
  expect(() => tree.append(Buffer.alloc(31))).toThrow('expected a hash of 32 bytes')
  expect(() => tree.root(6)).toThrow('expected a size of at most 5, found 6')
  expect(() => tree.inclusionProof(5)).toThrow('expected an index below the size 5, found 5')
  expect(() => tree.inclusionProof(0, 6)).toThrow('expected a size of at most 5, found 6')
  expect(() => tree.consistencyProof(4, 3)).toThrow('expected sizes that do not fall, found 4 and 3')
  expect(tree.consistencyProof(0, 5)).toEqual([])
})

/** With one bit of one hash changed; the first hash, where the proof is empty. */
function flipped(proof: readonly Buffer[], which: number, bit: number): Buffer[] {
  if (proof.length === 0) return [Buffer.alloc(32)]
  const copy = proof.map((hash) => Buffer.from(hash))
  const hash = copy[which % copy.length]
  if (hash !== undefined) hash[bit >> 3] = (hash[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return copy
}
