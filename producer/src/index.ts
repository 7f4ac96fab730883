/** The producer: what agents import to record what they do. */
export type { ApprovalDecision, ApprovalOptions, ApprovalRequest, Verdict } from './guard/approval.ts'
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
} from './api/audit-trail.ts'
export { createAuditTrail } from './create-audit-trail.ts'
export { currentSession } from './session/current-session.ts'
export type { AuditTrailOptions, Durability, SaslOptions, SslOptions } from './options/options.ts'
export { spoolStatus } from './spool-status.ts'
export type { SpoolStatus } from './spool-status.ts'
export type { GuardOptions, Ruling } from './guard/guard.ts'
export type { Override, OverrideOptions } from './guard/override.ts'
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
