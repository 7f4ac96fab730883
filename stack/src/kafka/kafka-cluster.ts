/**
 * One way to a real Kafka: the brokers KAFKA_BROKERS names, else containers, else a local one from Kafka's jars. One with secured
 * listeners runs from the jars.
 */
import { resolve } from 'node:path'
import { type Availability, track } from '@agent-audit/embedded/internal'
import { AuditUnavailableError } from '@agent-audit/schemas'
import { chooseServers, sourceOf } from '../choose-servers.ts'
import { fetchKafkaJars, kafkaJarsAvailability } from './kafka-jars.ts'
import { keeperOf } from './kafka-directory.ts'
import type { KafkaCluster, KafkaOptions } from './kafka-options.ts'
import { startLocal } from './local-kafka.ts'

/**
 * Whether {@link startKafka} without secured listeners can work here: by KAFKA_BROKERS, by containers, or by Java and the jars
 * (or Maven, to fetch them).
 */
export function kafkaAvailability(): Availability {
  if (process.env['KAFKA_BROKERS'] || sourceOf('kafka') === 'containers') return { available: true }
  return kafkaJarsAvailability()
}

/**
 * Starts a real Kafka, or names the running one of KAFKA_BROKERS (addresses separated by commas).
 * @throws AuditUnavailableError `PART_UNAVAILABLE` if there is no way to one, saying what to install or to set;
 * InvalidInputError `OPTIONS_INVALID` for a data directory that another cluster uses, or that another kind of server made.
 */
export async function startKafka(options: KafkaOptions = {}): Promise<KafkaCluster> {
  const brokers = process.env['KAFKA_BROKERS']
  if (brokers) {
    const addresses = brokers.split(',').map((address) => address.trim())
    return track({ brokers: addresses, attached: true, nodes: [], stop: () => Promise.resolve() })
  }
  const dataDir = options.dataDir === undefined ? undefined : resolve(options.dataDir)
  if (await inContainers(options.secured, dataDir)) {
    // Loaded for containers alone: it takes half a second.
    const { startContained } = await import('./container-kafka.ts')
    return track(await startContained({ ...options, dataDir }))
  }
  const availability = kafkaJarsAvailability()
  if (!availability.available) throw new AuditUnavailableError('PART_UNAVAILABLE', availability.reason)
  return track(await startLocal({ ...options, dataDir }, await fetchKafkaJars()))
}

async function inContainers(secured: KafkaOptions['secured'], dataDir: string | undefined): Promise<boolean> {
  if (secured !== undefined) return false
  await chooseServers(['kafka'])
  return keeperOf(dataDir, sourceOf('kafka')) === 'containers'
}
