/** Sends seals to a topic of the embedded log, which it makes: of one partition, whose order is that of the seals. */
import type { Sender } from '@agent-audit/kafka'
import { type EmbeddedLog, openEmbeddedLog } from '@agent-audit/spool'

export function createEmbeddedSealSender(directory: string): Sender {
  let log: EmbeddedLog | undefined
  return {
    async connect(topics) {
      log = openEmbeddedLog({ directory })
      for (const topic of topics) log.createTopic(topic, 1)
      return { cluster: log.id, partitions: new Map(topics.map((topic) => [topic, 1])) }
    },
    async send({ topic, partition }, records) {
      if (log === undefined) throw new Error('connect first')
      const { baseOffset } = log.append(topic, partition, records)
      return { baseOffset }
    },
    async close() {
      log?.close()
    },
  }
}
