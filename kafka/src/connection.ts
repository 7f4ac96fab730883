/**
 * Where Kafka is, and how a client secures its connections and identifies itself: the settings, their schemas, and the
 * environment variables that producer, consumer and command read alike.
 */
import { isIPv6 } from 'node:net'
import {
  type ClientTls,
  type Environment,
  findTlsIssues,
  type Issue,
  readTlsEnvironment,
  type Secret,
  takeSecret,
} from '@agent-audit/schemas'
import { z } from 'zod'

/** SASL credentials. */
export interface KafkaSasl {
  /** As the brokers require. */
  readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'
  /** Name of the user. */
  readonly username: string
  /** Never recorded, logged or quoted. */
  readonly password: Secret
}

export interface KafkaConnection {
  /** `host:port`, or `[address]:port` for IPv6; at least one. */
  readonly brokers: readonly string[]
  /** false: plain text. true: TLS with the certificates that Node trusts. */
  readonly ssl: boolean | ClientTls
  /** undefined: no authentication. */
  readonly sasl: KafkaSasl | undefined
  /** Name of the client in the brokers' logs and quotas. */
  readonly clientId: string
}

const HIGHEST_PORT = 65_535
const MECHANISMS = ['plain', 'scram-sha-256', 'scram-sha-512'] as const

export const brokersSchema: z.ZodReadonly<z.ZodArray<z.ZodString>> = z
  .array(z.string().refine(isBroker, 'expected host:port'))
  .min(1)
  .readonly()

export const secretSchema: z.ZodType<Secret, Secret> = z.union([
  z.string(),
  z.strictObject({ file: z.string().min(1) }),
])

const secret = secretSchema.optional()

/** TLS of an option; the paths of its issues begin with the option's name. */
export const tlsSchema = (option: string): z.ZodType<ClientTls, ClientTls> =>
  z.strictObject({ ca: secret, cert: secret, key: secret, passphrase: secret }).superRefine((tls, context) => {
    for (const { path, expected } of findTlsIssues(tls, option)) {
      context.addIssue({ code: 'custom', message: expected, path: [path.slice(option.length + 1)] })
    }
  })

export const sslSchema: z.ZodType<boolean | ClientTls, boolean | ClientTls> = z.union([z.boolean(), tlsSchema('ssl')])

export const saslSchema: z.ZodType<KafkaSasl, KafkaSasl> = z.strictObject({
  mechanism: z.enum(MECHANISMS),
  username: z.string().min(1),
  password: secretSchema,
})

function isBroker(text: string): boolean {
  const [, ipv6, host, port] = /^(?:\[([^\s\]]+)\]|([^\s:]+)):(\d{1,5})$/.exec(text) ?? []
  return Number(port) <= HIGHEST_PORT && (host !== undefined || isIPv6(ipv6 ?? ''))
}

/** The environment variables of a Kafka connection, for the help text of a command. */
export const KAFKA_VARIABLES = `KAFKA_BROKERS (host:port, comma separated); KAFKA_SSL (true or false), KAFKA_SSL_CA, KAFKA_SSL_CERT, KAFKA_SSL_KEY (PEM), KAFKA_SSL_KEY_PASSWORD;
KAFKA_SASL_MECHANISM (plain, scram-sha-256, scram-sha-512), KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD. PEM texts and
passwords also from the file that the variable's name with _FILE names.`

/** Settings that the caller has from elsewhere. The environment is not read for them. */
export interface GivenConnection {
  readonly clientId: string
  /** As in KAFKA_BROKERS. */
  readonly brokers?: string | undefined
  readonly ssl?: KafkaConnection['ssl'] | undefined
  readonly sasl?: KafkaSasl | undefined
}

export interface KafkaEnvironment {
  /** undefined: no brokers are named, or `issues` is not empty. */
  readonly connection: KafkaConnection | undefined
  /** Every wrong variable, never with its value. */
  readonly issues: readonly Issue[]
}

/** Reads KAFKA_BROKERS, KAFKA_SSL, KAFKA_SSL_* and KAFKA_SASL_*. An empty variable counts as unset. */
export function readKafkaEnvironment(env: Environment, given: GivenConnection): KafkaEnvironment {
  const issues: Issue[] = []
  const brokers =
    given.brokers === undefined
      ? readBrokers('KAFKA_BROKERS', env['KAFKA_BROKERS'], issues)
      : readBrokers('brokers', given.brokers, issues)
  const ssl = given.ssl ?? readTls(env, issues)
  const sasl = given.sasl ?? readSasl(env, issues)
  if (brokers === undefined || issues.length > 0) return { connection: undefined, issues }
  return { connection: { brokers, ssl, sasl, clientId: given.clientId }, issues }
}

function readBrokers(path: string, text: string | undefined, issues: Issue[]): readonly string[] | undefined {
  if (text === undefined || text === '') return undefined
  const brokers = text.split(',').flatMap((part) => part.trim() || [])
  if (brokers.length > 0 && brokers.every(isBroker)) return brokers
  issues.push({ path, expected: 'expected host:port, comma separated; an IPv6 address as [::1]:9092' })
  return undefined
}

/** A certificate implies TLS: KAFKA_SSL need not be set beside it. */
function readTls(env: Environment, issues: Issue[]): boolean | ClientTls {
  const before = issues.length
  const tls = readTlsEnvironment(env, 'KAFKA', issues)
  const flag = env['KAFKA_SSL'] || undefined
  if (flag !== undefined && flag !== 'true' && flag !== 'false') {
    issues.push({ path: 'KAFKA_SSL', expected: 'expected true or false' })
  }
  if (flag === 'false' && (tls !== undefined || issues.length > before)) {
    issues.push({ path: 'KAFKA_SSL', expected: 'expected true, or no KAFKA_SSL_* beside it' })
  }
  return tls ?? flag === 'true'
}

function readSasl(env: Environment, issues: Issue[]): KafkaSasl | undefined {
  const names = ['KAFKA_SASL_MECHANISM', 'KAFKA_SASL_USERNAME', 'KAFKA_SASL_PASSWORD'] as const
  const missing = names.filter((name) => !env[name] && !(name === names[2] && env[`${name}_FILE`]))
  if (missing.length === names.length) return undefined
  for (const name of missing) {
    issues.push({
      path: name,
      expected: `expected together with ${names.filter((other) => other !== name).join(' and ')}`,
    })
  }
  const mechanism = MECHANISMS.find((known) => known === env[names[0]])
  if (mechanism === undefined && !missing.includes(names[0])) {
    issues.push({ path: names[0], expected: `expected one of ${MECHANISMS.join(', ')}` })
  }
  const [username, password] = [env[names[1]], takeSecret(env, names[2], issues)]
  return mechanism && username && password !== undefined ? { mechanism, username, password } : undefined
}
