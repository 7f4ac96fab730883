/** A Kafka in containers, one for each node. */
import { freePorts } from '@agent-audit/embedded/internal'
import { Network } from 'testcontainers'
import { Container, isPortTaken, openRuntime } from '../containers/container.ts'
import { volumeOf } from '../containers/volumes.ts'
import { clusterIdOf, holdDirectory, markContained, newClusterId } from './kafka-directory.ts'
import type { KafkaNode } from './kafka-node.ts'
import type { KafkaOptions, RunningKafka } from './kafka-options.ts'
import { hasBrokers } from './kafka-probe.ts'
import { type NodeLayout, nodeSettings } from './kafka-properties.ts'

const CLIENT_PORT = 9092
const BROKER_PORT = 19_092
const CONTROLLER_PORT = 9093
const DATA = '/var/lib/kafka/data'
const HEAP = '-Xms256m -Xmx768m'
const PORT_ATTEMPTS = 3
/** Undoes what has been made, the last first. */
type Undo = (() => Promise<void>)[]

export async function startContained(options: KafkaOptions): Promise<RunningKafka> {
  const { dataDir } = options
  const undo: Undo = []
  const leave = async (): Promise<void> => {
    for (const step of undo.toReversed()) await step()
  }
  try {
    if (dataDir !== undefined) {
      const lock = await holdDirectory(dataDir)
      undo.push(() => Promise.resolve(lock.release()))
      await markContained(dataDir)
    }
    const clusterId = dataDir === undefined ? newClusterId() : await clusterIdOf(dataDir)
    const network = await makeNetwork(options.brokers ?? 1, undo)
    const nodes = await startNodes(options, { clusterId, network })
    undo.push(async () => void (await Promise.all(nodes.map((node) => node.remove()))))
    return { brokers: nodes.map((node) => node.address), attached: false, nodes, stop: leave }
  } catch (error) {
    await leave()
    throw error
  }
}

/** A network in which the nodes reach each other by name; a single node needs none. */
async function makeNetwork(count: number, undo: Undo): Promise<string | undefined> {
  if (count === 1) return undefined
  await openRuntime()
  const network = await new Network().start()
  undo.push(async () => void (await network.stop()))
  return network.getName()
}

interface Cluster {
  readonly clusterId: string
  readonly network: string | undefined
}

/** Another process may take a free port between its choice and its use: then the nodes start once more, with other ports. */
async function startNodes(options: KafkaOptions, cluster: Cluster): Promise<ContainerNode[]> {
  const count = options.brokers ?? 1
  for (let attempt = 1; ; attempt++) {
    const ports = await freePorts(count)
    const layouts = await Promise.all(ports.map((port, index) => layOut({ port, id: index + 1, options, cluster })))
    const started = await Promise.allSettled(
      layouts.map((layout, index) => startNode(layout, { layouts, port: ports[index] ?? 0, options, cluster })),
    )
    const nodes = started.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []))
    try {
      const failed = started.find((each) => each.status === 'rejected')
      if (failed !== undefined) throw failed.reason
      await Promise.all(nodes.map((node) => node.ready(count)))
      return nodes
    } catch (error) {
      await Promise.all(nodes.map((node) => node.remove()))
      if (!isPortTaken(error) || attempt === PORT_ATTEMPTS) throw error
    }
  }
}

/** @param of.port - Port of this machine at which clients reach the node. */
async function layOut(of: {
  readonly port: number
  readonly id: number
  readonly options: KafkaOptions
  readonly cluster: Cluster
}): Promise<NodeLayout> {
  const { host } = (await openRuntime()).info.containerRuntime
  const listening = `${host === 'localhost' ? '127.0.0.1' : host}:${of.port}`
  return {
    id: of.id,
    listenHost: '0.0.0.0',
    nodeHost: of.cluster.network === undefined ? 'localhost' : `node-${of.id}`,
    clientPort: CLIENT_PORT,
    brokerPort: BROKER_PORT,
    controllerPort: CONTROLLER_PORT,
    address: (await of.options.advertise?.(listening)) ?? listening,
    dataDir: DATA,
  }
}

interface Plan {
  readonly layouts: readonly NodeLayout[]
  readonly port: number
  readonly options: KafkaOptions
  readonly cluster: Cluster
}

async function startNode(layout: NodeLayout, { layouts, port, options, cluster }: Plan): Promise<ContainerNode> {
  const volume = options.dataDir === undefined ? undefined : await volumeOf(options.dataDir, `kafka-${layout.id}`)
  const container = await Container.start({
    what: `Kafka node ${layout.id}`,
    kind: 'kafka',
    ports: { [CLIENT_PORT]: port },
    environment: {
      CLUSTER_ID: cluster.clusterId,
      KAFKA_HEAP_OPTS: HEAP,
      ...javaOptions(),
      ...asEnvironment(nodeSettings(layout, layouts, options.properties ?? {})),
    },
    name: volume,
    volume: volume === undefined ? undefined : { name: volume, path: DATA },
    network: cluster.network === undefined ? undefined : { name: cluster.network, alias: layout.nodeHost },
  })
  return new ContainerNode(layout, container, port)
}

function javaOptions(): Record<string, string> {
  const options = process.env['JDK_JAVA_OPTIONS']
  return options === undefined ? {} : { JDK_JAVA_OPTIONS: options }
}

function asEnvironment(settings: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(settings).map(([setting, value]) => [variableOf(setting), value]))
}

/** The variable from which Kafka's image reads a setting: `KAFKA_A_B__C___D` for `a.b_c-d`. */
function variableOf(setting: string): string {
  return `KAFKA_${setting.replaceAll('_', '__').replaceAll('-', '___').replaceAll('.', '_').toUpperCase()}`
}

class ContainerNode implements KafkaNode {
  readonly id: number
  readonly address: string
  readonly #container: Container
  readonly #listening: string

  constructor(layout: NodeLayout, container: Container, port: number) {
    this.id = layout.id
    this.address = layout.address
    this.#container = container
    this.#listening = `${container.host}:${port}`
  }

  /** Waits until this node answers and knows of `count` brokers. */
  ready(count: number): Promise<void> {
    return this.#container.untilReady(() => hasBrokers(this.#listening, { advertised: this.address, count }))
  }

  async start(): Promise<void> {
    if (await this.#container.isRunning()) return
    await this.#container.restart()
    await this.ready(1)
  }

  kill(): Promise<void> {
    return this.#container.kill()
  }

  pause(): Promise<void> {
    return this.#container.pause()
  }

  resume(): Promise<void> {
    return this.#container.resume()
  }

  stop(): Promise<void> {
    return this.#container.stop()
  }

  /** Ends the node, and drops its data, unless it is a directory's. */
  remove(): Promise<void> {
    return this.#container.remove()
  }
}
