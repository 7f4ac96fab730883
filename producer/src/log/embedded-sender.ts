/** Sends into the embedded log of a data directory. */
import type { Sender } from '@agent-audit/kafka'
import { createSchemaRegistry, NEWEST_SCHEMA, reframeToConfluent } from '@agent-audit/schemas'
import { openEmbeddedLog } from '@agent-audit/spool'
import type { EmbeddedLog } from '@agent-audit/spool'
import type { DeliverySettings } from '../delivery/protocol.ts'
import type { Destination } from '../options/destination.ts'

/** As many as two cores of a laptop can use. */
const PARTITIONS = 4
/** How long an append waits for other processes; it is tried again anyway. */
const BUSY_TIMEOUT_MS = 2000

export function createEmbeddedSender(
  { topic, schemaRegistryUrl }: DeliverySettings,
  { dataDir, fsync }: Extract<Destination, { kind: 'embedded' }>,
): Sender {
  let log: EmbeddedLog | undefined
  let registryId: number | undefined
  return {
    async connect() {
      log = openEmbeddedLog({ directory: dataDir, busyTimeoutMs: BUSY_TIMEOUT_MS, fsync })
      if (schemaRegistryUrl !== undefined) {
        registryId = await createSchemaRegistry(schemaRegistryUrl).register(topic, NEWEST_SCHEMA)
      }
      const present = log.partitions(topic)
      if (present === undefined) log.createTopic(topic, PARTITIONS)
      return { partitions: present ?? PARTITIONS }
    },
    async send(partition, records) {
      if (log === undefined) throw new Error('connect first')
      const id = registryId
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
