/** Values whose size is known only afterwards, as that of unpacked records, are taken in turn. */
import { BufferMemory } from '@agent-audit/consumer/pipeline'
import { expect, it } from 'vitest'

const BUDGET = 2 ** 20
const go = new AbortController().signal

const ofBytes = (bytes: number) => () => Promise.resolve({ value: bytes, bytes })

/** Whether the promise is settled once every continuation that can run has run. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const turn = new Promise((resolve) => setImmediate(resolve, 'open'))
  return (await Promise.race([promise, turn])) !== 'open'
}

it('counts each value before the next one is taken', async () => {
  const memory = new BufferMemory(BUDGET)
  const first = Promise.withResolvers<{ value: string; bytes: number }>()
  const taking = memory.inTurn(go, () => first.promise)
  let freeAtSecond = BUDGET
  const second = memory.inTurn(go, () => {
    freeAtSecond = memory.freeBytes
    return ofBytes(1)()
  })
  expect(await isSettled(second)).toBe(false)
  first.resolve({ value: 'first', bytes: 1000 })
  expect((await taking)?.value).toBe('first')
  await second
  expect(freeAtSecond).toBe(BUDGET - 1000)
})

it('lets one value be held while memory is tight, so that one taker can always go on', async () => {
  const memory = new BufferMemory(BUDGET)
  memory.reserve(BUDGET)
  const first = await memory.inTurn(go, ofBytes(10))
  const second = memory.inTurn(go, ofBytes(10))
  expect(await isSettled(second)).toBe(false)
  first?.release()
  expect((await second)?.value).toBe(10)
  const third = memory.inTurn(go, ofBytes(10))
  expect(await isSettled(third)).toBe(false)
  memory.release(BUDGET)
  expect((await third)?.value).toBe(10)
})

it('skips a taker that no longer waits, and lets the next ones go on', async () => {
  const memory = new BufferMemory(BUDGET)
  memory.reserve(BUDGET)
  const held = await memory.inTurn(go, ofBytes(10))
  const stop = new AbortController()
  const givenUp = memory.inTurn(stop.signal, () => Promise.reject(new Error('taken')))
  const behind = memory.inTurn(go, ofBytes(20))
  stop.abort()
  expect(await givenUp).toBeUndefined()
  held?.release()
  expect((await behind)?.value).toBe(20)
})

it('goes on after a taker that failed', async () => {
  const memory = new BufferMemory(BUDGET)
  await expect(memory.inTurn(go, () => Promise.reject(new Error('damaged')))).rejects.toThrow('damaged')
  expect((await memory.inTurn(go, ofBytes(5)))?.value).toBe(5)
  expect(memory.freeBytes).toBe(BUDGET - 5)
})
