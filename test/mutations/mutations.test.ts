import { expect, it } from 'vitest'
import { readText } from '../architecture/sources.ts'
import { ALL_MUTATIONS, mutate } from './mutations.ts'

// Whether a test then fails takes minutes to find out: `npm run test:mutations`.
it.each(ALL_MUTATIONS)('$guard: can still be switched off', (mutation) => {
  const source = readText(mutation.file)
  expect(mutate(source, mutation)).not.toBe(source)
})

it('a mutation that no longer applies is an error', () => {
  const [mutation] = ALL_MUTATIONS
  if (mutation === undefined) throw new Error('there are no mutations')
  expect(() => mutate('another source', mutation)).toThrow(mutation.guard)
})
