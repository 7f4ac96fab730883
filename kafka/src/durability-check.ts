/**
 * What keeps an acknowledged record: the settings of a new topic, and the check that names those of an existing topic that
 * promise less than docs/exactly-once.md assumes.
 */
import kafkajs, { type Admin } from 'kafkajs'
import { createKafka, describeKafkaError } from './client.ts'
import type { KafkaConnection } from './connection.ts'

/** One setting that promises less than is assumed. */
export interface WeakSetting {
  /** Undefined: of the cluster. */
  readonly topic: string | undefined
  readonly setting: 'brokers' | keyof typeof EFFECTS
  readonly value: string
  readonly assumed: string
  /** All of it, and what may happen, as a sentence. */
  readonly message: string
}

const ASSUMED = { replicas: 3, inSync: 2 }
/** Without LogAppendTime the consumer does not start. */
export const TIMESTAMP_TYPE = 'message.timestamp.type'
const EFFECTS = {
  'replication.factor': 'fewer brokers hold each record',
  'min.insync.replicas': 'one broker alone may acknowledge a record, which is lost with that broker',
  'unclean.leader.election.enable': 'a broker that lacks acknowledged records may become the leader: they are lost',
  'message.timestamp.type': 'its producers choose log_time, and so the month that a record is stored and dropped with',
}

/**
 * Settings of a new topic, by the number of brokers that are up: 3 copies of each record, of which 2 acknowledge it. With two
 * brokers both acknowledge it: while one is away, producers keep their events, which is better than an acknowledged event
 * that is lost with its only copy.
 */
export function durabilityOf(
  brokers: number,
  replicationFactor: number = Math.min(ASSUMED.replicas, brokers),
): { replicationFactor: number; settings: Record<string, string> } {
  const settings = {
    'min.insync.replicas': String(Math.min(ASSUMED.inSync, replicationFactor)),
    'unclean.leader.election.enable': 'false',
  }
  return { replicationFactor, settings }
}

/**
 * Finds what promises less than is assumed. A cluster of one broker is one finding: its topics cannot be better. A setting
 * that the brokers do not tell is no finding.
 * @throws AuditUnavailableError `BROKER_UNAVAILABLE`; IntegrityError `ACCESS_DENIED` without the right to describe a topic.
 */
export async function findWeakDurability(
  connection: KafkaConnection,
  topics: readonly string[],
): Promise<WeakSetting[]> {
  const admin = createKafka(connection).admin()
  try {
    await admin.connect()
    const { brokers } = await admin.describeCluster()
    const found = (await Promise.all(topics.map((topic) => checkTopic(admin, topic)))).flat()
    if (brokers.length > 1 || (await fewestReplicas(admin, topics)) > 1) return found
    return [oneBroker(), ...found.filter(({ setting }) => setting === TIMESTAMP_TYPE)]
  } catch (error) {
    throw describeKafkaError(error, connection)
  } finally {
    await admin.disconnect()
  }
}

function oneBroker(): WeakSetting {
  const message = `the cluster has one broker, not ${ASSUMED.replicas}: an acknowledged record is lost with its disk`
  return { topic: undefined, setting: 'brokers', value: '1', assumed: String(ASSUMED.replicas), message }
}

async function checkTopic(admin: Admin, topic: string): Promise<WeakSetting[]> {
  const replicas = await fewestReplicas(admin, [topic])
  const resources = [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic }]
  const described = await admin.describeConfigs({ includeSynonyms: false, resources })
  const entries = described.resources[0]?.configEntries ?? []
  const valueOf = (name: string): string | undefined =>
    entries.find(({ configName }) => configName === name)?.configValue
  const weak = (setting: keyof typeof EFFECTS, value: string, assumed: string): WeakSetting => {
    const message = `topic ${topic}: ${setting} is ${value}, not ${assumed}: ${EFFECTS[setting]}`
    return { topic, setting, value, assumed, message }
  }
  const inSync = valueOf('min.insync.replicas')
  const unclean = valueOf('unclean.leader.election.enable')
  const found: WeakSetting[] = []
  if (replicas < ASSUMED.replicas) found.push(weak('replication.factor', String(replicas), String(ASSUMED.replicas)))
  if (inSync !== undefined && Number(inSync) < ASSUMED.inSync)
    found.push(weak('min.insync.replicas', inSync, String(ASSUMED.inSync)))
  if (unclean === 'true') found.push(weak('unclean.leader.election.enable', unclean, 'false'))
  const time = valueOf(TIMESTAMP_TYPE)
  if (time !== undefined && time !== 'LogAppendTime') found.push(weak(TIMESTAMP_TYPE, time, 'LogAppendTime'))
  return found
}

/** Partitions of one topic may differ after a reassignment: the fewest count. */
async function fewestReplicas(admin: Admin, topics: readonly string[]): Promise<number> {
  const metadata = await admin.fetchTopicMetadata({ topics: [...topics] })
  const partitions = metadata.topics.flatMap((topic) => topic.partitions)
  return Math.min(...partitions.map(({ replicas }) => replicas.length))
}
