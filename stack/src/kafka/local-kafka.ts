/** A Kafka of this machine: Java processes, from Kafka's jars. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts } from '@agent-audit/embedded/internal'
import { clusterIdOf, holdDirectory } from './kafka-directory.ts'
import { LocalKafkaNode, type NodeOptions } from './kafka-node.ts'
import type { KafkaOptions, RunningKafka } from './kafka-options.ts'
import type { NodeLayout } from './kafka-properties.ts'

const PORT_ATTEMPTS = 3

/** @param libs - Folder of Kafka's jars. */
export async function startLocal(options: KafkaOptions, libs: string): Promise<RunningKafka> {
  const temporary = options.dataDir === undefined
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'agent-audit-kafka-')))
  const lock = await holdDirectory(dataDir)
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
    return { brokers: nodes.map((node) => node.address), attached: false, nodes, stop }
  } catch (error) {
    await leave()
    throw error
  }
}

type SharedOptions = Omit<NodeOptions, 'layout' | 'allNodes' | 'directory'>

/** Another process may take a free port between its choice and its use: then the nodes start once more, with other ports. */
async function startNodes(dataDir: string, options: KafkaOptions, shared: SharedOptions): Promise<LocalKafkaNode[]> {
  const count = options.brokers ?? 1
  for (let attempt = 1; ; attempt++) {
    const layouts = await layOutNodes(dataDir, count, options.advertise)
    const nodes = layouts.map(
      (layout) =>
        new LocalKafkaNode({ ...shared, layout, allNodes: layouts, directory: directoryOf(dataDir, layout.id) }),
    )
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
    return {
      id: index + 1,
      listenHost: '127.0.0.1',
      nodeHost: '127.0.0.1',
      clientPort,
      brokerPort,
      controllerPort,
      address,
      dataDir: join(directoryOf(dataDir, index + 1), 'data'),
    }
  }
  return Promise.all(Array.from({ length: count }, layOut))
}

function directoryOf(dataDir: string, id: number): string {
  return join(dataDir, `node-${id}`)
}
