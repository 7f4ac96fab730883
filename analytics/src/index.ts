export { agents, type AgentsOptions, type AgentSummary, type EventCount, eventCounts } from './agents.ts'
export { type Analytics, type AnalyticsOptions, connectAnalytics } from './clickhouse.ts'
export {
  type Completeness,
  completeness,
  type CompletenessOptions,
  type PartitionReport,
  type RepeatedEvent,
  type RepeatedOffset,
  type RunReport,
} from './completeness.ts'
export {
  type DeadLetter,
  deadLetters,
  type DeadLettersOptions,
  type DeadRecord,
  parsePlace,
  readDeadLetter,
  type RecordPlace,
} from './dead-letters.ts'
export { migrate, type MigrationReport } from './migrate.ts'
export type { Range } from './ranges.ts'
export { sessions, type SessionsOptions, type SessionSummary } from './sessions.ts'
export { checkWriterGrants, type LogRegistration, registerLog } from './setup.ts'
export type { TimeWindow } from './sql.ts'
export { sessionTrail, type TrailEvent } from './trail.ts'
