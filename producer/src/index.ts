/** The producer: what agents import to record what they do. */
export type {
  ApprovalDecision,
  ApprovalOptions,
  ApprovalRequest,
  Approver,
  Override,
  OverrideOptions,
  Verdict,
} from './api/approval.ts'
export type { AuditTrail, DrainResult, TrailStats, WaitOptions } from './api/audit-trail.ts'
export type { EncryptedField, EncryptionOptions, EventNames } from './api/encryption.ts'
export type { GuardOptions, Ruling } from './api/guard-options.ts'
export type { Acknowledgement, Receipt, RecordOptions } from './api/receipt.ts'
export type { SessionRef } from './api/session-ref.ts'
export type { AuditSession } from './api/session.ts'
export type { AuditTrailOptions, Durability, OwnPattern, Redact, RedactionRules } from './api/trail-options.ts'
export type {
  DeliveryMessage,
  LostMessage,
  ProblemMessage,
  TelemetryChannels,
  TelemetrySource,
} from './api/telemetry.ts'
export { currentSession } from './context/current-session.ts'
export { createAuditTrail } from './create-audit-trail.ts'
export { signVerdict } from './guard/bound-verdict.ts'
export type { DataKey, DataKeyStore, FileKeyStoreOptions, Subject } from '@agent-audit/erasure'
export type { KafkaSasl } from '@agent-audit/kafka'
export { spoolStatus } from './spool-status.ts'
export type { SpoolSealStatus, SpoolStatus } from './spool-status.ts'
export {
  ActionRefusedError,
  AuditUnavailableError,
  IntegrityError,
  InvalidInputError,
  REASON_CODES,
  ResultNotRecordedError,
  TrailError,
} from '@agent-audit/schemas'
export type {
  ActionFields,
  Approval,
  ClientTls,
  Common,
  CustomEvent,
  Decision,
  Effect,
  ErrorCode,
  ErrorEvent,
  EventInput,
  FinalOutput,
  HumanIntervention,
  Issue,
  LlmCall,
  Maybe,
  Outcome,
  Policy,
  ReasonCode,
  RegistryAccess,
  SandboxCrossing,
  Secret,
  SessionEnd,
  SessionStart,
  SessionTimeout,
  StateSnapshot,
  ToolCall,
  ToolCallRequest,
  ToolResult,
  UserMessage,
} from '@agent-audit/schemas'
