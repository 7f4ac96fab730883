export {
  findSchema,
  fingerprintOf,
  NEWEST_SCHEMA,
  type RecordField,
  SCHEMA_VERSIONS,
  type SchemaVersion,
} from './avro-schema.ts'
export { findChecker, type RecordChecker, type RecordHead } from './checker.ts'
export { blockLengths, CONTAINER_SYNC, containerHeader, encodeContainer } from './container.ts'
export { decodeAsFarAsPossible, decodeRecord } from './decoder.ts'
export { maxRecordBytes, writeRecord } from './encoder.ts'
export {
  ActionRefusedError,
  AuditUnavailableError,
  type ErrorCode,
  IntegrityError,
  InvalidInputError,
  type Issue,
  TrailError,
} from './errors.ts'
export {
  type Common,
  type CustomEvent,
  type Decision,
  type ErrorEvent,
  type EventInput,
  type EventInputs,
  type FinalOutput,
  type HumanIntervention,
  type LlmCall,
  type Maybe,
  type Outcome,
  type SandboxCrossing,
  type SessionEnd,
  type SessionInputs,
  type SessionStart,
  type SessionTimeout,
  type StateSnapshot,
  type ToolCall,
  type ToolCallRequest,
  type ToolResult,
  type UserMessage,
} from './event-inputs.ts'
export { checkInput, describeIssue, EVENT_TYPES, invalidEvent } from './event-schemas.ts'
export { fingerprint64 } from './fingerprint.ts'
export {
  CONFLUENT_BYTES,
  type Frame,
  readFrame,
  reframeToConfluent,
  SINGLE_OBJECT_BYTES,
  singleObjectHeader,
} from './framing.ts'
export { excessiveGrants, readerGrants, writerGrants } from './grants.ts'
export { type ReadIdentity, readIdentity } from './identity.ts'
export { type Migration, readMigrations } from './migrations.ts'
export {
  DEFAULT_CONSUMER_GROUP,
  DEFAULT_DATABASE,
  DEFAULT_RETENTION_CLASS,
  DEFAULT_TOPIC,
  EVENTS_TABLE,
  LOGS_TABLE,
  logIdOf,
  SKIPPED_TABLE,
  topicOfClass,
} from './names.ts'
export { askInPieces } from './pieces.ts'
export type { AuditRecord } from './record.ts'
export { createSchemaRegistry, type SchemaRegistry } from './registry.ts'
export { MAX_VARINT_BYTES, varintBytes, writeBigLong, writeLong } from './varint.ts'
