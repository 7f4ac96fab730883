/**
 * Marks a log that nobody has written from yet as clean, so that its first consumer starts at once. Without the mark a
 * consumer cannot tell a new log from one whose committed offsets were lost, and waits until no insert of an earlier owner
 * could land any more. The caller MUST know that the log is new: it was made, or registered, a moment ago.
 */
import { openEmbeddedLog } from '@agent-audit/spool'
import { CLEAN } from '../pipeline/fence.ts'
import { createKafka, describeKafkaError, type KafkaConnection } from './kafka-client.ts'
import { whenLed } from './kafka-topics.ts'

/** Which log, and which group will write it. */
export interface FreshLog {
  readonly topic: string
  readonly groupId: string
}

type Admin = ReturnType<ReturnType<typeof createKafka>['admin']>

const SESSION_TIMEOUT_MS = 10_000

/**
 * Makes a topic of the embedded log, marked clean; does nothing if there is one.
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
 * Marks the partitions of a Kafka topic clean at their start, but for those the group has committed already.
 * @throws AuditUnavailableError `BROKER_UNAVAILABLE`; IntegrityError `ACCESS_DENIED`.
 */
export async function markKafkaLogClean(connection: KafkaConnection, { topic, groupId }: FreshLog): Promise<void> {
  const kafka = createKafka(connection)
  const admin = kafka.admin()
  const consumer = kafka.consumer({
    groupId,
    sessionTimeout: SESSION_TIMEOUT_MS,
    // Leaving waits for the fetch under way.
    maxWaitTimeInMs: 100,
    allowAutoTopicCreation: false,
  })
  const assigned: number[] = []
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    assigned.push(...(payload.memberAssignment[topic] ?? []))
    consumer.pause([{ topic }])
  })
  try {
    await admin.connect()
    if ((await findUncommitted(admin, { topic, groupId })).length === 0) return
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    await consumer.run({ autoCommit: false, eachBatch: () => Promise.resolve() })
    // Asked again as a member: what a consumer before us has committed stands by now, and it can commit no more.
    const starts = await findUncommitted(admin, { topic, groupId })
    const mine = starts.filter(({ partition }) => assigned.includes(partition))
    await consumer.commitOffsets(mine.map(({ partition, low }) => ({ topic, partition, offset: low, metadata: CLEAN })))
  } catch (error) {
    throw describeKafkaError(error, connection)
  } finally {
    await Promise.allSettled([consumer.disconnect(), admin.disconnect()])
  }
}

/** Partitions that the group has committed nothing of, and the first offset of each. */
async function findUncommitted(
  admin: Admin,
  { topic, groupId }: FreshLog,
): Promise<{ partition: number; low: string }[]> {
  const offsets = await whenLed(() => admin.fetchOffsets({ groupId, topics: [topic] }))
  const committed = (offsets[0]?.partitions ?? []).filter(({ offset }) => Number(offset) >= 0)
  const known = new Set(committed.map(({ partition }) => partition))
  const bounds = await whenLed(() => admin.fetchTopicOffsets(topic))
  return bounds.filter(({ partition }) => !known.has(partition))
}
