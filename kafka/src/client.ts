/** Clients of kafkajs with every patch, and the errors of the trail for the errors of kafkajs. */
import { AuditUnavailableError, TrailError } from '@agent-audit/schemas'
import kafkajs, { type Kafka } from 'kafkajs'
import { describeRefusal, kafkaConfig } from './client-config.ts'
import type { KafkaConnection } from './connection.ts'
import { registerZstd } from './patches/codecs.ts'
import { replaceFetchReader } from './patches/fetch-reader.ts'
import { stopIdlePolling } from './patches/idle-polling.ts'
import { addHandOverToRejoin } from './patches/rejoin.ts'
import { stopLateFetchers } from './patches/stop.ts'
import { askForTopicIds } from './patches/topic-ids.ts'

const RETRY = { retries: 2, initialRetryTime: 200 }

registerZstd(kafkajs)
stopIdlePolling()
replaceFetchReader()
addHandOverToRejoin()
stopLateFetchers()
askForTopicIds()

/** A client that connects with its first use, and logs nothing by itself. */
export function createKafka(connection: KafkaConnection): Kafka {
  return new kafkajs.Kafka(kafkaConfig(connection, RETRY))
}

/** Whether kafkajs threw this error on purpose. Its own faults surface as a TypeError and the like. */
export function isKafkaJsError(error: unknown): boolean {
  return error instanceof Error && error.name.startsWith('KafkaJS')
}

/** Turns an error of kafkajs into a TrailError that names the brokers. A TrailError passes through. */
export function describeKafkaError(error: unknown, connection: KafkaConnection): Error {
  if (error instanceof TrailError) return error
  const refusal = describeRefusal(error, connection)
  if (refusal !== undefined) return refusal
  const { message = '', type } = error as Partial<Record<'message' | 'type', string>>
  const where = `Kafka at ${connection.brokers.join(',')}`
  const missing = type === 'UNKNOWN_TOPIC_OR_PARTITION' || message.includes('does not host this topic')
  const hint = missing ? " (run 'agent-audit setup' to make the topic)" : ''
  return new AuditUnavailableError('BROKER_UNAVAILABLE', `${where}: ${message}${hint}`, { cause: error })
}
