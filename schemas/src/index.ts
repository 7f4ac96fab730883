export {
  type FieldHolds,
  findSchema,
  fingerprint64,
  fingerprintOf,
  NEWEST_SCHEMA,
  type RecordField,
  SCHEMA_VERSIONS,
  type SchemaVersion,
} from './avro/avro-schema.ts'
export { findChecker, type RecordChecker, type RecordHead } from './avro/checker.ts'
export {
  blockLengths,
  CONTAINER_SYNC,
  containerHeader,
  type ContainerRows,
  encodeContainer,
  encodeRows,
  readContainer,
} from './avro/container.ts'
export { decodeAsFarAsPossible, decodeRecord, readEventId, type ReadIdentity, readIdentity } from './avro/decoder.ts'
export { maxRecordBytes, writeRecord } from './avro/encoder.ts'
export {
  ActionRefusedError,
  AuditUnavailableError,
  type ErrorCode,
  IntegrityError,
  InvalidInputError,
  ResultNotRecordedError,
  type Issue,
  TrailError,
} from './errors.ts'
export {
  type ActionFields,
  type Approval,
  type Effect,
  type Maybe,
  type Policy,
  REASON_CODES,
  type ReasonCode,
} from './events/action-fields.ts'
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
} from './events/event-inputs.ts'
export { checkInput, describeIssues, EVENT_TYPES, invalidEvent, MAX_ISSUES } from './events/event-schemas.ts'
export {
  CONFLUENT_BYTES,
  type Frame,
  readFrame,
  reframeToConfluent,
  SINGLE_OBJECT_BYTES,
  singleObjectHeader,
} from './avro/framing.ts'
export {
  detectorGrants,
  excessiveGrants,
  lackingInserts,
  notaryGrants,
  readerGrants,
  type Role,
  writerGrants,
} from './clickhouse/grants.ts'
export { type Migration, readMigrations, statementsIn } from './clickhouse/migrations.ts'
export {
  ALERTS_TABLE,
  CHECKPOINTS_TABLE,
  classesOfTopic,
  DEFAULT_CONSUMER_GROUP,
  DEFAULT_DATABASE,
  DEFAULT_RETENTION_CLASS,
  DETECTOR_CURSORS_TABLE,
  DETECTOR_RUNS_TABLE,
  EXPIRED_RUNS_TABLE,
  EXPIRED_TABLE,
  DEFAULT_TOPIC,
  EVENTS_TABLE,
  FINDINGS_TABLE,
  isBelowDefaultTopic,
  LOGS_TABLE,
  logIdOf,
  QUARANTINED_TABLE,
  ROW_KEY,
  SEALS_SUFFIX,
  SEALS_TABLE,
  SKIPPED_TABLE,
  topicOfClass,
} from './names.ts'
export { noSuch } from './near-name.ts'
export { askInChunks, type ChunkLimits, inChunks } from './clickhouse/chunked-query.ts'
export { storeError, type StoreRequest } from './clickhouse/store-error.ts'
export {
  type AuditRecord,
  CUT_FIELDS,
  JSON_FIELDS,
  type JsonField,
  REDACTED_FIELDS,
  type TextField,
  TOKENS_ONLY_FIELDS,
} from './avro/record.ts'
export {
  createSchemaRegistry,
  readRegistryAccess,
  type RegistryAccess,
  type RegistryConnection,
  type SchemaRegistry,
} from './avro/registry.ts'
export { createRowSkipper, type RowBounds, type RowSkipper, SCHEMA_TAILS } from './avro/row-skipper.ts'
export { MAX_VARINT_BYTES, varintBytes, writeBigLong, writeLong } from './avro/varint.ts'
export {
  type ClientTls,
  findTlsIssues,
  httpsAgent,
  openSecret,
  openTls,
  readTlsEnvironment,
  type Secret,
  takeSecret,
  tlsFault,
} from './tls.ts'
export { endpointOf, type Environment, readSecret, urlFault } from './environment.ts'
