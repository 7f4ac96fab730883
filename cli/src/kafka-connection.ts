/** How a command reaches Kafka: brokers and login by environment, as the consumer does. */
import type { KafkaConnection } from '@agent-audit/consumer'
import { InvalidInputError } from '@agent-audit/schemas'
import { secretOf } from './connect.ts'
import type { Terminal } from './terminal.ts'

export const KAFKA_HELP = `Kafka: KAFKA_BROKERS, KAFKA_SSL=true, KAFKA_SASL_MECHANISM (plain, scram-sha-256, scram-sha-512), KAFKA_SASL_USERNAME,
KAFKA_SASL_PASSWORD. A password also from the file that its name with _FILE names.`

type Login = Extract<NonNullable<KafkaConnection['sasl']>, { username: string }>

/**
 * The Kafka that `brokers`, else KAFKA_BROKERS names; undefined if neither does.
 * @throws InvalidInputError `OPTIONS_INVALID`.
 */
export function kafkaOf(
  given: string | undefined,
  env: Terminal['env'],
): (KafkaConnection & { readonly sasl: Login | undefined }) | undefined {
  const list = given ?? env['KAFKA_BROKERS'] ?? ''
  if (list === '') return undefined
  const brokers = list.split(',').map((broker) => broker.trim())
  const wrong = brokers.filter((broker) => !/^[^\s:]+:\d{1,5}$/.test(broker))
  if (wrong.length > 0) {
    throw new InvalidInputError(
      'OPTIONS_INVALID',
      `brokers: expected host:port, separated by commas, got "${wrong.join('", "')}"`,
    )
  }
  return { brokers, ssl: env['KAFKA_SSL'] === 'true', sasl: saslOf(env) }
}

function saslOf(env: Terminal['env']): Login | undefined {
  const mechanism = env['KAFKA_SASL_MECHANISM']
  if (mechanism === undefined) return undefined
  const username = env['KAFKA_SASL_USERNAME']
  const password = secretOf(env, 'KAFKA_SASL_PASSWORD')
  if (mechanism !== 'plain' && mechanism !== 'scram-sha-256' && mechanism !== 'scram-sha-512') {
    throw new InvalidInputError(
      'OPTIONS_INVALID',
      'KAFKA_SASL_MECHANISM: expected plain, scram-sha-256 or scram-sha-512',
    )
  }
  if (username === undefined || password === undefined) {
    throw new InvalidInputError(
      'OPTIONS_INVALID',
      'KAFKA_SASL_MECHANISM needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD',
    )
  }
  const login = { username, password }
  // One object a mechanism: kafkajs' type is a union of them.
  if (mechanism === 'plain') return { mechanism, ...login }
  return mechanism === 'scram-sha-256' ? { mechanism, ...login } : { mechanism, ...login }
}
