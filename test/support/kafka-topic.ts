/** Topics on a real Kafka: makes them for a test, and reads them from start to end. */
import { randomUUID } from 'node:crypto'
import { promisify } from 'node:util'
import { zstdDecompress } from 'node:zlib'
import kafkajs, { type Admin, type ITopicConfig, type Kafka } from 'kafkajs'
import { expect } from 'vitest'

kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({
  compress: () => Promise.reject(new Error('tests compress nothing')),
  decompress: promisify(zstdDecompress),
})

/** A message as it stands in the log. */
export interface Message {
  readonly partition: number
  readonly offset: number
  readonly key: string
  readonly value: Buffer
}

/** kafkajs without our patches, with a codec more, and silent. */
export function connectKafka(brokers: readonly string[]): Kafka {
  return new kafkajs.Kafka({ brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING })
}

export async function withAdmin<T>(kafka: Kafka, work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = kafka.admin()
  await admin.connect()
  try {
    return await work(admin)
  } finally {
    await admin.disconnect()
  }
}

/** Makes a topic, with a new name if the config has none. */
export async function makeTopic(
  kafka: Kafka,
  config: Omit<ITopicConfig, 'topic'> & { topic?: string },
): Promise<string> {
  const topic = config.topic ?? `test-${randomUUID()}`
  const configEntries = [{ name: 'message.timestamp.type', value: 'LogAppendTime' }]
  await withAdmin(kafka, async (admin) => {
    // kafkajs's own wait for leaders gives up on a broker that does not know the topic yet.
    await admin.createTopics({ topics: [{ configEntries, ...config, topic }], waitForLeaders: false })
    await expect.poll(() => hasLeaders(admin, topic), { timeout: 30_000 }).toBe(true)
  })
  return topic
}

async function hasLeaders(admin: Admin, topic: string): Promise<boolean> {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    return topics[0]?.partitions.every(({ leader }) => leader >= 0) === true
  } catch {
    return false
  }
}

/** Reads a topic from its start until `enough` returns true. */
export async function readMessages(
  kafka: Kafka,
  topic: string,
  enough: (messages: readonly Message[]) => boolean,
): Promise<Message[]> {
  const messages: Message[] = []
  // A consumer that disconnects waits for its last fetch: for 5 s by kafkajs's default.
  const consumer = kafka.consumer({ groupId: `read-${randomUUID()}`, maxWaitTimeInMs: 100 })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message: { offset, key, value } }) => {
      messages.push({ partition, offset: Number(offset), key: String(key), value: value ?? Buffer.alloc(0) })
    },
  })
  try {
    await expect.poll(() => enough(messages), { timeout: 30_000, interval: 50 }).toBe(true)
  } finally {
    await consumer.disconnect()
  }
  return messages
}

/** Reads a topic from its start to where it ends now. */
export async function readWholeTopic(kafka: Kafka, topic: string): Promise<Message[]> {
  const ends = await withAdmin(kafka, (admin) => admin.fetchTopicOffsets(topic))
  const count = ends.reduce((sum, { high }) => sum + Number(high), 0)
  return readMessages(kafka, topic, (messages) => messages.length >= count)
}
