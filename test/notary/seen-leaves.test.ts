/** Equal notes are left out however many there are: beside a Set, over every doubling of the table. */
import { createHash } from 'node:crypto'
import { SeenLeaves } from '@agent-audit/notary'
import { expect, it } from 'vitest'

it('knows exactly the hashes that were added', () => {
  const [seen, oracle] = [new SeenLeaves(), new Set<number>()]
  const hashes = Array.from({ length: 20_000 }, (_, index) => createHash('sha256').update(String(index)).digest())
  // Each one again, in another order, between new ones.
  for (let step = 0; step < 2 * hashes.length; step += 1) {
    const index = step % 2 === 0 ? step / 2 : (step * 7919) % hashes.length
    const hash = hashes[index] ?? Buffer.alloc(0)
    expect(seen.has(hash)).toBe(oracle.has(index))
    expect(seen.add(hash)).toBe(!oracle.has(index))
    oracle.add(index)
  }
})
