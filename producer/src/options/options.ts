/** Options of a trail: checked once, at construction, every wrong one named. */
import { resolve } from 'node:path'
import { brokersSchema, saslSchema, secretSchema, sslSchema, tlsSchema } from '@agent-audit/kafka'
import {
  DEFAULT_RETENTION_CLASS,
  DEFAULT_TOPIC,
  describeIssues,
  InvalidInputError,
  isBelowDefaultTopic,
  readRegistryAccess,
  SEALS_SUFFIX,
  topicOfClass,
  urlFault,
} from '@agent-audit/schemas'
import type { Issue, RegistryConnection, TrailError } from '@agent-audit/schemas'
import { z } from 'zod'
import type { AuditTrailOptions, Durability, Redact } from '../api/trail-options.ts'
import { approvalSigningSchema, approvalTrustSchema, readSignedApprovals, type SignedApprovals } from './approvals.ts'
import { chooseDestination, defaultSpoolDir } from './destination.ts'
import type { Destination } from './destination.ts'
import { redactSchema } from '../redaction/rules.ts'
import { type Encryption, encryptionSchema, readEncryption } from './encryption.ts'
import { readSigning, type Signing, signingSchema } from './signing.ts'

const KIB = 1024
const MIB = 1024 * KIB
const DEFAULT_SPOOL_BYTES = 1024 * MIB
const DEFAULT_BUFFER_BYTES = 16 * MIB
/** Half of a Kafka topic's default max.message.bytes, so that a record fits however its bytes compress. */
const DEFAULT_RECORD_BYTES = 512 * KIB

/** A broker's failover takes seconds; a tool that waits much longer is lost to its agent. */
const DEFAULT_GUARD_TIMEOUT_MS = 10_000

const name = z.string().min(1).max(200)
const topicName = z.string().regex(/^(?!\.{1,2}$)[\w.-]{1,200}$/, 'expected 1 to 200 of a-z A-Z 0-9 . _ -')
const OF_SEALS = `expected no name that ends in ${SEALS_SUFFIX}: those are topics of seals`
const isOfSeals = (text: string): boolean => `.${text}`.endsWith(SEALS_SUFFIX)
const NO_BASE = `expected no name below ${DEFAULT_TOPIC}, which are the topics of its classes: give retentionClass`
const aFunction = <Type>(): z.ZodType<Type, Type> =>
  z.custom<Type>((value) => typeof value === 'function', 'expected a function')

const schema: z.ZodType<unknown, AuditTrailOptions> = z.strictObject({
  agentId: name,
  agentVersion: z.string().optional(),
  modelId: z.string().optional(),
  retentionClass: topicName.refine((text) => !isOfSeals(text), OF_SEALS).optional(),
  producerId: name.optional(),
  systemPrompt: z
    .union([z.string(), z.strictObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/i, 'expected 64 hex digits') })])
    .optional(),
  topic: topicName
    .refine((topic) => !isBelowDefaultTopic(topic), NO_BASE)
    .refine((text) => !text.endsWith(SEALS_SUFFIX), OF_SEALS)
    .optional(),
  schemaRegistryUrl: z
    .string()
    .refine((url) => urlFault(url) === undefined, { error: ({ input }) => urlFault(input as string) })
    .optional(),
  schemaRegistryAccess: z
    .strictObject({
      username: z.string().min(1).optional(),
      password: secretSchema.optional(),
      ssl: tlsSchema('schemaRegistryAccess.ssl').optional(),
    })
    .optional(),
  brokers: brokersSchema.optional(),
  dataDir: z.string().min(1).optional(),
  ssl: sslSchema.optional(),
  sasl: saslSchema.optional(),
  durability: z.enum(['disk', 'broker', 'memory']).optional(),
  signing: signingSchema.optional(),
  fsync: z.boolean().optional(),
  spoolDir: z.string().min(1).optional(),
  spoolMaxBytes: z
    .int()
    .min(MIB)
    .max(1024 * 1024 * MIB)
    .optional(),
  toAnyCluster: z.boolean().optional(),
  onFull: z.enum(['wait', 'refuse']).optional(),
  maxBufferBytes: z
    .int()
    .min(MIB)
    .max(1024 * MIB)
    .optional(),
  onUnavailable: z
    .union([z.enum(['refuse', 'proceed']), z.record(z.string(), z.enum(['refuse', 'proceed']))])
    .optional(),
  onResultUnavailable: z.enum(['throw', 'report']).optional(),
  guardTimeoutMs: z.int().min(1).max(600_000).optional(),
  claimApproval: aFunction<(id: string) => boolean>().optional(),
  allowSelfApproval: z.boolean().optional(),
  approvalSigning: approvalSigningSchema.optional(),
  approvalTrust: approvalTrustSchema.optional(),
  inputMessages: z.enum(['full', 'new']).optional(),
  maxRecordBytes: z
    .int()
    .min(4 * KIB)
    .max(8 * MIB)
    .optional(),
  onOversize: z.enum(['cut', 'refuse']).optional(),
  redact: redactSchema.optional(),
  encryption: encryptionSchema.optional(),
  environment: z.string().optional(),
  traceContext: aFunction<NonNullable<AuditTrailOptions['traceContext']>>().optional(),
  syntheticTimestamps: z.boolean().optional(),
  handleExit: z.boolean().optional(),
  onProblem: aFunction<(problem: TrailError) => void>().optional(),
})

/** Why the embedded log refuses the durability `broker`. */
export const NO_BROKER =
  'expected disk or memory: the embedded log is a file of this host, and broker promises to survive the loss of the host'

/** Options with everything filled in. */
export interface ResolvedOptions {
  readonly agentId: string
  readonly agentVersion: string | null
  readonly modelId: string | null
  readonly retentionClass: string
  readonly producerId: string
  readonly systemPrompt: string | { sha256: string } | undefined
  /** Topic of the retention class. */
  readonly topic: string
  readonly schemaRegistry: RegistryConnection | undefined
  readonly destination: Destination
  readonly durability: Durability
  /** Undefined: the trail makes no seals. */
  readonly signing: Signing | undefined
  readonly fsync: boolean
  /** The topic's directory below the option `spoolDir`; absolute. */
  readonly spoolDir: string
  readonly spoolMaxBytes: number
  readonly toAnyCluster: boolean
  readonly onFull: 'wait' | 'refuse'
  readonly maxBufferBytes: number
  readonly onUnavailable: NonNullable<AuditTrailOptions['onUnavailable']>
  readonly onResultUnavailable: 'throw' | 'report'
  readonly guardTimeoutMs: number
  readonly claimApproval: AuditTrailOptions['claimApproval']
  readonly allowSelfApproval: boolean
  readonly approvalSigner: SignedApprovals['signer']
  readonly approvalTrust: SignedApprovals['trust']
  readonly inputMessages: 'full' | 'new'
  readonly maxRecordBytes: number
  readonly onOversize: 'cut' | 'refuse'
  readonly redact: Redact
  /** Undefined: nothing is encrypted. */
  readonly encryption: Encryption | undefined
  readonly environment: string | null
  readonly traceContext: AuditTrailOptions['traceContext']
  readonly syntheticTimestamps: boolean
  readonly handleExit: boolean
  readonly onProblem: AuditTrailOptions['onProblem']
}

/**
 * Fills in defaults, once.
 * @param more - `unnamed`: destination where the options name none. Undefined: the one that the environment names. `sealed`:
 * whether a key is looked for, in the options and in the environment.
 * @throws InvalidInputError `OPTIONS_INVALID`, naming every wrong option.
 */
export function resolveOptions(
  options: AuditTrailOptions,
  { unnamed, sealed = unnamed === undefined }: { unnamed?: Destination; sealed?: boolean } = {},
): ResolvedOptions {
  const result = schema.safeParse(options)
  const { destination, issues: inEnvironment } = chooseDestination({ ...options }, unnamed)
  const inOptions = result.success
    ? findContradictions(options, destination)
    : describeIssues(result.error.issues, schema)
  const issues = [...inOptions, ...inEnvironment]
  const schemaRegistry = chooseRegistry(options, issues)
  const producerId = options.producerId ?? options.agentId
  const signing = result.success && sealed ? readSigning(options.signing, producerId, issues) : undefined
  // As for the destination, what is given in `unnamed` stands in the environment's place.
  const approvals = readSignedApprovals(result.success ? options : {}, unnamed === undefined ? process.env : {}, issues)
  const encryption = result.success ? readEncryption(options.encryption, issues) : undefined
  if (issues.length > 0 || destination === undefined) {
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
    producerId,
    systemPrompt: options.systemPrompt,
    topic,
    schemaRegistry,
    destination,
    durability: options.durability ?? 'disk',
    signing,
    fsync: options.fsync ?? false,
    spoolDir: resolve(options.spoolDir ?? defaultSpoolDir(destination), topic),
    spoolMaxBytes: options.spoolMaxBytes ?? DEFAULT_SPOOL_BYTES,
    toAnyCluster: options.toAnyCluster ?? false,
    onFull: options.onFull ?? 'wait',
    maxBufferBytes: options.maxBufferBytes ?? DEFAULT_BUFFER_BYTES,
    onUnavailable: options.onUnavailable ?? 'refuse',
    onResultUnavailable: options.onResultUnavailable ?? 'report',
    guardTimeoutMs: options.guardTimeoutMs ?? DEFAULT_GUARD_TIMEOUT_MS,
    claimApproval: options.claimApproval,
    allowSelfApproval: options.allowSelfApproval ?? false,
    approvalSigner: approvals.signer,
    approvalTrust: approvals.trust,
    inputMessages: options.inputMessages ?? 'new',
    maxRecordBytes: options.maxRecordBytes ?? DEFAULT_RECORD_BYTES,
    onOversize: options.onOversize ?? 'cut',
    redact: options.redact ?? 'secrets',
    encryption,
    environment: options.environment ?? null,
    traceContext: options.traceContext,
    syntheticTimestamps: options.syntheticTimestamps ?? false,
    handleExit: options.handleExit ?? true,
    onProblem: options.onProblem,
  }
}

/** The environment says how a registry is accessed, never that there is one. */
function chooseRegistry(options: AuditTrailOptions, issues: Issue[]): RegistryConnection | undefined {
  const { schemaRegistryUrl: url, schemaRegistryAccess } = options
  if (url === undefined) return undefined
  const access = schemaRegistryAccess ?? readRegistryAccess(process.env, issues)
  // A URL that is wrong by itself is named already.
  const fault = urlFault(url) === undefined ? urlFault(url, access.ssl) : undefined
  if (fault !== undefined) issues.push({ path: 'schemaRegistryUrl', expected: fault })
  return { url, ...access }
}

function findContradictions(options: AuditTrailOptions, destination: Destination | undefined): Issue[] {
  const issues: Issue[] = []
  const record = options.maxRecordBytes ?? DEFAULT_RECORD_BYTES
  if (options.brokers !== undefined && options.dataDir !== undefined) {
    issues.push({
      path: 'dataDir',
      expected: 'not together with brokers: the embedded log stands in for them',
    })
  }
  if (options.durability === 'broker' && destination?.kind === 'embedded') {
    issues.push({ path: 'durability', expected: NO_BROKER })
  }
  for (const option of ['maxBufferBytes', 'spoolMaxBytes'] as const) {
    if ((options[option] ?? DEFAULT_BUFFER_BYTES) >= 2 * record) continue
    issues.push({ path: option, expected: `at least twice maxRecordBytes (${record}), or such a record never fits` })
  }
  return issues
}
