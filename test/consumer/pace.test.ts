import { Pace } from '@agent-audit/consumer/pipeline'
import { expect, it } from 'vitest'

const AGE_MS = 500

/** A pace whose last moment has just passed, and its time. */
function busy(age = AGE_MS): { pace: Pace; now: number } {
  const pace = new Pace(age)
  return { pace, now: pace.cutAt(0) }
}

it('cuts all batches at one moment: when the oldest record has the configured age', () => {
  const { pace, now } = busy()
  expect(pace.cutAt(now)).toBe(now + AGE_MS)
  expect(pace.cutAt(now + 1)).toBe(now + AGE_MS)
  expect(pace.cutAt(now + AGE_MS - 1)).toBe(now + AGE_MS)
  expect(pace.cutAt(now + AGE_MS)).toBe(now + 2 * AGE_MS)
})

it('cuts sooner after a quiet time', () => {
  const { pace, now } = busy()
  expect(pace.cutAt(now + 4 * AGE_MS)).toBe(now + 5 * AGE_MS)
  const quiet = now + 5 * AGE_MS + 4 * AGE_MS + 1
  expect(pace.cutAt(quiet)).toBe(quiet + AGE_MS / 4)
})

it('waits a little longer while inserts are slow, and not for ever', () => {
  const { pace } = busy()
  for (let insert = 0; insert < 50; insert++) pace.noteInsert(80)
  expect(pace.ageMs).toBe(AGE_MS)
  for (let insert = 0; insert < 50; insert++) pace.noteInsert(100)
  expect(pace.ageMs).toBeCloseTo(600, 0)
  for (let insert = 0; insert < 50; insert++) pace.noteInsert(9000)
  expect(pace.ageMs).toBe(650)
  for (let insert = 0; insert < 50; insert++) pace.noteInsert(30)
  expect(pace.ageMs).toBe(AGE_MS)
})

it('waits longer while the server has many parts to merge, but never beyond ten seconds', () => {
  const { pace } = busy()
  pace.noteParts(300)
  expect(pace.ageMs).toBe(1000)
  pace.noteParts(30_000)
  expect(pace.ageMs).toBe(10_000)
  pace.noteParts(100)
  expect(pace.ageMs).toBe(AGE_MS)
})

it('never shortens the configured age while records come', () => {
  expect(busy(30_000).pace.ageMs).toBe(30_000)
})
