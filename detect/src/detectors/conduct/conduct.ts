/** The detectors of what an agent does within its sessions. */
import type { Detector } from '../../detector.ts'
import { APPROVAL_DETECTORS } from './approvals.ts'
import { DELIVERY_DETECTORS } from './delivery.ts'
import { EXFILTRATION_DETECTORS } from './exfiltration.ts'
import { LOOP_DETECTORS } from './loops.ts'
import { NEW_RESOURCE_DETECTORS } from './new-resource.ts'
import { REFUSAL_DETECTORS } from './refusals.ts'

export const CONDUCT_DETECTORS: readonly Detector[] = [
  ...LOOP_DETECTORS,
  ...APPROVAL_DETECTORS,
  ...REFUSAL_DETECTORS,
  ...NEW_RESOURCE_DETECTORS,
  ...DELIVERY_DETECTORS,
  ...EXFILTRATION_DETECTORS,
]
