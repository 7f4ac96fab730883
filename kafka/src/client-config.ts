/** What every kafkajs client has in common: its configuration, and the errors that no retry is for. Loads no kafkajs by itself. */
import type { KafkaConfig, RetryOptions, SASLOptions } from 'kafkajs'
import { AuditUnavailableError, IntegrityError, openSecret, tlsFault, type TrailError } from '@agent-audit/schemas'
import type { KafkaConnection, KafkaSasl } from './connection.ts'
import { connectBroker, hostWithoutColons } from './patches/ipv6-brokers.ts'

const CONNECT_TIMEOUT_MS = 5000
/** How long a broker may take to answer. */
export const REQUEST_TIMEOUT_MS = 15_000
/** `logLevel.NOTHING` of kafkajs: callers report errors themselves. */
const LOG_NOTHING = 0

export function kafkaConfig({ brokers, ssl, sasl, clientId }: KafkaConnection, retry: RetryOptions): KafkaConfig {
  return {
    clientId,
    brokers: brokers.map(hostWithoutColons),
    socketFactory: connectBroker,
    // connectBroker opens its files.
    ssl: ssl as boolean,
    ...(sasl === undefined ? {} : { sasl: saslOptions(sasl) }),
    connectionTimeout: CONNECT_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    retry,
    logLevel: LOG_NOTHING,
  }
}

/** kafkajs reads the password for each new connection. */
function saslOptions({ mechanism, username, password }: KafkaSasl): SASLOptions {
  return {
    mechanism,
    username,
    get password() {
      return openSecret(password, 'KAFKA_SASL_PASSWORD')
    },
  }
}

/** Not a setting's name, such as KAFKA_SASL_PASSWORD_FILE: its file could not be read. */
const SASL = /\bSASL\b/
const REFUSALS = new Set(['SASL_AUTHENTICATION_FAILED', 'TOPIC_AUTHORIZATION_FAILED', 'CLUSTER_AUTHORIZATION_FAILED'])

/** kafkajs wraps the last error of its retries. */
export function rootOf(error: unknown): unknown {
  let root = error
  while (root instanceof Error && root.name.startsWith('KafkaJSNumberOfRetries') && root.cause !== undefined)
    root = root.cause
  return root
}

/** As an error that names the brokers and the settings; undefined for another kind of error. */
export function describeRefusal(error: unknown, { brokers, sasl }: KafkaConnection): TrailError | undefined {
  const cause = rootOf(error)
  const { name = '', message = '', type } = cause as Partial<Record<'name' | 'message' | 'type', string>>
  const where = `Kafka at ${brokers.join(',')}`
  if (name.includes('SASLAuthentication') || SASL.test(message) || REFUSALS.has(type ?? '')) {
    const user = sasl === undefined ? 'a client without KAFKA_SASL_MECHANISM' : `user "${sasl.username}"`
    const set = sasl === undefined || REFUSALS.has(type ?? '') ? '' : ` (${settingsIn(message)})`
    return new IntegrityError('ACCESS_DENIED', `${where} refuses ${user}: ${message}${set}`, { cause: error })
  }
  const fault = tlsFault(cause, 'KAFKA')
  if (fault === undefined) return undefined
  if (fault.certain) return new IntegrityError('TLS_REFUSED', `${where}: ${fault.text}`, { cause: error })
  return new AuditUnavailableError('BROKER_UNAVAILABLE', `${where}: ${fault.text}, KAFKA_SASL_MECHANISM`, {
    cause: error,
  })
}

function settingsIn(message: string): string {
  const mechanism = /mechanism is not supported|SASL state/.test(message)
  return mechanism ? 'KAFKA_SASL_MECHANISM' : 'KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD'
}
