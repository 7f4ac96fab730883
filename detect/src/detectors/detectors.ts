/** The detectors that come with the trail. */
import type { Detector } from '../detector.ts'

export const DETECTORS: readonly Detector[] = []
