/** Brokers killed, held and restarted; connections to them cut; partitions added. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { KafkaNode } from '@agent-audit/stack'
import type { ProxyRule } from '../support/cutting-proxy.ts'
import { aWorkingMember } from './consumer-faults.ts'
import { between, type Fault, type Injected, pick, type Scene } from './fault.ts'

const DOWN_MS = { least: 500, most: 4000 }

export const brokerFaults: readonly Fault[] = [
  { kind: 'leading broker killed', target: 'brokers', inject: killLeader },
  { kind: 'all brokers killed', target: 'brokers', inject: killAll },
  { kind: 'brokers restarted one by one', target: 'brokers', inject: rollOver },
  { kind: 'connections to the brokers cut', target: 'link to the brokers', inject: cutBrokers },
  { kind: 'answers of the brokers lost', target: 'link to the brokers', inject: loseAnswers },
  { kind: 'partitions added', target: 'consumer', inject: addPartition },
]

async function leaders({ servers, trail }: Scene): Promise<Map<number, KafkaNode>> {
  const { topics } = await servers.ask((admin) => admin.fetchTopicMetadata({ topics: [trail.topic] }))
  const found = (topics[0]?.partitions ?? []).flatMap(({ partitionId, leader }) => {
    const node = servers.kafka.nodes.find(({ id }) => id === leader)
    return node === undefined ? [] : [[partitionId, node] as const]
  })
  return new Map(found)
}

async function killLeader(scene: Scene): Promise<Injected> {
  const led = await leaders(scene)
  const node = pick(scene.random, [...led.values()])
  const at = Date.now()
  await node.kill()
  await sleep(between(scene.random, DOWN_MS.least, DOWN_MS.most))
  await node.start()
  // The partitions it led; it may also have been the coordinator of the group, which stops them all.
  return { at, partitions: [...led].filter(([, leader]) => leader === node).map(([partition]) => partition) }
}

async function killAll({ servers, trail }: Scene): Promise<Injected> {
  const { nodes } = servers.kafka
  const at = Date.now()
  await Promise.all(nodes.map((node) => node.kill()))
  await Promise.all(nodes.map((node) => node.start()))
  return { at, partitions: trail.partitions }
}

async function rollOver({ servers, trail }: Scene): Promise<Injected> {
  for (const node of servers.kafka.nodes) {
    await node.stop()
    await node.start()
    await servers.inSync()
  }
  return { at: Date.now(), partitions: trail.partitions }
}

async function cutBrokers(scene: Scene): Promise<Injected> {
  const member = await aWorkingMember(scene)
  const { partitions } = member
  for (const proxy of member.toBrokers) proxy.cutAll()
  return { at: Date.now(), partitions }
}

/** Requests reach the brokers, commits among them, and nothing comes back until the connections are cut. */
async function loseAnswers(scene: Scene): Promise<Injected> {
  const { random, timing } = scene
  const member = await aWorkingMember(scene)
  const { partitions } = member
  const rule: ProxyRule = { answer: () => undefined }
  for (const proxy of member.toBrokers) proxy.rules.add(rule)
  await sleep(between(random, 500, timing.sessionMs * 2))
  for (const proxy of member.toBrokers) {
    proxy.rules.delete(rule)
    proxy.cutAll()
  }
  return { at: Date.now(), partitions }
}

/** Consumers look at the topic's metadata every few minutes; one that joins makes the group look at once. */
async function addPartition(scene: Scene): Promise<Injected> {
  const added = await scene.trail.addPartition()
  const member = await aWorkingMember(scene)
  await member.drain()
  member.start()
  return { at: Date.now(), partitions: [added] }
}
