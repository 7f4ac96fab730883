export {
  type Detector,
  type Finding,
  type QueryDetector,
  type QueryWindow,
  type Session,
  SESSION_FIELDS,
  type SessionDetector,
  type SessionEvent,
  type SessionField,
  SEVERITIES,
  type Severity,
  type Signal,
  type Thresholds,
} from './detector.ts'
export { DETECTORS } from './detectors/detectors.ts'
