/** How a command reaches Kafka: by the same environment variables as the consumer. */
import { KAFKA_VARIABLES, type KafkaConnection, readKafkaEnvironment } from '@agent-audit/kafka'
import { InvalidInputError } from '@agent-audit/schemas'
import type { Terminal } from './terminal.ts'

export const KAFKA_HELP: string = `Kafka: ${KAFKA_VARIABLES}`

/**
 * The Kafka that `brokers`, else KAFKA_BROKERS names; undefined if neither does.
 * @throws InvalidInputError `OPTIONS_INVALID`, naming every wrong variable.
 */
export function kafkaOf(brokers: string | undefined, env: Terminal['env']): KafkaConnection | undefined {
  if (!(brokers ?? env['KAFKA_BROKERS'])) return undefined
  const { connection, issues } = readKafkaEnvironment(env, { clientId: 'agent-audit', brokers })
  if (issues.length === 0) return connection
  const listed = issues.map(({ path, expected }) => `${path}: ${expected}`).join('; ')
  throw new InvalidInputError('OPTIONS_INVALID', listed, { issues })
}
