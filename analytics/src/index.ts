export { agents, type AgentsOptions, type AgentSummary, type EventCount, eventCounts } from './queries/agents.ts'
export {
  type Analytics,
  type AnalyticsOptions,
  connectAnalytics,
  type QueryOptions,
  type RowSchema,
} from './connection/clickhouse.ts'
export { type Changes, changesSince, type Cursor } from './queries/changes.ts'
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
export { migrate, type MigrationReport } from './admin/migrate.ts'
export type { Range } from './verify/ranges.ts'
export { sessions, type SessionsOptions, type SessionSummary } from './queries/sessions.ts'
export { findPosition, quarantineRow, type RowAtPosition, rowsAt } from './admin/quarantine.ts'
export { checkWriterGrants, type LogRegistration, registerLog } from './admin/setup.ts'
export type { TimeWindow } from './connection/sql.ts'
export {
  EVENT_COLUMNS,
  sessionEvents,
  sessionTrail,
  toEvent,
  type TrailEvent,
  type TrailField,
} from './queries/session-trail.ts'
