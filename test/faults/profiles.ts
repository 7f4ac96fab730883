/** Settings of the consumers under test: quick ones, with which a round takes seconds, patient ones for a busy machine, and those a user has by default. */
import type { Timing } from './fault.ts'

export interface Profile {
  readonly timing: Timing
  readonly settings: Readonly<Record<string, string>>
}

/** How much the producer records: `light` is for a machine that others use as well. */
export interface Load {
  /** Events of a round at full speed. */
  readonly burst: number
  /** Events a second after them. */
  readonly rate: number
}

export const LOADS: Readonly<Record<'full' | 'light', Load>> = {
  full: { burst: 20_000, rate: 1000 },
  light: { burst: 2000, rate: 100 },
}

/** `default` changes nothing: its timing repeats consumer/src/settings.ts, so that the bounds can be told. */
export const PROFILES: Readonly<Record<'quick' | 'patient' | 'default', Profile>> = {
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
  patient: {
    timing: { sessionMs: 8000, leaseMs: 10_000, marginMs: 300 },
    settings: {
      SESSION_TIMEOUT_MS: '8000',
      LEASE_MS: '10000',
      CLOCK_MARGIN_MS: '300',
      INSERT_TIMEOUT_MS: '7000',
      BATCH_MAX_AGE_MS: '150',
      BATCH_MAX_EVENTS: '2000',
    },
  },
  default: { timing: { sessionMs: 30_000, leaseMs: 20_000, marginMs: 2000 }, settings: {} },
}
