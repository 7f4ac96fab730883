/** How a command reaches Kafka: by the same environment variables as the consumer. */
import { KAFKA_VARIABLES, type KafkaConnection, readKafkaEnvironment } from '@agent-audit/kafka'
import { readOrThrow } from './connect.ts'
import type { Terminal } from './terminal.ts'

export const KAFKA_HELP: string = `Kafka: ${KAFKA_VARIABLES}`

/**
 * The Kafka that `brokers`, else KAFKA_BROKERS names; undefined if neither does.
 * @throws InvalidInputError `OPTIONS_INVALID`, naming every wrong variable.
 */
export function kafkaOf(brokers: string | undefined, env: Terminal['env']): KafkaConnection | undefined {
  if (!(brokers ?? env['KAFKA_BROKERS'])) return undefined
  return readOrThrow((issues) => {
    const read = readKafkaEnvironment(env, { clientId: 'agent-audit', brokers })
    issues.push(...read.issues)
    return read.connection
  })
}
