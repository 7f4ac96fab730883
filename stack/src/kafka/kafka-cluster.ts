/** One way to a real Kafka: the brokers KAFKA_BROKERS names, else a local one from Kafka's jars. */
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type Availability, freePorts, track, tryLock } from '@agent-audit/embedded/internal'
import { AuditUnavailableError, InvalidInputError } from '@agent-audit/schemas'
import { javaAvailability } from '../processes/java.ts'
import { fetchKafkaJars, KAFKA_LIBS } from './kafka-jars.ts'
import { KafkaNode, type NodeOptions } from './kafka-node.ts'
import type { NodeLayout } from './kafka-properties.ts'
import type { SecuredListener } from './secured-listeners.ts'

const PORT_ATTEMPTS = 3

export interface KafkaOptions {
  /** Nodes of a local cluster, each broker and controller. @defaultValue 1 */
  readonly brokers?: 1 | 3 | undefined
  /** Settings of the nodes over our own, such as `{ 'group.min.session.timeout.ms': '1000' }`. */
  readonly properties?: Readonly<Record<string, string>> | undefined
  /** More listeners of a local cluster of one node. */
  readonly secured?: readonly SecuredListener[] | undefined
  /** Where a local cluster keeps its data, made when missing. @defaultValue a temporary directory, removed by `stop`. */
  readonly dataDir?: string | undefined
  /**
   * Puts a proxy in front of a node, such as one that cuts connections: takes the address at which the node listens, and
   * resolves to the address that clients are told. @defaultValue the same
   */
  readonly advertise?: ((address: string) => Promise<string>) | undefined
}

export interface KafkaCluster extends AsyncDisposable {
  /** Bootstrap addresses, `host:port`. */
  readonly brokers: readonly string[]
  /** Whether KAFKA_BROKERS names it: then `nodes` is empty and `stop` leaves it alone. */
  readonly attached: boolean
  /** The processes of a local cluster, for fault tests. */
  readonly nodes: readonly KafkaNode[]
  /** Ends all nodes in order, or by SIGKILL after 15 s. */
  stop(): Promise<void>
}

/** Whether {@link startKafka} can work here: by KAFKA_BROKERS, or by Java and the jars (or Maven, to fetch them). */
export function kafkaAvailability(): Availability {
  if (process.env['KAFKA_BROKERS']) return { available: true }
  const instead = "or set KAFKA_BROKERS (docker-compose.yml starts one: 'docker compose up -d --wait kafka')"
  return javaAvailability({ server: 'A local Kafka', part: "Kafka's jars", files: KAFKA_LIBS, instead })
}

/**
 * Starts a real Kafka, or names the running one of KAFKA_BROKERS (addresses separated by commas).
 * @throws AuditUnavailableError `PART_UNAVAILABLE` if neither is available, saying what to install or to set.
 */
export async function startKafka(options: KafkaOptions = {}): Promise<KafkaCluster> {
  const named = process.env['KAFKA_BROKERS']
  if (named) return attach(named.split(',').map((address) => address.trim()))
  const availability = kafkaAvailability()
  if (!availability.available) throw new AuditUnavailableError('PART_UNAVAILABLE', availability.reason)
  return startLocal(options, await fetchKafkaJars())
}

function attach(brokers: readonly string[]): KafkaCluster {
  return track({ brokers, attached: true, nodes: [], stop: () => Promise.resolve() })
}

async function startLocal(options: KafkaOptions, libs: string): Promise<KafkaCluster> {
  const temporary = options.dataDir === undefined
  const dataDir = resolve(options.dataDir ?? (await mkdtemp(join(tmpdir(), 'agent-audit-kafka-'))))
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  // Kafka locks its data itself; this lock keeps a second cluster from overwriting the settings of the first.
  const lock = tryLock(join(dataDir, 'owner.lock'))
  if (lock === undefined) {
    throw new InvalidInputError('OPTIONS_INVALID', `Kafka data directory ${dataDir} is in use by another cluster`)
  }
  const leave = async (): Promise<void> => {
    lock.release()
    if (temporary) await rm(dataDir, { recursive: true, force: true })
  }
  try {
    const { properties = {}, secured = [] } = options
    const shared = { properties, secured, clusterId: await clusterIdOf(dataDir), libs, temporary }
    const nodes = await startNodes(dataDir, options, shared)
    const stop = async (): Promise<void> => {
      await Promise.all(nodes.map((node) => node.stop()))
      await leave()
    }
    return track({ brokers: nodes.map((node) => node.address), attached: false, nodes, stop })
  } catch (error) {
    await leave()
    throw error
  }
}

type SharedOptions = Omit<NodeOptions, 'layout' | 'allNodes'>

/** Another process may take a free port between its choice and its use: then the nodes start once more, with other ports. */
async function startNodes(dataDir: string, options: KafkaOptions, shared: SharedOptions): Promise<KafkaNode[]> {
  const count = options.brokers ?? 1
  for (let attempt = 1; ; attempt++) {
    const layouts = await layOutNodes(dataDir, count, options.advertise)
    const nodes = layouts.map((layout) => new KafkaNode({ ...shared, layout, allNodes: layouts }))
    try {
      await Promise.all(nodes.map((node) => node.prepare()))
      await Promise.all(nodes.map((node) => node.launch()))
      await Promise.all(nodes.map((node) => node.ready(count)))
      return nodes
    } catch (error) {
      await Promise.all(nodes.map((node) => node.kill()))
      const portTaken = /address already in use/i.test(String(error))
      if (!portTaken || attempt === PORT_ATTEMPTS) throw error
    }
  }
}

const PORTS_PER_NODE = 3

async function layOutNodes(
  dataDir: string,
  count: number,
  advertise: KafkaOptions['advertise'],
): Promise<NodeLayout[]> {
  const ports = await freePorts(count * PORTS_PER_NODE)
  const layOut = async (_: unknown, index: number): Promise<NodeLayout> => {
    const [clientPort = 0, brokerPort = 0, controllerPort = 0] = ports.slice(index * PORTS_PER_NODE)
    const listening = `127.0.0.1:${clientPort}`
    const address = (await advertise?.(listening)) ?? listening
    return { id: index + 1, clientPort, brokerPort, controllerPort, address, dir: join(dataDir, `node-${index + 1}`) }
  }
  return Promise.all(Array.from({ length: count }, layOut))
}

/** The cluster's id, made at the first start of a data directory: 16 random bytes in base64url, as Kafka expects. */
async function clusterIdOf(dataDir: string): Promise<string> {
  const file = join(dataDir, 'cluster-id')
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    // Kafka's tool parses an id that begins with a dash as an option.
    const id = randomBytes(16).toString('base64url').replace(/^-/, 'a')
    await writeFile(file, id)
    return id
  }
}
