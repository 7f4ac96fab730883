/** The detectors that come with the trail. */
import type { Detector } from '../detector.ts'
import { ACTIVITY_DETECTORS } from './activity/activity.ts'

export const DETECTORS: readonly Detector[] = [...ACTIVITY_DETECTORS]
