import { Pace } from '@agent-audit/consumer/pipeline'
import { expect, it } from 'vitest'

const AGE_MS = 500

async function ageWith(partitions: number, parts: number): Promise<number> {
  const pace = new Pace(AGE_MS)
  pace.noteParts(parts)
  const ends = Promise.withResolvers<void>()
  const working = Array.from({ length: partitions }, () => pace.during(() => ends.promise))
  const age = pace.maxAgeMs
  ends.resolve()
  await Promise.all(working)
  expect(pace.maxAgeMs).toBeLessThanOrEqual(age)
  return age
}

it('gives few partitions the configured age', async () => {
  expect(await ageWith(1, 0)).toBe(AGE_MS)
  expect(await ageWith(6, 100)).toBe(AGE_MS)
})

it('limits many partitions together to 12 inserts a second', async () => {
  expect(await ageWith(12, 0)).toBe(1000)
  expect(await ageWith(60, 0)).toBe(5000)
})

it('waits longer while the server has many parts to merge, but never beyond ten seconds', async () => {
  expect(await ageWith(12, 300)).toBe(2000)
  expect(await ageWith(64, 3000)).toBe(10_000)
})

it('never shortens the configured age', async () => {
  const pace = new Pace(30_000)
  expect(pace.maxAgeMs).toBe(30_000)
})
