/**
 * Connections by kafkajs, with what every use of it here needs mended: of the compression codecs it brings gzip alone, and
 * its request queue polls every millisecond and warns of negative timeouts on newer Node.
 */
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import { zstdDecompress } from 'node:zlib'
import { AuditUnavailableError, IntegrityError, TrailError } from '@agent-audit/schemas'
import kafkajs, { type Kafka, type SASLOptions } from 'kafkajs'

export interface KafkaConnection {
  /** `host:port`, at least one. */
  readonly brokers: readonly string[]
  readonly ssl: boolean
  readonly sasl: SASLOptions | undefined
}

const CONNECT_TIMEOUT_MS = 5000
const REQUEST_TIMEOUT_MS = 15_000
/** Node's own default is 16 KiB: a batch of records would come in dozens of pieces, each with its own call back. */
const DECOMPRESS_CHUNK_BYTES = 256 * 1024

const REFUSALS = new Set(['SASL_AUTHENTICATION_FAILED', 'TOPIC_AUTHORIZATION_FAILED', 'CLUSTER_AUTHORIZATION_FAILED'])

mendKafkajs()

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

interface RequestQueue {
  pending: unknown[]
  throttledUntil: number
}

function mendKafkajs(): void {
  const decompress = promisify(zstdDecompress)
  kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({
    compress: () => Promise.reject(new Error('the consumer compresses nothing')),
    decompress: (bytes: Buffer) => decompress(bytes, { chunkSize: DECOMPRESS_CHUNK_BYTES }),
  })
  const require = createRequire(import.meta.url)
  const { prototype } = require('kafkajs/src/network/requestQueue') as {
    prototype: { scheduleCheckPendingRequests(): void }
  }
  // oxlint-disable-next-line typescript/unbound-method -- called with its own receiver below
  const schedule = prototype.scheduleCheckPendingRequests
  prototype.scheduleCheckPendingRequests = function (this: RequestQueue) {
    if (this.pending.length > 0 || this.throttledUntil > Date.now()) schedule.call(this as never)
  }
}
