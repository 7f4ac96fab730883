/** The clients of a destination: Kafka's, and that of the embedded log of a data directory. */
import type { Sender, SenderSettings } from '@agent-audit/kafka'
import { createKafkaSender } from '@agent-audit/kafka/sender'
import { createSchemaRegistry, NEWEST_SCHEMA, reframeToConfluent, SEALS_SUFFIX } from '@agent-audit/schemas'
import { openEmbeddedLog } from '@agent-audit/spool'
import type { EmbeddedLog } from '@agent-audit/spool'
import type { Destination } from '../options/destination.ts'
import type { DeliverySettings } from './protocol.ts'

/** As many as two cores of a laptop can use. */
const PARTITIONS = 4
/** How long an append waits for other processes; it is tried again anyway. */
const BUSY_TIMEOUT_MS = 2000

/** Makes a client for one topic that is not connected yet. Seals are no Avro: no registry knows them. */
export function createSender({ destination, schemaRegistry }: DeliverySettings, topic: string): Sender {
  const settings = topic.endsWith(SEALS_SUFFIX) ? { schemaRegistry: undefined } : { schemaRegistry }
  if (destination.kind === 'kafka') return createKafkaSender(settings, destination)
  if (destination.kind === 'embedded') return createEmbeddedSender(settings, destination)
  throw new Error('a trail in memory has no sender')
}

function createEmbeddedSender(
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
        // The order of seals is that of their one partition.
        const count = topic.endsWith(SEALS_SUFFIX) ? 1 : PARTITIONS
        const present = log.partitions(topic)
        if (present === undefined) log.createTopic(topic, count)
        partitions.set(topic, present ?? count)
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
