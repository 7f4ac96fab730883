/** kafkajs for the benchmark's own code: with a zstd codec, otherwise unchanged. */
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { constants, zstdCompress, zstdDecompress } from 'node:zlib'
import kafkajs, { type Admin, type Kafka } from 'kafkajs'

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)
/** Level of our producer. */
const ZSTD_LEVEL = { params: { [constants.ZSTD_c_compressionLevel]: 1 } }

const TOPIC_TIMEOUT_MS = 30_000
const POLL_MS = 50

export const ZSTD: kafkajs.CompressionTypes = kafkajs.CompressionTypes.ZSTD

export function connectKafka(brokers: readonly string[]): Kafka {
  kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({
    compress: ({ buffer }: { buffer: Buffer }) => compress(buffer, ZSTD_LEVEL),
    decompress: (bytes: Buffer) => decompress(bytes),
  })
  return new kafkajs.Kafka({ clientId: 'bench', brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING })
}

/** A topic as `agent-audit setup` makes it: the broker stamps its time on each record. */
export async function createTopic(admin: Admin, topic: string, partitions: number): Promise<void> {
  const configEntries = [{ name: 'message.timestamp.type', value: 'LogAppendTime' }]
  // kafkajs's own wait for leaders fails on a broker that does not know the topic yet.
  await admin.createTopics({ waitForLeaders: false, topics: [{ topic, numPartitions: partitions, configEntries }] })
  const deadline = performance.now() + TOPIC_TIMEOUT_MS
  while (!(await hasLeaders(admin, topic))) {
    if (performance.now() > deadline) throw new Error(`topic ${topic} has no leaders`)
    await sleep(POLL_MS)
  }
}

async function hasLeaders(admin: Admin, topic: string): Promise<boolean> {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    return topics[0]?.partitions.every(({ leader }) => leader >= 0) === true
  } catch {
    return false
  }
}
