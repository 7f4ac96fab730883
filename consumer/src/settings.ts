/** The consumer's settings, from the environment: checked once, at start, with every wrong one named. */
import { type KafkaConnection, readKafkaEnvironment } from '@agent-audit/kafka'
import {
  type ClientTls,
  DEFAULT_CONSUMER_GROUP,
  DEFAULT_DATABASE,
  DEFAULT_TOPIC,
  InvalidInputError,
  type Issue,
  readRegistryAccess,
  readSecret,
  readTlsEnvironment,
  type RegistryAccess,
  urlFault,
} from '@agent-audit/schemas'
import { z } from 'zod'

/** Settings with defaults filled in, under the names of their environment variables; those of Kafka together. */
export interface Settings {
  /** From KAFKA_BROKERS, KAFKA_SSL, KAFKA_SSL_* and KAFKA_SASL_*; undefined: the embedded log in AUDIT_DATA_DIR. */
  kafka?: KafkaConnection | undefined
  /** Needed for records in the Confluent wire format. */
  SCHEMA_REGISTRY_URL?: string | undefined
  /** From SCHEMA_REGISTRY_USERNAME, _PASSWORD and SCHEMA_REGISTRY_SSL_*. */
  registryAccess?: RegistryAccess | undefined
  /** From CLICKHOUSE_SSL_*. */
  clickHouseTls?: ClientTls | undefined
  /** Private key of the seals of what is stored. Empty, like the next one: nothing is sealed. */
  AUDIT_SIGNING_KEY_FILE: string
  /** The Unix socket of `agent-audit signer --role consumer`, which has that key in another process. */
  AUDIT_SIGNER_SOCKET: string
  /** Directory of the embedded log; empty where KAFKA_BROKERS names the log. One of the two must be set. */
  AUDIT_DATA_DIR: string
  AUDIT_TOPICS: string[]
  AUDIT_GROUP_ID: string
  CLICKHOUSE_URL: string
  CLICKHOUSE_USER: string
  CLICKHOUSE_PASSWORD: string
  CLICKHOUSE_DATABASE: string
  /** A batch is written at this many events, bytes, or milliseconds after its first record: whichever comes first. */
  BATCH_MAX_EVENTS: number
  BATCH_MAX_BYTES: number
  BATCH_MAX_AGE_MS: number
  /** Consecutive dead letters that a partition may have. It stops at the next one. */
  DEAD_LETTER_MAX_CONSECUTIVE: number
  /** Bytes that all partitions together may buffer: batches, and records fetched ahead. */
  BUFFER_MAX_BYTES: number
  /** How long an insert may take before its answer counts as unclear, milliseconds; below LEASE_MS. */
  INSERT_TIMEOUT_MS: number
  /** How long ClickHouse may take to answer a query, milliseconds. */
  QUERY_TIMEOUT_MS: number
  /** D of the protocol: how long an insert may live after its lease was taken, milliseconds of ClickHouse's clock. */
  LEASE_MS: number
  /** M of the protocol: the largest step back of ClickHouse's clock, milliseconds. */
  CLOCK_MARGIN_MS: number
  /** After this long without a heartbeat the group takes the partitions away, milliseconds. */
  SESSION_TIMEOUT_MS: number
  /** How long a drain may take before the process exits all the same, milliseconds. */
  SHUTDOWN_TIMEOUT_MS: number
  HTTP_HOST: string
  /** 0 for any free port. */
  HTTP_PORT: number
  LOG_LEVEL: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'
}

const list = z.string().transform((text) => text.split(',').map((item) => item.trim()))
const whole = (low: number, high: number): z.ZodType<number> =>
  z
    .string()
    .regex(/^\d{1,15}$/, `expected a whole number from ${low} to ${high}`)
    .transform(Number)
    .pipe(z.int().min(low, `expected at least ${low}`).max(high, `expected at most ${high}`))
/** Credentials in it would be in logs: they have variables of their own. */
const serviceUrl = z.string().superRefine((text, context) => {
  const fault = urlFault(text)
  if (fault !== undefined) context.addIssue(fault)
})

const FIELDS: {
  readonly [Name in Exclude<keyof Settings, 'kafka' | 'registryAccess' | 'clickHouseTls'>]: z.ZodType<Settings[Name]>
} = {
  SCHEMA_REGISTRY_URL: serviceUrl.optional(),
  AUDIT_SIGNING_KEY_FILE: z.string().default(''),
  AUDIT_SIGNER_SOCKET: z.string().default(''),
  AUDIT_DATA_DIR: z.string().default(''),
  AUDIT_TOPICS: list
    .pipe(z.array(z.string().regex(/^[\w.-]{1,200}$/, 'expected topic names, comma separated')).min(1))
    .refine((topics) => new Set(topics).size === topics.length, 'expected each topic once')
    .default([DEFAULT_TOPIC]),
  AUDIT_GROUP_ID: z.string().min(1).default(DEFAULT_CONSUMER_GROUP),
  CLICKHOUSE_URL: serviceUrl.default('http://localhost:8123'),
  CLICKHOUSE_USER: z.string().min(1).default('audit_writer'),
  CLICKHOUSE_PASSWORD: z.string().default(''),
  CLICKHOUSE_DATABASE: z.string().regex(/^\w+$/, 'expected a name of letters, digits and _').default(DEFAULT_DATABASE),
  BATCH_MAX_EVENTS: whole(1, 1_000_000).default(50_000),
  BATCH_MAX_BYTES: whole(1024, 256 * 2 ** 20).default(16 * 2 ** 20),
  BATCH_MAX_AGE_MS: whole(1, 60_000).default(500),
  DEAD_LETTER_MAX_CONSECUTIVE: whole(1, 1_000_000_000).default(1000),
  BUFFER_MAX_BYTES: whole(2 ** 20, 16 * 2 ** 30).default(64 * 2 ** 20),
  INSERT_TIMEOUT_MS: whole(100, 600_000).default(10_000),
  QUERY_TIMEOUT_MS: whole(100, 600_000).default(30_000),
  LEASE_MS: whole(200, 1_200_000).default(20_000),
  CLOCK_MARGIN_MS: whole(0, 600_000).default(2000),
  SESSION_TIMEOUT_MS: whole(1000, 1_800_000).default(30_000),
  SHUTDOWN_TIMEOUT_MS: whole(100, 600_000).default(10_000),
  HTTP_HOST: z.string().min(1).default('127.0.0.1'),
  HTTP_PORT: whole(0, 65_535).default(9464),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
}

/** Valid settings that contradict each other. Settings that are invalid by themselves are left out. */
function findContradictions(value: Partial<Settings>): Issue[] {
  const issues: Issue[] = []
  const expectBelow = (name: NumericSetting, other: NumericSetting, why: string): void => {
    const [low, high] = [value[name], value[other]]
    if (low === undefined || high === undefined || low < high) return
    issues.push({ path: name, expected: `expected less than ${other} (${high}): ${why}` })
  }
  const expectHttps = (name: 'CLICKHOUSE_URL' | 'SCHEMA_REGISTRY_URL', tls: ClientTls | undefined): void => {
    const url = value[name]
    const fault = url === undefined ? undefined : urlFault(url, tls)
    if (fault !== undefined) issues.push({ path: name, expected: fault })
  }
  if ((value.BATCH_MAX_BYTES ?? 0) > (value.BUFFER_MAX_BYTES ?? Number.POSITIVE_INFINITY)) {
    issues.push({ path: 'BATCH_MAX_BYTES', expected: `expected at most BUFFER_MAX_BYTES (${value.BUFFER_MAX_BYTES})` })
  }
  if ((value.AUDIT_SIGNING_KEY_FILE ?? '') !== '' && (value.AUDIT_SIGNER_SOCKET ?? '') !== '') {
    issues.push({ path: 'AUDIT_SIGNER_SOCKET', expected: 'expected no AUDIT_SIGNING_KEY_FILE beside it' })
  }
  expectHttps('CLICKHOUSE_URL', value.clickHouseTls)
  expectHttps('SCHEMA_REGISTRY_URL', value.registryAccess?.ssl)
  expectBelow('INSERT_TIMEOUT_MS', 'LEASE_MS', 'an insert must not outlive its lease')
  expectBelow('INSERT_TIMEOUT_MS', 'SESSION_TIMEOUT_MS', 'an insert must not outlive the membership it is sent in')
  return issues
}

type NumericSetting = { [Name in keyof Settings]: Settings[Name] extends number ? Name : never }[keyof Settings] &
  string

/** There is no default: an embedded log in the working directory would be a new one, and empty. */
const NO_LOG: Issue = {
  path: 'KAFKA_BROKERS',
  expected: 'expected brokers, or for the embedded log its directory in AUDIT_DATA_DIR',
}

/** Name of the consumer's Kafka clients. */
const CLIENT_ID = 'agent-audit'

/**
 * Reads the settings; a secret may also be given as a file, in the variable of its name with `_FILE` added.
 * @throws InvalidInputError `OPTIONS_INVALID` naming every wrong setting.
 */
export function readSettings(environment: NodeJS.ProcessEnv): Settings {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''))
  const issues: Issue[] = []
  given['CLICKHOUSE_PASSWORD'] = readSecret(given, 'CLICKHOUSE_PASSWORD', issues)
  const kafka = readKafkaEnvironment(given, { clientId: CLIENT_ID })
  issues.push(...kafka.issues)
  if (given['KAFKA_BROKERS'] === undefined && given['AUDIT_DATA_DIR'] === undefined) issues.push(NO_LOG)
  const clickHouseTls = readTlsEnvironment(given, 'CLICKHOUSE', issues)
  const registryAccess = readRegistryAccess(given, issues)
  const values: Record<string, unknown> = { kafka: kafka.connection, clickHouseTls, registryAccess }
  for (const [name, field] of Object.entries(FIELDS)) {
    const { success, data, error } = field.safeParse(given[name])
    if (success) values[name] = data
    else issues.push(...error.issues.map(({ message }) => ({ path: name, expected: message })))
  }
  // One wrong setting hides no contradiction between two others.
  issues.push(...findContradictions(values))
  if (issues.length === 0) return values as unknown as Settings
  const lines = issues.map(({ path, expected }) => `  ${path}: ${expected}`)
  throw new InvalidInputError('OPTIONS_INVALID', `wrong settings:\n${lines.join('\n')}`, { issues })
}
