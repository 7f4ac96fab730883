/** A few kill rounds; `npm run test:kill -- --rounds N --seed S` runs more. */
import { embeddedAvailability } from '@agent-audit/stack'
import { expect, it } from 'vitest'
import { takeSeed } from '../support/seed.ts'
import { runKillRounds } from './rounds.ts'

const ROUNDS = 10
const clickHouse = embeddedAvailability()
const skip = clickHouse.available ? '' : ` (skipped: ${clickHouse.reason})`

it.skipIf(!clickHouse.available)(
  `events that killed producers reported as stored are in ClickHouse once${skip}`,
  { timeout: 180_000 },
  async () => {
    const report = await runKillRounds({ rounds: ROUNDS, seed: takeSeed('kill') })
    expect(report).toMatchObject({ missing: 0, repeated: 0, verdict: 'complete' })
    expect(report.stored).toBeGreaterThan(0)
  },
)
