/** A short outage; `npm run test:outage -- --events N` runs a longer one, and checks its cost. */
import { clickHouseAvailability, kafkaAvailability } from '@agent-audit/stack'
import { expect, it } from 'vitest'
import { runOutage } from './outage.ts'

const EVENTS = 120_000
const missing = [kafkaAvailability(), clickHouseAvailability()].find(({ available }) => !available)
const skip = missing?.available === false ? ` (skipped: ${missing.reason})` : ''

it.skipIf(skip !== '' || process.env['KAFKA_BROKERS'] !== undefined)(
  `all events recorded while the broker is down arrive in order and once${skip}`,
  { timeout: 180_000 },
  async () => {
    const { down, ...report } = await runOutage({ before: 60_000, events: EVENTS })
    expect(down.stats.refused).toBe(0)
    // Twice the memory that holds records to send.
    expect(down.stats.spoolBytes).toBeGreaterThan(16 * 2 ** 20)
    expect(report).toMatchObject({ stored: down.stats.recorded + 1, outOfOrder: 0, verdict: 'complete' })
  },
)
