/** The detectors that come with the trail. */
import type { Detector } from '../detector.ts'
import { INJECTION_DETECTORS } from './injection/injection.ts'

export const DETECTORS: readonly Detector[] = [...INJECTION_DETECTORS]
