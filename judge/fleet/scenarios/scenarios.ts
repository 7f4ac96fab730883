/** All scenarios of the made fleets. Those of sessions stand in files of their own beside these. */
import type { Scenario } from '../scenario.ts'
import { DRIFT_SCENARIOS } from './drifts.ts'
import { RATE_SCENARIOS } from './rates.ts'

export const SCENARIOS: readonly Scenario[] = [...RATE_SCENARIOS, ...DRIFT_SCENARIOS]
