/** Topics as the trail needs them: created or altered by `agent-audit setup`, and a group's position in one. */
import { setTimeout as sleep } from 'node:timers/promises'
import { IntegrityError } from '@agent-audit/schemas'
import kafkajs, { type Admin } from 'kafkajs'
import { assignBySubscription } from './assigner.ts'
import { createKafka, describeKafkaError } from './client.ts'
import type { KafkaConnection } from './connection.ts'
import { durabilityOf } from './durability-check.ts'
import type { Committed } from './source.ts'
import { topicIdOf } from './topic-ids.ts'

export { findWeakDurability, TIMESTAMP_TYPE, type WeakSetting } from './durability-check.ts'

/** The settings that a topic must have. */
export interface TopicPlan {
  readonly topic: string
  /** How many consumers can share the work. Kafka can add partitions later, and cannot remove any. */
  readonly partitions: number
  /** Brokers that hold a copy of each record. @defaultValue 3, or as many as there are where there are fewer */
  readonly replicationFactor?: number | undefined
  /** How long the log keeps records for the consumer, milliseconds; -1 for ever. */
  readonly retentionMs: number
  /** Largest batch of records, compressed. */
  readonly maxMessageBytes: number
  /** The cluster that the topic belongs to: brokers of another one get no topic. @defaultValue any */
  readonly clusterId?: string | undefined
}

export interface TopicReport {
  readonly clusterId: string
  /** Kafka's id of the topic; undefined: the brokers are too old to tell. */
  readonly topicId: string | undefined
  readonly created: boolean
  /** Partitions that the topic has now. */
  readonly partitions: number
  /** Settings that were changed: `retention.ms from 1000 to 604800000`. */
  readonly altered: readonly string[]
  /** Sentences about settings that the brokers decide: one that they keep as it was, or one of theirs that the topic overrides. */
  readonly notes: readonly string[]
}

const TOPIC = kafkajs.ConfigResourceTypes.TOPIC
/** How long brokers may take to elect leaders, milliseconds. The first group of a cluster makes the topic of offsets. */
const LEADER_START_MS = 20_000
const LEADER_POLL_MS = 200
/** Set on the topic itself, by AlterConfigs. */
const DYNAMIC_TOPIC_CONFIG = kafkajs.ConfigSource.TOPIC_CONFIG
/** Set on the brokers, by whatever means; not Kafka's own default. */
const BROKER_CONFIGS: ReadonlySet<number> = new Set([
  kafkajs.ConfigSource.DYNAMIC_BROKER_CONFIG,
  kafkajs.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG,
  kafkajs.ConfigSource.STATIC_BROKER_CONFIG,
])

/**
 * Creates the topic, or changes the settings of an existing one as planned. Idempotent. Never adds partitions, since that
 * would move keys to other partitions: the report has the actual count.
 * @throws AuditUnavailableError `BROKER_UNAVAILABLE` naming the brokers, IntegrityError `ACCESS_DENIED`, IntegrityError
 * `CLUSTER_CHANGED`.
 */
export async function ensureTopic(connection: KafkaConnection, plan: TopicPlan): Promise<TopicReport> {
  const admin = createKafka(connection).admin()
  try {
    await admin.connect()
    return await ensure(admin, plan)
  } catch (error) {
    throw describeKafkaError(error, connection)
  } finally {
    await admin.disconnect()
  }
}

async function ensure(admin: Admin, plan: TopicPlan): Promise<TopicReport> {
  const { clusterId, brokers } = await admin.describeCluster()
  if (plan.clusterId !== undefined && plan.clusterId !== clusterId) throw anotherCluster(clusterId, plan.clusterId)
  const wanted = settingsOf(plan)
  const { topic, partitions } = plan
  const { replicationFactor, settings } = durabilityOf(brokers.length, plan.replicationFactor)
  const configEntries = Object.entries({ ...wanted, ...settings }).map(([name, value]) => ({ name, value }))
  // False if the topic exists, also if another setup made it a moment ago.
  const created = await admin.createTopics({
    // kafkajs's own wait gives up on a broker that does not know the topic yet.
    waitForLeaders: false,
    topics: [{ topic, numPartitions: partitions, replicationFactor, configEntries }],
  })
  const altered = created ? [] : await alter(admin, topic, wanted)
  const metadata = await whenLed(() => admin.fetchTopicMetadata({ topics: [topic] }))
  const notes = await whenLed(() => noteBrokers(admin, topic, wanted))
  const found = metadata.topics[0]?.partitions ?? []
  return { clusterId, topicId: topicIdOf(found)[0], created, partitions: found.length, altered, notes }
}

function anotherCluster(found: string, expected: string): IntegrityError {
  const message = `the brokers are of cluster ${found}, and not of ${expected}, which was asked for: nothing was changed on them. Give the id of these brokers, or bring back the data of ${expected}`
  return new IntegrityError('CLUSTER_CHANGED', message)
}

/**
 * LogAppendTime: log_time and the lease arithmetic rest on the broker's clock, not on the producer's. The compression of the
 * producer: with any other the broker unpacks each batch and packs it anew, with a codec that other readers may not have.
 */
function settingsOf(plan: TopicPlan): Record<string, string> {
  return {
    'message.timestamp.type': 'LogAppendTime',
    'cleanup.policy': 'delete',
    'retention.ms': String(plan.retentionMs),
    'retention.bytes': '-1',
    'compression.type': 'producer',
    'max.message.bytes': String(plan.maxMessageBytes),
  }
}

async function alter(admin: Admin, topic: string, wanted: Readonly<Record<string, string>>): Promise<string[]> {
  const described = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: TOPIC, name: topic }] })
  const entries = described.resources[0]?.configEntries ?? []
  const present = new Map(entries.map((entry) => [entry.configName, entry.configValue]))
  const differing = Object.entries(wanted).filter(([name, value]) => present.get(name) !== value)
  if (differing.length === 0) return []
  // AlterConfigs replaces the whole list: a setting that it does not name falls back to its default. So name the others too.
  const kept = entries.filter((entry) => entry.configSource === DYNAMIC_TOPIC_CONFIG)
  const all = { ...Object.fromEntries(kept.map((entry) => [entry.configName, entry.configValue])), ...wanted }
  const configEntries = Object.entries(all).map(([name, value]) => ({ name, value }))
  await admin.alterConfigs({ validateOnly: false, resources: [{ type: TOPIC, name: topic, configEntries }] })
  return differing.map(([name, value]) => `${name} from ${present.get(name) ?? 'unset'} to ${value}`)
}

/** Reads the settings once more: brokers of a service may accept a setting and keep their own. */
async function noteBrokers(admin: Admin, topic: string, wanted: Readonly<Record<string, string>>): Promise<string[]> {
  const described = await admin.describeConfigs({ includeSynonyms: true, resources: [{ type: TOPIC, name: topic }] })
  const notes: string[] = []
  for (const { configName, configValue, configSynonyms } of described.resources[0]?.configEntries ?? []) {
    const value = wanted[configName]
    if (value === undefined) continue
    if (configValue !== value) notes.push(`the brokers force ${configName} ${configValue}, not ${value}`)
    const theirs = configSynonyms.find(({ configSource }) => BROKER_CONFIGS.has(configSource))?.configValue
    if (configName !== 'compression.type' || configValue !== value || theirs === undefined || theirs === value) continue
    notes.push(`the brokers' own ${configName} is ${theirs}: the topic overrides it`)
  }
  return notes
}

/** The group's committed offset for a partition, undefined if none; the log's first offset, and the one behind its last. */
export async function positionOf(
  admin: Admin,
  { groupId, topic, partition }: { groupId: string; topic: string; partition: number },
): Promise<{ committed: Committed | undefined; start: number; end: number }> {
  const [groups, offsets] = await Promise.all([
    admin.fetchOffsets({ groupId, topics: [topic] }),
    admin.fetchTopicOffsets(topic),
  ])
  const found = groups[0]?.partitions.find((item) => item.partition === partition)
  const bounds = offsets.find((item) => item.partition === partition)
  const committed =
    found === undefined || Number(found.offset) < 0
      ? undefined
      : { offset: Number(found.offset), metadata: found.metadata ?? '' }
  return { committed, start: Number(bounds?.low ?? 0), end: Number(bounds?.high ?? 0) }
}

/** Repeats a request while a coordinator or leader is loading or moving: kafkajs does so for group members, not for an admin. */
export async function whenLed<T>(ask: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + LEADER_START_MS
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      if (!mayPass(error) || performance.now() > deadline) throw error
      await sleep(LEADER_POLL_MS)
    }
  }
}

// kafkajs declares a coordinator that it could not find not retriable, after a few tries within a second. A broker that makes
// the topic of offsets only now takes longer.
function mayPass(error: unknown): boolean {
  const { name, retriable } = error as { name?: string; retriable?: boolean }
  return retriable === true || name === 'KafkaJSGroupCoordinatorNotFound'
}

/** Longest silence before the group forgets the member that commits start marks, milliseconds. */
const MARK_SESSION_TIMEOUT_MS = 10_000

/** A commit at the first offset of each partition, before the group has consumed anything. */
export interface StartMark {
  readonly topic: string
  readonly groupId: string
  readonly metadata: string
}

/**
 * Commits the mark for the partitions that the group has committed nothing of.
 * @throws AuditUnavailableError `BROKER_UNAVAILABLE`; IntegrityError `ACCESS_DENIED`.
 */
export async function commitStartMark(connection: KafkaConnection, mark: StartMark): Promise<void> {
  const { topic, groupId, metadata } = mark
  const kafka = createKafka(connection)
  const admin = kafka.admin()
  const consumer = kafka.consumer({
    groupId,
    sessionTimeout: MARK_SESSION_TIMEOUT_MS,
    // Leaving the group waits for the fetch under way.
    maxWaitTimeInMs: 100,
    allowAutoTopicCreation: false,
    // This member may lead a group whose others read more topics.
    partitionAssigners: [assignBySubscription],
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
    // Asked again as a member: every commit of an earlier consumer has landed by now, and that consumer can commit no more.
    const starts = await findUncommitted(admin, { topic, groupId })
    const mine = starts.filter(({ partition }) => assigned.includes(partition))
    await consumer.commitOffsets(mine.map(({ partition, low }) => ({ topic, partition, offset: low, metadata })))
  } catch (error) {
    throw describeKafkaError(error, connection)
  } finally {
    await Promise.allSettled([consumer.disconnect(), admin.disconnect()])
  }
}

/** Partitions that the group has committed nothing of, and the first offset of each. */
async function findUncommitted(
  admin: Admin,
  { topic, groupId }: Pick<StartMark, 'topic' | 'groupId'>,
): Promise<{ partition: number; low: string }[]> {
  const offsets = await whenLed(() => admin.fetchOffsets({ groupId, topics: [topic] }))
  const committed = (offsets[0]?.partitions ?? []).filter(({ offset }) => Number(offset) >= 0)
  const known = new Set(committed.map(({ partition }) => partition))
  const bounds = await whenLed(() => admin.fetchTopicOffsets(topic))
  return bounds.filter(({ partition }) => !known.has(partition))
}
