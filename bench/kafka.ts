/** kafkajs as the benchmark's own code uses it: with a zstd codec, otherwise as it comes. */
import { promisify } from 'node:util'
import { constants, zstdCompress, zstdDecompress } from 'node:zlib'
import kafkajs, { type Admin, type Kafka } from 'kafkajs'

const compress = promisify(zstdCompress)
const decompress = promisify(zstdDecompress)
/** The level our producer uses. */
const ZSTD_LEVEL = { params: { [constants.ZSTD_c_compressionLevel]: 1 } }

export const ZSTD: kafkajs.CompressionTypes = kafkajs.CompressionTypes.ZSTD

export function connectKafka(brokers: readonly string[]): Kafka {
  kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = () => ({
    compress: ({ buffer }: { buffer: Buffer }) => compress(buffer, ZSTD_LEVEL),
    decompress: (bytes: Buffer) => decompress(bytes),
  })
  return new kafkajs.Kafka({ clientId: 'bench', brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING })
}

/** A topic as `agent-audit setup` makes it: the broker's time on every record. */
export async function createTopic(admin: Admin, topic: string, partitions: number): Promise<void> {
  const configEntries = [{ name: 'message.timestamp.type', value: 'LogAppendTime' }]
  await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: partitions, configEntries }] })
}
