/** The detectors of injection. */
import type { Detector } from '../../detector.ts'
import { injectionFollowed } from './followed.ts'
import { injectionRead } from './read.ts'

export const INJECTION_DETECTORS: readonly Detector[] = [injectionFollowed, injectionRead]
