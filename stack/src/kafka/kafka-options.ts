/** What a caller asks of a Kafka, and gets. */
import type { KafkaNode } from './kafka-node.ts'
import type { SecuredListener } from './secured-listeners.ts'

export interface KafkaOptions {
  /** Nodes of the cluster, each broker and controller. @defaultValue 1 */
  readonly brokers?: 1 | 3 | undefined
  /** Settings of the nodes over our own, such as `{ 'group.min.session.timeout.ms': '1000' }`. */
  readonly properties?: Readonly<Record<string, string>> | undefined
  /** More listeners of a cluster of one node, which then runs from Kafka's jars: containers have none. */
  readonly secured?: readonly SecuredListener[] | undefined
  /**
   * Where the cluster keeps its data, made when missing. Containers keep it in volumes of the engine, which are removed once
   * the directory is. @defaultValue a temporary directory, or temporary volumes, removed by `stop`.
   */
  readonly dataDir?: string | undefined
  /**
   * Puts a proxy in front of a node, such as one that cuts connections: takes the address at which the node listens, and
   * resolves to the address that clients are told. @defaultValue the same
   */
  readonly advertise?: ((address: string) => Promise<string>) | undefined
}

export interface RunningKafka {
  /** Bootstrap addresses, `host:port`. */
  readonly brokers: readonly string[]
  /** Whether KAFKA_BROKERS names it: then `nodes` is empty and `stop` leaves it alone. */
  readonly attached: boolean
  /** The processes or containers of the cluster, for fault tests. */
  readonly nodes: readonly KafkaNode[]
  /** Ends all nodes in order, or by SIGKILL after 15 s. */
  stop(): Promise<void>
}

export interface KafkaCluster extends RunningKafka, AsyncDisposable {}
