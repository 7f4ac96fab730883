/** The settings of a local Kafka: KRaft, every node both broker and controller, on loopback. */
import { join } from 'node:path'
import { addSecuredListeners, type SecuredListener } from './secured-listeners.ts'

/** Above the limits of consumer and producer, so that their limits are reached first. */
const MAX_MESSAGE_BYTES = 8 * 1024 * 1024

export interface NodeLayout {
  readonly id: number
  readonly clientPort: number
  /** For the other nodes: they bypass a proxy in front of `clientPort`. */
  readonly brokerPort: number
  readonly controllerPort: number
  /** `host:port` that the node advertises to clients. */
  readonly address: string
  /** The node's directory: settings, output, data. */
  readonly dir: string
}

/** The text of a node's server.properties. `extra` overrides the settings made here. */
export function serverProperties(
  layout: NodeLayout,
  nodes: readonly NodeLayout[],
  extra: Readonly<Record<string, string>>,
  secured: readonly SecuredListener[] = [],
): string {
  const replicas = String(nodes.length)
  const inSync = nodes.length > 1 ? '2' : '1'
  const settings: Record<string, string> = {
    'process.roles': 'broker,controller',
    'node.id': String(layout.id),
    listeners: [
      `CLIENT://127.0.0.1:${layout.clientPort}`,
      `BROKER://127.0.0.1:${layout.brokerPort}`,
      `CONTROLLER://127.0.0.1:${layout.controllerPort}`,
    ].join(),
    'advertised.listeners': `CLIENT://${layout.address},BROKER://127.0.0.1:${layout.brokerPort}`,
    'listener.security.protocol.map': 'CLIENT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'inter.broker.listener.name': 'BROKER',
    'controller.listener.names': 'CONTROLLER',
    // The settings name the voters, not the data: the ports may differ at the next start.
    'controller.quorum.voters': nodes.map((node) => `${node.id}@127.0.0.1:${node.controllerPort}`).join(','),
    'log.dirs': join(layout.dir, 'data'),
    'num.partitions': '1',
    'default.replication.factor': replicas,
    'auto.create.topics.enable': 'false',
    'message.max.bytes': String(MAX_MESSAGE_BYTES),
    'replica.fetch.max.bytes': String(MAX_MESSAGE_BYTES),
    'offsets.topic.num.partitions': '4',
    'offsets.topic.replication.factor': replicas,
    'transaction.state.log.num.partitions': '4',
    'transaction.state.log.replication.factor': replicas,
    'transaction.state.log.min.isr': inSync,
    'share.coordinator.state.topic.num.partitions': '4',
    'share.coordinator.state.topic.replication.factor': replicas,
    'share.coordinator.state.topic.min.isr': inSync,
    'group.initial.rebalance.delay.ms': '0',
    // A killed broker can register again only when its old session has expired (9 s otherwise).
    'broker.session.timeout.ms': '5000',
    'broker.heartbeat.interval.ms': '1000',
    ...extra,
  }
  addSecuredListeners(settings, secured)
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')
}
