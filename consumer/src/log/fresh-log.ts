/**
 * Marks a new log, which no consumer has read yet, as clean, so that its first consumer starts at once. Without the mark a
 * consumer cannot tell a new log from one whose committed offsets were lost, and waits until no insert of an earlier owner
 * can land. The caller MUST know that the log is new: it was created a moment ago, or is not registered yet.
 */
import type { KafkaConnection } from '@agent-audit/kafka'
import { commitStartMark } from '@agent-audit/kafka/topics'
import { openEmbeddedLog } from '@agent-audit/spool'
import { CLEAN } from '../pipeline/commit-metadata.ts'

/** A new log, and the group that will write it to the tables. */
export interface FreshLog {
  readonly topic: string
  readonly groupId: string
}

const SESSION_TIMEOUT_MS = 10_000

/**
 * Creates a topic of the embedded log, marked clean; does nothing if the topic exists.
 * @returns The id of the embedded log.
 */
export function makeEmbeddedTopic(directory: string, { topic, groupId }: FreshLog, partitions: number): string {
  const log = openEmbeddedLog({ directory })
  try {
    if (log.partitions(topic) !== undefined) return log.id
    log.createTopic(topic, partitions)
    const epoch = log.join(groupId, 'setup', SESSION_TIMEOUT_MS)
    if (epoch === undefined) return log.id
    for (let partition = 0; partition < partitions; partition++) log.commit(groupId, epoch, topic, partition, 0, CLEAN)
    log.leave(groupId, epoch)
    return log.id
  } finally {
    log.close()
  }
}

/**
 * Marks the partitions of a Kafka topic clean at their start, except those that the group has committed already.
 * @throws AuditUnavailableError `BROKER_UNAVAILABLE`; IntegrityError `ACCESS_DENIED`.
 */
export function markKafkaLogClean(connection: KafkaConnection, log: FreshLog): Promise<void> {
  return commitStartMark(connection, { ...log, metadata: CLEAN })
}
