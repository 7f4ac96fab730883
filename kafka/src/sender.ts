/** The seam to the log: one client of Kafka, or of the embedded log that replaces it. */
import type { RegistryConnection } from '@agent-audit/schemas'

/** One partition of a Kafka topic. */
export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

/** Key and value are made at each access. */
export interface OutgoingRecord {
  readonly key: Buffer
  readonly value: Buffer
  /** Bytes of key and value together. */
  readonly bytes: number
}

export interface SenderSettings {
  /** Confluent Schema Registry API; undefined: records stay in Avro single-object encoding. */
  readonly schemaRegistry: RegistryConnection | undefined
}

/** What a client has found at its first contact. */
export interface Reached {
  /** Id of the cluster, or of the embedded log. */
  readonly cluster: string
  /** The number of partitions of each topic. */
  readonly partitions: ReadonlyMap<string, number>
}

/**
 * One client. The caller MUST connect it once before sending, MUST have at most one send in flight per partition, and MUST
 * discard it (close it, make another) after any rejection: whether the broker appended the rejected send is unknown then.
 */
export interface Sender {
  /**
   * Connects, for sends to these topics.
   * @throws TrailError that names the address and the problem.
   */
  connect(topics: readonly string[]): Promise<Reached>
  /**
   * Appends records to a partition, in order and as one batch. Resolves when all in-sync replicas have them. After a
   * rejection the client may still read the records' memory. Rejects with `CLUSTER_CHANGED`, and sends nothing, when another
   * cluster answers than the one that {@link connect} reached.
   */
  send(to: TopicPartition, records: readonly OutgoingRecord[]): Promise<{ baseOffset: number }>
  /** Never rejects; sends in flight do. */
  close(): Promise<void>
}
