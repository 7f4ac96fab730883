/** The configuration of every kafkajs client. Loads no kafkajs by itself. */
import type { KafkaConfig, RetryOptions, SASLOptions } from 'kafkajs'
import { openSecret } from '@agent-audit/schemas'
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
