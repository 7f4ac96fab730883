/** The detectors that come with the trail. */
import type { Detector } from '../detector.ts'
import { ACTIVITY_DETECTORS } from './activity/activity.ts'
import { CONDUCT_DETECTORS } from './conduct/conduct.ts'
import { INJECTION_DETECTORS } from './injection/injection.ts'

export const DETECTORS: readonly Detector[] = [...ACTIVITY_DETECTORS, ...CONDUCT_DETECTORS, ...INJECTION_DETECTORS]
