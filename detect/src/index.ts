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
export {
  DECISIVE_STEP_RULES,
  DECISIVE_STEP_WEIGHTS,
  type RankedStep,
  rankDecisiveSteps,
  rankSteps,
  type Rule,
  rulesOf,
  type RuleWeights,
  type RunStep,
} from './hints/decisive-steps.ts'
