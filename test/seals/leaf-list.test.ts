/** The leaves of a producer's seal are those of the formula, whatever the sizes of records. */
import { LEAF_BYTES, LeafList } from '@agent-audit/seals'
import { sha256 } from '@noble/hashes/sha2.js'
import * as fc from 'fast-check'
import { expect, it } from 'vitest'

const records = fc.array(
  fc.uint8Array({ maxLength: 40 }).map((bytes) => new Uint8Array(bytes)),
  { maxLength: 20 },
)

function leafOf(record: Uint8Array): Uint8Array {
  return sha256(Uint8Array.from(Buffer.concat([Buffer.of(0), record])))
}

it('leaf and digest are those that a second library computes', () => {
  fc.assert(
    fc.property(records, fc.nat(3), (given, before) => {
      const list = new LeafList()
      for (const record of given) {
        const chunk = Uint8Array.of(...Array(before).fill(255), ...record, 255)
        list.add(chunk, before, before + record.length)
      }
      const leaves = Buffer.concat(given.map(leafOf))
      expect(list.count).toBe(given.length)
      expect(list.leaves()).toEqual(leaves)
      expect(list.digest()).toEqual(Buffer.from(sha256(leaves)))
    }),
  )
})

it('grows beyond 1,024 leaves and takes large records', () => {
  const list = new LeafList()
  const large = Buffer.alloc(300_000, 5)
  for (let count = 0; count < 3_000; count += 1) list.add(Buffer.from(`record ${count}`), 0, `record ${count}`.length)
  list.add(large, 0, large.length)
  list.add(Buffer.from('small'), 0, 5)
  const leaves = list.leaves()
  expect(list.count).toBe(3_002)
  expect(leaves.subarray(2_999 * LEAF_BYTES, 3_000 * LEAF_BYTES)).toEqual(
    Buffer.from(leafOf(Buffer.from('record 2999'))),
  )
  expect(leaves.subarray(3_000 * LEAF_BYTES, 3_001 * LEAF_BYTES)).toEqual(Buffer.from(leafOf(large)))
  expect(leaves.subarray(3_001 * LEAF_BYTES)).toEqual(Buffer.from(leafOf(Buffer.from('small'))))
})

it('goes on from stored leaves, and is empty again after clear', () => {
  const first = new LeafList()
  for (const text of ['a', 'b', 'c']) first.add(Buffer.from(text), 0, 1)
  const second = LeafList.from(first.leaves().subarray(0, 2 * LEAF_BYTES))
  second.add(Buffer.from('c'), 0, 1)
  expect(second.digest()).toEqual(first.digest())
  const copy = second.leaves()
  second.clear()
  expect([second.count, second.leaves().length, copy.length]).toEqual([0, 0, 96])
  expect(second.digest()).toEqual(Buffer.from(sha256(new Uint8Array())))
  expect(() => LeafList.from(copy.subarray(1))).toThrow('expected leaves of 32 bytes each')
})
