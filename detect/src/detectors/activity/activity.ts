/** What an agent does over time, beside its own past. */
import type { Detector } from '../../detector.ts'
import { budget } from './budget.ts'
import { argumentDrift, lengthDrift, outcomeDrift, toolDrift } from './drift.ts'
import { errorRate } from './errors.ts'
import { latency, tokens } from './levels.ts'
import { newTool } from './new-tool.ts'
import { eventRate, sessionRate } from './rates.ts'
import { silentAgent } from './silent.ts'
import { unversionedChange } from './unversioned-change.ts'

export const ACTIVITY_DETECTORS: readonly Detector[] = [
  sessionRate,
  eventRate,
  tokens,
  errorRate,
  latency,
  budget,
  toolDrift,
  argumentDrift,
  outcomeDrift,
  lengthDrift,
  newTool,
  unversionedChange,
  silentAgent,
]
