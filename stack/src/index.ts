export {
  type Availability,
  clickHouseAvailability,
  kafkaAvailability,
  schemaRegistryAvailability,
} from './availability.ts'
export type { Credentials } from './clickhouse-client.ts'
export type { UserSpec } from './clickhouse-files.ts'
export { type ClickHouseOptions, type ClickHouseServer, startClickHouse } from './clickhouse-server.ts'
export { type DataDir, type DataDirUser, openDataDir } from './data-dir.ts'
export { type KafkaCluster, type KafkaOptions, startKafka } from './kafka-cluster.ts'
export type { KafkaNode } from './kafka-node.ts'
export { stopAll } from './lifetime.ts'
export { type SchemaRegistryServer, startSchemaRegistry } from './schema-registry.ts'
