/** Seeded randomness of tests: FAST_CHECK_SEED repeats a run. */
import * as fc from 'fast-check'

/** Takes the seed from the environment, else draws one; prints it either way. */
export function takeSeed(test: string): number {
  const given = process.env['FAST_CHECK_SEED']
  const seed = given === undefined || given === '' ? Math.floor(Math.random() * 2 ** 31) : Number(given)
  if (!Number.isInteger(seed)) throw new Error(`FAST_CHECK_SEED: expected a whole number, not ${given}`)
  process.stdout.write(`${test}: FAST_CHECK_SEED=${seed}\n`)
  return seed
}

/** `count` values of an arbitrary, the same for the same seed. */
export function draw<T>(arbitrary: fc.Arbitrary<T>, count: number, seed: number): T[] {
  return fc.sample(arbitrary, { numRuns: count, seed })
}
