export type { ClickHouseServer, Credentials } from '@agent-audit/embedded'
export { type Availability, embeddedAvailability, stopAll, type UserSpec } from '@agent-audit/embedded/internal'
export { chooseServers, SERVER_KINDS, sourceOf } from './choose-servers.ts'
export { clickHouseAvailability, type ClickHouseOptions, startClickHouse } from './clickhouse/start-clickhouse.ts'
export { imageOf, reaperImage, type ServerKind } from './containers/images.ts'
export { kafkaAvailability, startKafka } from './kafka/kafka-cluster.ts'
export { kafkaJarsAvailability } from './kafka/kafka-jars.ts'
export type { KafkaCluster, KafkaOptions } from './kafka/kafka-options.ts'
export type { KafkaNode } from './kafka/kafka-node.ts'
export { type ScramUser, SECURED_HOST, type SecuredListener, setScramUser } from './kafka/secured-listeners.ts'
export {
  schemaRegistryAvailability,
  type SchemaRegistryServer,
  startSchemaRegistry,
} from './registry/schema-registry.ts'
