/** The settings of a Kafka that the stack starts: KRaft, every node both broker and controller. */

/** Above the limits of consumer and producer, so that their limits are reached first. */
const MAX_MESSAGE_BYTES = 8 * 1024 * 1024

export interface NodeLayout {
  readonly id: number
  /** The address that the node listens on: loopback, or that of a container. */
  readonly listenHost: string
  readonly clientPort: number
  /** For the other nodes: they bypass a proxy in front of `clientPort`. */
  readonly brokerPort: number
  readonly controllerPort: number
  /** The name by which the other nodes reach this one. */
  readonly nodeHost: string
  /** `host:port` that the node advertises to clients. */
  readonly address: string
  /** Where the node keeps its data. */
  readonly dataDir: string
}

/** A node's settings. `extra` overrides those made here. */
export function nodeSettings(
  layout: NodeLayout,
  nodes: readonly NodeLayout[],
  extra: Readonly<Record<string, string>>,
): Record<string, string> {
  const replicas = String(nodes.length)
  const inSync = nodes.length > 1 ? '2' : '1'
  const { listenHost } = layout
  return {
    'process.roles': 'broker,controller',
    'node.id': String(layout.id),
    listeners: [
      `CLIENT://${listenHost}:${layout.clientPort}`,
      `BROKER://${listenHost}:${layout.brokerPort}`,
      `CONTROLLER://${listenHost}:${layout.controllerPort}`,
    ].join(),
    'advertised.listeners': `CLIENT://${layout.address},BROKER://${layout.nodeHost}:${layout.brokerPort}`,
    'listener.security.protocol.map': 'CLIENT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'inter.broker.listener.name': 'BROKER',
    'controller.listener.names': 'CONTROLLER',
    // The settings name the voters, not the data: the ports may differ at the next start.
    'controller.quorum.voters': nodes.map((node) => `${node.id}@${node.nodeHost}:${node.controllerPort}`).join(','),
    'log.dirs': layout.dataDir,
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
}
