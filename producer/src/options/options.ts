/** Options of a trail: checked once, at construction, every wrong one named. */
import { join } from 'node:path'
import { brokersSchema, saslSchema, sslSchema } from '@agent-audit/kafka'
import {
  DEFAULT_RETENTION_CLASS,
  DEFAULT_TOPIC,
  describeIssue,
  InvalidInputError,
  topicOfClass,
} from '@agent-audit/schemas'
import type { TrailError } from '@agent-audit/schemas'
import { z } from 'zod'
import { chooseDestination, defaultSpoolDir } from './destination.ts'
import type { Destination } from './destination.ts'
import { redactSchema } from '../redaction/rules.ts'
import type { Redact } from '../redaction/rules.ts'

/**
 * From when on an event counts as stored. `disk`: committed to the local spool, survives the process being killed.
 * `broker`: acknowledged by all in-sync replicas, survives the loss of the host. `memory`: buffered, survives nothing.
 */
export type Durability = 'disk' | 'broker' | 'memory'

/** TLS of one's own: a private CA, a client certificate. */
export interface SslOptions {
  /** PEM. */
  ca?: string | undefined
  /** PEM. */
  cert?: string | undefined
  /** PEM. */
  key?: string | undefined
}

/** A user of the brokers. */
export interface SaslOptions {
  /** As the brokers are set up. */
  mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'
  /** Its name. */
  username: string
  /** Never recorded, logged or quoted. */
  password: string
}

/** Only `agentId` is required. Every wrong option is named at once: `OPTIONS_INVALID`. */
export interface AuditTrailOptions {
  /** Stamped on every event; a session may say otherwise. */
  agentId: string
  /** Stamped on every event; a session may say otherwise. */
  agentVersion?: string | undefined
  /** Stamped on every event; a session or an llm_call may say otherwise. */
  modelId?: string | undefined
  /** How long these records are kept; each class has a topic of its own. @defaultValue 'default' */
  retentionClass?: string | undefined
  /** Name of this producer. @defaultValue agentId */
  producerId?: string | undefined
  /** The text is hashed, and recorded once a run; or only its SHA-256, as 64 hex digits. */
  systemPrompt?: string | { sha256: string } | undefined
  /** Topic of the class `default`; the others append `.<class>`. @defaultValue 'audit.events' */
  topic?: string | undefined
  /** Confluent Schema Registry API; unset: Avro single-object encoding. */
  schemaRegistryUrl?: string | undefined
  /** `host:port`, or `[::1]:9092`. @defaultValue env KAFKA_BROKERS, comma separated; neither: the embedded log in `dataDir` */
  brokers?: readonly string[] | undefined
  /** Directory of the embedded log; given, it is used whatever KAFKA_BROKERS says. @defaultValue env AUDIT_DATA_DIR, else './.audit-data' */
  dataDir?: string | undefined
  /** TLS to the brokers. @defaultValue with brokers of KAFKA_BROKERS env KAFKA_SSL, KAFKA_SSL_CA, _CERT and _KEY, else false */
  ssl?: boolean | SslOptions | undefined
  /** SASL credentials. @defaultValue with brokers of KAFKA_BROKERS env KAFKA_SASL_*, else no authentication */
  sasl?: SaslOptions | undefined
  /** 'broker' and 'memory' open no spool. @defaultValue 'disk' */
  durability?: Durability | undefined
  /** Stored then survives power loss: one fsync a group commit. @defaultValue false */
  fsync?: boolean | undefined
  /**
   * Where spools lie; shared by processes, one directory a cluster.
   * @defaultValue env AUDIT_SPOOL_DIR, else `spool` in the data directory, './.audit-spool' with brokers
   */
  spoolDir?: string | undefined
  /** Most bytes of events on disk that are not acknowledged, 1 MiB to 1 TiB. @defaultValue 1 GiB */
  spoolMaxBytes?: number | undefined
  /** Spool full: keep in memory until there is room, or refuse. @defaultValue 'wait' */
  onFull?: 'wait' | 'refuse' | undefined
  /** Bytes of encoded events in memory, 1 MiB to 1 GiB; beyond it events are refused whatever onFull says. @defaultValue 16 MiB */
  maxBufferBytes?: number | undefined
  /**
   * What a guard does when its call cannot be stored: not run the tool, or run it all the same. For all tools, or by
   * tool_name; there the key `tool_call` stands for those not named. @defaultValue 'refuse'
   */
  onUnavailable?: 'refuse' | 'proceed' | Readonly<Record<string, 'refuse' | 'proceed'>> | undefined
  /** Longest wait of a guard, a request or a decision for its record, 1 to 600000 milliseconds. @defaultValue 10000 */
  guardTimeoutMs?: number | undefined
  /**
   * Claims an approval (its approval_id) or an override (its event_id) before the action runs: true at the first call for
   * an id, false ever after, in whatever process. Needed where agents on several hosts may get the same one: a unique key
   * in a database they share. @defaultValue among the processes on one spool directory; without a spool, in this process
   */
  claimApproval?: ((id: string) => boolean | Promise<boolean>) | undefined
  /** Record of an llm_call's input_messages: only what the session has not recorded yet, or all. @defaultValue 'new' */
  inputMessages?: 'full' | 'new' | undefined
  /** Bytes of one encoded event, 4 KiB to 8 MiB. @defaultValue 512 KiB */
  maxRecordBytes?: number | undefined
  /** Larger events: cut the longest field and note it, or throw `RECORD_TOO_LARGE`. @defaultValue 'cut' */
  onOversize?: 'cut' | 'refuse' | undefined
  /**
   * What is taken out of an event's texts before it is encoded. 'secrets': values under the built-in key names, and keys and
   * tokens of common services; rules are added to that; 'off': nothing. arguments_sha256 stays that of the true arguments;
   * session_id, agent_id and what else names the session or the trail is recorded as given: put no secret there.
   * @defaultValue 'secrets'
   */
  redact?: Redact | undefined
  /** Deployment environment: production, staging and the like. */
  environment?: string | undefined
  /** For OpenTelemetry: `() => trace.getActiveSpan()?.spanContext()`. Called at every event. */
  traceContext?: (() => { traceId: string; spanId: string } | undefined) | undefined
  /** For imports: field_notes of every event say that its timestamp is not when it happened. @defaultValue false */
  syntheticTimestamps?: boolean | undefined
  /**
   * Hands events over on exit, SIGTERM, SIGINT and uncaught errors; changes no exit code. In a worker thread that is the
   * end of the thread by itself: one that is terminated, as process.exit() of the main thread does, keeps what was stored.
   * @defaultValue true
   */
  handleExit?: boolean | undefined
  /** Trouble no receipt shows; at most one a second a code. @defaultValue process.emitWarning */
  onProblem?: ((problem: TrailError) => void) | undefined
}

const KIB = 1024
const MIB = 1024 * KIB
const DEFAULT_SPOOL_BYTES = 1024 * MIB
const DEFAULT_BUFFER_BYTES = 16 * MIB
/** Half of what a Kafka topic takes by default, so that a record fits however its bytes compress. */
const DEFAULT_RECORD_BYTES = 512 * KIB

/** A broker's failover takes seconds; a tool that waits much longer is lost to its agent. */
const DEFAULT_GUARD_TIMEOUT_MS = 10_000

const name = z.string().min(1).max(200)
const topicName = z.string().regex(/^(?!\.{1,2}$)[\w.-]{1,200}$/, 'expected 1 to 200 of a-z A-Z 0-9 . _ -')
const aFunction = <Type>(): z.ZodType<Type, Type> =>
  z.custom<Type>((value) => typeof value === 'function', 'expected a function')

const schema: z.ZodType<unknown, AuditTrailOptions> = z.strictObject({
  agentId: name,
  agentVersion: z.string().optional(),
  modelId: z.string().optional(),
  retentionClass: topicName.optional(),
  producerId: name.optional(),
  systemPrompt: z
    .union([z.string(), z.strictObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/i, 'expected 64 hex digits') })])
    .optional(),
  topic: topicName.optional(),
  schemaRegistryUrl: z
    .url({ protocol: /^https?$/ })
    .refine((url) => !/\/\/[^/?#]*@/.test(url), 'expected a URL without user and password')
    .optional(),
  brokers: brokersSchema.optional(),
  dataDir: z.string().min(1).optional(),
  ssl: sslSchema.optional(),
  sasl: saslSchema.optional(),
  durability: z.enum(['disk', 'broker', 'memory']).optional(),
  fsync: z.boolean().optional(),
  spoolDir: z.string().min(1).optional(),
  spoolMaxBytes: z
    .int()
    .min(MIB)
    .max(1024 * 1024 * MIB)
    .optional(),
  onFull: z.enum(['wait', 'refuse']).optional(),
  maxBufferBytes: z
    .int()
    .min(MIB)
    .max(1024 * MIB)
    .optional(),
  onUnavailable: z
    .union([z.enum(['refuse', 'proceed']), z.record(z.string(), z.enum(['refuse', 'proceed']))])
    .optional(),
  guardTimeoutMs: z.int().min(1).max(600_000).optional(),
  claimApproval: aFunction<(id: string) => boolean>().optional(),
  inputMessages: z.enum(['full', 'new']).optional(),
  maxRecordBytes: z
    .int()
    .min(4 * KIB)
    .max(8 * MIB)
    .optional(),
  onOversize: z.enum(['cut', 'refuse']).optional(),
  redact: redactSchema.optional(),
  environment: z.string().optional(),
  traceContext: aFunction<NonNullable<AuditTrailOptions['traceContext']>>().optional(),
  syntheticTimestamps: z.boolean().optional(),
  handleExit: z.boolean().optional(),
  onProblem: aFunction<(problem: TrailError) => void>().optional(),
})

/** Options with everything filled in. */
export interface ResolvedOptions {
  readonly agentId: string
  readonly agentVersion: string | null
  readonly modelId: string | null
  readonly retentionClass: string
  readonly producerId: string
  readonly systemPrompt: string | { sha256: string } | undefined
  /** The class's own topic. */
  readonly topic: string
  readonly schemaRegistryUrl: string | undefined
  readonly destination: Destination
  readonly durability: Durability
  readonly fsync: boolean
  /** This topic's directory below `spoolDir`: a spool does not say which topic its records are for. */
  readonly spoolDir: string
  readonly spoolMaxBytes: number
  readonly onFull: 'wait' | 'refuse'
  readonly maxBufferBytes: number
  readonly onUnavailable: NonNullable<AuditTrailOptions['onUnavailable']>
  readonly guardTimeoutMs: number
  readonly claimApproval: AuditTrailOptions['claimApproval']
  readonly inputMessages: 'full' | 'new'
  readonly maxRecordBytes: number
  readonly onOversize: 'cut' | 'refuse'
  readonly redact: Redact
  readonly environment: string | null
  readonly traceContext: AuditTrailOptions['traceContext']
  readonly syntheticTimestamps: boolean
  readonly handleExit: boolean
  readonly onProblem: AuditTrailOptions['onProblem']
}

/** Fills in defaults, once. @throws InvalidInputError `OPTIONS_INVALID`, naming every wrong option. */
export function resolveOptions(options: AuditTrailOptions): ResolvedOptions {
  const result = schema.safeParse(options)
  const { destination, issues: inEnvironment } = chooseDestination({ ...options })
  const inOptions = result.success ? findContradictions(options) : result.error.issues.flatMap(describeIssue)
  const issues = [...inOptions, ...inEnvironment]
  if (issues.length > 0) {
    const listed = issues.map(({ path, expected }) => `${path}: ${expected}`).join('; ')
    throw new InvalidInputError('OPTIONS_INVALID', `options of the trail: ${listed}`, { issues })
  }
  const retentionClass = options.retentionClass ?? DEFAULT_RETENTION_CLASS
  const topic = topicOfClass(options.topic ?? DEFAULT_TOPIC, retentionClass)
  return {
    agentId: options.agentId,
    agentVersion: options.agentVersion ?? null,
    modelId: options.modelId ?? null,
    retentionClass,
    producerId: options.producerId ?? options.agentId,
    systemPrompt: options.systemPrompt,
    topic,
    schemaRegistryUrl: options.schemaRegistryUrl,
    destination,
    durability: options.durability ?? 'disk',
    fsync: options.fsync ?? false,
    spoolDir: join(options.spoolDir ?? defaultSpoolDir(destination), topic),
    spoolMaxBytes: options.spoolMaxBytes ?? DEFAULT_SPOOL_BYTES,
    onFull: options.onFull ?? 'wait',
    maxBufferBytes: options.maxBufferBytes ?? DEFAULT_BUFFER_BYTES,
    onUnavailable: options.onUnavailable ?? 'refuse',
    guardTimeoutMs: options.guardTimeoutMs ?? DEFAULT_GUARD_TIMEOUT_MS,
    claimApproval: options.claimApproval,
    inputMessages: options.inputMessages ?? 'new',
    maxRecordBytes: options.maxRecordBytes ?? DEFAULT_RECORD_BYTES,
    onOversize: options.onOversize ?? 'cut',
    redact: options.redact ?? 'secrets',
    environment: options.environment ?? null,
    traceContext: options.traceContext,
    syntheticTimestamps: options.syntheticTimestamps ?? false,
    handleExit: options.handleExit ?? true,
    onProblem: options.onProblem,
  }
}

function findContradictions(options: AuditTrailOptions): { path: string; expected: string }[] {
  const issues: { path: string; expected: string }[] = []
  const record = options.maxRecordBytes ?? DEFAULT_RECORD_BYTES
  if (options.brokers !== undefined && options.dataDir !== undefined) {
    issues.push({
      path: 'dataDir',
      expected: 'not together with brokers: it is the embedded log that stands in for them',
    })
  }
  for (const option of ['maxBufferBytes', 'spoolMaxBytes'] as const) {
    if ((options[option] ?? DEFAULT_BUFFER_BYTES) >= 2 * record) continue
    issues.push({ path: option, expected: `at least twice maxRecordBytes (${record}), or such a record never fits` })
  }
  return issues
}
