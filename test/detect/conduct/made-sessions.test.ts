import { expect, it } from 'vitest'
import { conductPart, makeSessions } from '../../../judge/conduct/part.ts'
import { find } from './support.ts'

const SEED = 20_261_129

it(`what is strong in made sessions is found, and a seed makes the same sessions again (seed ${SEED})`, async () => {
  const made = makeSessions(SEED)
  expect(makeSessions(SEED)).toEqual(made)
  const strong = made.filter(({ scenario }) => scenario.kind === 'strong')
  const missed = strong.filter(({ scenario, session }) => find(scenario.detector, session).length === 0)
  expect(
    missed.map(({ scenario, session }) => `${scenario.detector}: ${scenario.name}, ${session.session_id}`),
  ).toEqual([])
  const section = await conductPart.run({ seed: SEED })
  expect(typeof section === 'string' ? section : section.tables[0]?.rows).toHaveLength(10)
})
