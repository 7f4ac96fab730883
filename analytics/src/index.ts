export { CATALOGUE, type Catalogue, type ParamsOf, type QueryName, type RowOf } from './catalogue/catalogue.ts'
export { type Price, PRICES } from './catalogue/cost/prices.ts'
export { describeCatalogue } from './catalogue/describe.ts'
export { findQuery, type PageOptions, queryFile, type QueryRows, runQuery } from './catalogue/run.ts'
export { describeCost } from './catalogue/query.ts'
export type { Column, ColumnKind, Cost, NamedQuery, Parameter } from './catalogue/query.ts'
export type { AnyQuery } from './catalogue/params.ts'
export { agents, type AgentsOptions, type AgentSummary, type EventCount, eventCounts } from './queries/agents.ts'
export {
  type Analytics,
  type AnalyticsOptions,
  connectAnalytics,
  type QueryOptions,
  type RowSchema,
} from './connection/clickhouse.ts'
export { type Changes, changesSince, type Cursor } from './queries/changes.ts'
export { finalEnd, type LogRange, type StoredPartition, storedPartitions } from './queries/log-ranges.ts'
export { withoutQuarantined } from './connection/quarantine.ts'
export {
  faultOfSignature,
  judgeSignature,
  type SignatureFound,
  type SignedRecord,
} from './integrity/signatures/approval-signature.ts'
export type { Trust } from '@agent-audit/seals'
export { splitNotes } from './integrity/seal-log/checkpoints.ts'
export type { Finding, FindingCode, Place, Severity } from './integrity/findings.ts'
export {
  checkIntegrity,
  faultOfState,
  hasSeals,
  type Integrity,
  type IntegrityOptions,
  type Tier,
} from './integrity/integrity.ts'
export { formatVerifiedState, parseVerifiedState, type VerifiedState } from './integrity/increments/verified-state.ts'
export { ROW_COLUMNS } from './integrity/rows/row-columns.ts'
export type { KeptPartition, LogReader } from './integrity/log-search/log-search.ts'
export type { SealLogReport } from './integrity/seal-log/seal-log.ts'
export { checkCompleteness, completeness, type CompletenessOptions } from './verify/completeness.ts'
export type {
  Completeness,
  CompletenessSummary,
  Claim,
  Conflict,
  PartitionReport,
  RepeatedEvent,
  RepeatedOffset,
  RunGap,
  RunReport,
} from './verify/completeness-report.ts'
export {
  type DeadLetter,
  deadLetters,
  type DeadLettersOptions,
  type DeadRecord,
  parsePosition,
  readDeadLetter,
  readSkipped,
  type RecordPosition,
} from './queries/dead-letters.ts'
export { exportTrail, type ExportOptions, type ExportReport } from './export/export.ts'
export type { ExportColumn, ExportedFile, ExportRange, Manifest, Round, Stretch } from './export/manifest.ts'
export { type FileContent, type FileDigest, writeWhole } from './export/whole-file.ts'
export { migrate, type MigrationReport } from './admin/migrate.ts'
export { eventById } from './queries/event.ts'
export type { Range } from './verify/ranges.ts'
export { sessions, type SessionsOptions, type SessionSummary } from './queries/sessions.ts'
export { findPosition, quarantineRow, type RowAtPosition, rowsAt } from './admin/quarantine.ts'
export { checkGrants, type LogRegistration, registerLog } from './admin/setup.ts'
export { why } from './why/why.ts'
export type {
  ApprovalFacts,
  ApprovalWarning,
  CallFacts,
  Change,
  Circumstances,
  DataRead,
  Decision,
  EventRef,
  Followed,
  Reasoning,
  SessionFacts,
  Verdict,
  Why,
} from './why/answer.ts'
export type { WhyLimits } from './why/read-session.ts'
export { follow, type FollowOptions, type Notice } from './tail/follow.ts'
export { type Tail, type TailItem, type TailOptions, tailTrail } from './tail/tail.ts'
export { isoText, type TimeWindow } from './connection/sql.ts'
export {
  columnsOf,
  EVENT_COLUMNS,
  sessionEvents,
  sessionTrail,
  toEvent,
  type TrailEvent,
  type TrailField,
} from './queries/session-trail.ts'
export { mayInstruct } from './provenance/instruction-signs.ts'
export {
  type ArgumentOrigin,
  ArgumentTracer,
  type InstructionMatch,
  instructionsIn,
  leafPaths,
  type ProvenanceEvent,
  traceArguments,
} from './provenance/provenance.ts'
export { type Evidence, exportEvidence, type EvidenceOptions } from './evidence/export.ts'
export type { DecidedConflict } from './evidence/seal-slots.ts'
