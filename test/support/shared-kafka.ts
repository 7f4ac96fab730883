/** The run's own Kafka, for tests that neither stop nor change it. */
import { inject } from 'vitest'

export interface SharedKafka {
  /** Bootstrap addresses, `host:port`. */
  readonly brokers: readonly string[]
  /** Whether KAFKA_BROKERS names it. */
  readonly attached: boolean
}

/** Starts the run's Kafka, unless another file has done so. It runs on after this file. */
export async function sharedKafka(): Promise<SharedKafka> {
  const response = await fetch(inject('runKafkaUrl'))
  if (!response.ok) throw new Error(await response.text())
  return (await response.json()) as SharedKafka
}
