/** Settings of the consumers under test: quick ones, with which a round takes seconds, and those a user has by default. */
import type { Timing } from './fault.ts'

export interface Profile {
  readonly timing: Timing
  readonly settings: Readonly<Record<string, string>>
}

/** `default` changes nothing: its timing repeats consumer/src/settings.ts, so that the bounds can be told. */
export const PROFILES: Readonly<Record<'quick' | 'default', Profile>> = {
  quick: {
    timing: { sessionMs: 2500, leaseMs: 3000, marginMs: 300 },
    settings: {
      SESSION_TIMEOUT_MS: '2500',
      LEASE_MS: '3000',
      CLOCK_MARGIN_MS: '300',
      INSERT_TIMEOUT_MS: '1500',
      BATCH_MAX_AGE_MS: '150',
      BATCH_MAX_EVENTS: '2000',
    },
  },
  default: { timing: { sessionMs: 30_000, leaseMs: 20_000, marginMs: 2000 }, settings: {} },
}
