/** Sends to the embedded log of a data directory. */
import type { Sender, SenderSettings } from '@agent-audit/kafka'
import { createSchemaRegistry, NEWEST_SCHEMA, reframeToConfluent } from '@agent-audit/schemas'
import { openEmbeddedLog } from '@agent-audit/spool'
import type { EmbeddedLog } from '@agent-audit/spool'
import type { Destination } from '../options/destination.ts'

/** As many as two cores of a laptop can use. */
const PARTITIONS = 4
/** How long an append waits for other processes; it is tried again anyway. */
const BUSY_TIMEOUT_MS = 2000

export function createEmbeddedSender(
  { schemaRegistry }: SenderSettings,
  { dataDir, fsync }: Extract<Destination, { kind: 'embedded' }>,
): Sender {
  let log: EmbeddedLog | undefined
  const registryIds = new Map<string, number>()
  return {
    async connect(topics) {
      log = openEmbeddedLog({ directory: dataDir, busyTimeoutMs: BUSY_TIMEOUT_MS, fsync })
      const partitions = new Map<string, number>()
      for (const topic of topics) {
        if (schemaRegistry !== undefined) {
          registryIds.set(topic, await createSchemaRegistry(schemaRegistry).register(topic, NEWEST_SCHEMA))
        }
        const present = log.partitions(topic)
        if (present === undefined) log.createTopic(topic, PARTITIONS)
        partitions.set(topic, present ?? PARTITIONS)
      }
      return { cluster: log.id, partitions }
    },
    async send({ topic, partition }, records) {
      if (log === undefined) throw new Error('connect first')
      const id = registryIds.get(topic)
      const framed =
        id === undefined ? records : records.map(({ key, value }) => ({ key, value: reframeToConfluent(value, id) }))
      const { baseOffset } = log.append(topic, partition, framed)
      return { baseOffset }
    },
    async close() {
      log?.close()
    },
  }
}
