/** What the tests of a local Kafka share: clusters, topics, and messages sent and read by kafkajs. */
import { type KafkaCluster, type KafkaOptions, startKafka } from '@agent-audit/stack'
import kafkajs, { type Kafka, type KafkaConfig } from 'kafkajs'
import { expect, onTestFinished } from 'vitest'
import { withAdmin } from '../support/kafka-topic.ts'
import { endCluster } from '../support/own-kafka.ts'

/** Starts a Kafka that is stopped after the test. */
export async function start(options?: KafkaOptions): Promise<KafkaCluster> {
  const cluster = await startKafka(options)
  onTestFinished(() => endCluster(cluster))
  return cluster
}

export function connect(cluster: KafkaCluster, limits: Partial<KafkaConfig> = {}): Kafka {
  const { logLevel, Kafka: Client } = kafkajs
  return new Client({ brokers: [...cluster.brokers], logLevel: logLevel.NOTHING, ...limits })
}

/** Makes a topic of one partition. */
export async function makeTopic(cluster: KafkaCluster, topic: string): Promise<void> {
  await withAdmin(connect(cluster), (admin) =>
    admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true }),
  )
}

export async function produce(cluster: KafkaCluster, topic: string, value: string | Buffer): Promise<void> {
  const producer = connect(cluster).producer()
  await producer.connect()
  await producer.send({ topic, acks: -1, messages: [{ value }] })
  await producer.disconnect()
}

/** The first `count` messages of a topic, read by a new group. */
export async function consume(cluster: KafkaCluster, topic: string, count: number): Promise<string[]> {
  // A consumer that disconnects waits for its last fetch: for 5 s by kafkajs's default.
  const consumer = connect(cluster).consumer({ groupId: `group-${crypto.randomUUID()}`, maxWaitTimeInMs: 100 })
  const values: string[] = []
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    eachMessage: ({ message }) => {
      values.push(String(message.value))
      return Promise.resolve()
    },
  })
  await expect.poll(() => values.length, { timeout: 30_000 }).toBeGreaterThanOrEqual(count)
  await consumer.disconnect()
  return values
}

export async function clusterIdOf(cluster: KafkaCluster): Promise<string> {
  return (await withAdmin(connect(cluster), (admin) => admin.describeCluster())).clusterId
}
