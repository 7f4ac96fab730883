/** The producer: what agents import to record what they do. */
export type { ApprovalDecision, ApprovalOptions, ApprovalRequest, Verdict } from './approval.ts'
export type {
  Acknowledgement,
  AuditSession,
  AuditTrail,
  DrainResult,
  Receipt,
  RecordOptions,
  SessionRef,
  TrailStats,
  WaitOptions,
} from './audit-trail.ts'
export { createAuditTrail } from './create-audit-trail.ts'
export { currentSession } from './current-session.ts'
export type { AuditTrailOptions, Durability, SaslOptions, SslOptions } from './options.ts'
export { spoolStatus } from './spool-status.ts'
export type { SpoolStatus } from './spool-status.ts'
export type { GuardOptions, Ruling } from './guard.ts'
export type { Override, OverrideOptions } from './override.ts'
export type { OwnPattern, Redact, RedactionRules } from './redaction/rules.ts'
export {
  ActionRefusedError,
  AuditUnavailableError,
  IntegrityError,
  InvalidInputError,
  TrailError,
} from '@agent-audit/schemas'
export type {
  Common,
  CustomEvent,
  Decision,
  ErrorCode,
  ErrorEvent,
  EventInput,
  FinalOutput,
  HumanIntervention,
  Issue,
  LlmCall,
  Maybe,
  Outcome,
  SandboxCrossing,
  SessionEnd,
  SessionStart,
  SessionTimeout,
  StateSnapshot,
  ToolCall,
  ToolCallRequest,
  ToolResult,
  UserMessage,
} from '@agent-audit/schemas'
