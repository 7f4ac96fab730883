export {
  type Bundle,
  type CheckpointEvidence,
  formatBundle,
  isBundle,
  parseBundle,
  type SealEvidence,
} from './bundle.ts'
export type { ApprovalOfSession } from './check-approvals.ts'
export { checkEvidence, type EvidenceReport, type EvidenceTrust } from './check.ts'
export type { RunOfSession } from './completeness.ts'
export { type EvidenceRecord, readRecord } from './records.ts'
export { renderReport } from './report.ts'
export type { EvidenceFinding, EvidenceVerdict, FindingKind } from './verdict.ts'
