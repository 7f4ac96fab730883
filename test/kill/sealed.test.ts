/** A few rounds of killed producers that seal; `npm run test:kill -- --sealed --rounds N --seed S` runs more. */
import { expect, it } from 'vitest'
import { takeSeed } from '../support/seed.ts'
import { runSealedKillRounds } from './sealed-rounds.ts'

it('every record of a killed producer that is in the topic is in exactly one seal', { timeout: 180_000 }, async () => {
  const report = await runSealedKillRounds({ rounds: 12, seed: takeSeed('kill-sealed') })
  expect(report).toMatchObject({ unsealed: 0, sealedTwice: 0, missing: 0, open: 0, faults: [] })
  expect(report.records).toBeGreaterThan(0)
  expect(report.adopted).toBeGreaterThan(0)
})
