export {
  candidatesOf,
  type Detector,
  type Finding,
  isHidden,
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
export { forgedApprovals } from './detectors/conduct/forged-approvals.ts'
export { DETECTORS } from './detectors/detectors.ts'
export { Engine, type EngineOptions, type Judged } from './engine/engine.ts'
export { DECIDING_AGENT, type DecisionType, type FindingState, STATES, type Subject } from './findings/decisions.ts'
export { findingId } from './findings/finding-id.ts'
export {
  detectorsOf,
  type FindingPlace,
  findings,
  type FindingsOptions,
  type StoredFinding,
} from './findings/read-findings.ts'
export {
  type FindingsTail,
  type FindingsTailItem,
  type FindingsTailOptions,
  tailFindings,
} from './findings/tail-findings.ts'
export { joined, loadDetectors, noSuchDetector, readThresholds } from './own-detectors.ts'
export { watch, type WatchOptions } from './engine/watch.ts'
export type { AlertTarget } from './alerts/alert.ts'
export { Alerts, type AlertOptions, type Delivered } from './alerts/alerts.ts'
export { topicTarget } from './alerts/topic.ts'
export { slackTarget, webhookTarget } from './alerts/webhook.ts'
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
