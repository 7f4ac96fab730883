export type { ClickHouseServer, Credentials } from '@agent-audit/embedded'
export { type Availability, stopAll, type UserSpec } from '@agent-audit/embedded/internal'
export { clickHouseAvailability, type ClickHouseOptions, startClickHouse } from './clickhouse/start-clickhouse.ts'
export { kafkaAvailability, type KafkaCluster, type KafkaOptions, startKafka } from './kafka/kafka-cluster.ts'
export type { KafkaNode } from './kafka/kafka-node.ts'
export { type ScramUser, SECURED_HOST, type SecuredListener, setScramUser } from './kafka/secured-listeners.ts'
export {
  schemaRegistryAvailability,
  type SchemaRegistryServer,
  startSchemaRegistry,
} from './registry/schema-registry.ts'
