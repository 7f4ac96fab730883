/**
 * A few hundred simulations of consumers under faults (simulate.ts). More, and others: `npm run test:sim`.
 */
import { describe, expect, it } from 'vitest'
import { CALL_FAULTS, EVENT_FAULTS, type Fault, LASTING_FAULTS } from './faults.ts'
import { describeFailure } from './replay.ts'
import { simulate } from './simulate.ts'

const SEEDS = 300
const SEEDS_A_TEST = 50

const firstSeeds = Array.from({ length: SEEDS / SEEDS_A_TEST }, (_, index) => 1 + index * SEEDS_A_TEST)
const struck = new Set<Fault>()

describe('under faults of every kind', () => {
  it.each(firstSeeds)(
    `every record is stored once, no consumer stops or waits for ever: ${SEEDS_A_TEST} seeds from %i`,
    async (first) => {
      for (let seed = first; seed < first + SEEDS_A_TEST; seed++) {
        const outcome = await simulate(seed)
        expect(outcome.violation === undefined ? '' : await describeFailure(outcome)).toBe('')
        for (const fault of outcome.faults.keys()) struck.add(fault)
      }
    },
  )

  it('every kind of fault has struck', () => {
    expect([...struck].toSorted()).toEqual([...CALL_FAULTS, ...EVENT_FAULTS, ...LASTING_FAULTS].toSorted())
  })
})

it('the same seed gives the same history, to the letter', async () => {
  const [once, again] = [await simulate(7, true), await simulate(7, true)]
  expect(once.history.length).toBeGreaterThan(100)
  expect(again).toEqual(once)
})
