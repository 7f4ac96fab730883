/** Connections by kafkajs: how they are made, and what is said of them when they fail. */
import { AuditUnavailableError, IntegrityError, TrailError } from '@agent-audit/schemas'
import kafkajs, { type Kafka, type SASLOptions } from 'kafkajs'
import { replaceFetchReader } from './kafka-fetch.ts'
import { registerZstd, stopIdlePolling } from './kafka-mends.ts'
import { mendRejoin } from './kafka-rejoin.ts'
import { mendStop } from './kafka-stop.ts'

export interface KafkaConnection {
  /** `host:port`, at least one. */
  readonly brokers: readonly string[]
  readonly ssl: boolean
  readonly sasl: SASLOptions | undefined
}

const CONNECT_TIMEOUT_MS = 5000
/** How long a broker may take to answer. */
export const REQUEST_TIMEOUT_MS = 15_000

const REFUSALS = new Set(['SASL_AUTHENTICATION_FAILED', 'TOPIC_AUTHORIZATION_FAILED', 'CLUSTER_AUTHORIZATION_FAILED'])

registerZstd(kafkajs)
stopIdlePolling()
replaceFetchReader()
mendRejoin()
mendStop()

/** A client that connects with its first use, and logs nothing by itself. */
export function createKafka({ brokers, ssl, sasl }: KafkaConnection): Kafka {
  return new kafkajs.Kafka({
    clientId: 'agent-audit',
    brokers: [...brokers],
    ssl,
    ...(sasl === undefined ? {} : { sasl }),
    connectionTimeout: CONNECT_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    retry: { retries: 2, initialRetryTime: 200 },
    logLevel: kafkajs.logLevel.NOTHING,
  })
}

/** Whether it was kafkajs that threw this, and knew what it threw. */
export function isOfKafka(error: unknown): boolean {
  return error instanceof Error && error.name.startsWith('KafkaJS')
}

/** The error to throw for what kafkajs threw: one of ours, naming the brokers. Errors of ours pass through. */
export function describeKafkaError(error: unknown, { brokers }: KafkaConnection): Error {
  const { name = '', message = '', type, cause } = error as Partial<Record<string, string>> & { cause?: unknown }
  if (error instanceof TrailError) return error
  const where = `Kafka at ${brokers.join(',')}`
  if (name.includes('SASLAuthentication') || message.includes('SASL') || REFUSALS.has(type ?? '')) {
    return new IntegrityError('ACCESS_DENIED', `${where}: ${message}`, { cause })
  }
  const missing = type === 'UNKNOWN_TOPIC_OR_PARTITION' || message.includes('does not host this topic')
  const hint = missing ? " (run 'agent-audit setup' to make the topic)" : ''
  return new AuditUnavailableError('BROKER_UNAVAILABLE', `${where}: ${message}${hint}`, { cause: error })
}
