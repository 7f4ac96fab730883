/** A local Kafka from its jars: it keeps acknowledged records over a crash, and ends with its parent. */
import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { type KafkaCluster, type KafkaOptions, startKafka, stopAll } from '@agent-audit/stack'
import kafkajs, { type Kafka, type KafkaConfig } from 'kafkajs'
import { describe, expect, it, onTestFinished } from 'vitest'
import { isRunning } from '../support/is-running.ts'
import { expectGone, makeDirectory, NO_KAFKA, startProgram } from './support.ts'

const TOPIC = 'notes'

async function start(options?: KafkaOptions): Promise<KafkaCluster> {
  const cluster = await startKafka(options)
  onTestFinished(() => cluster.stop())
  return cluster
}

function connect(cluster: KafkaCluster, limits: Partial<KafkaConfig> = {}): Kafka {
  const { logLevel, Kafka: Client } = kafkajs
  return new Client({ brokers: [...cluster.brokers], logLevel: logLevel.NOTHING, ...limits })
}

async function makeTopic(cluster: KafkaCluster): Promise<void> {
  const admin = connect(cluster).admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic: TOPIC, numPartitions: 1 }], waitForLeaders: true })
  await admin.disconnect()
}

async function produce(cluster: KafkaCluster, value: string | Buffer): Promise<void> {
  const producer = connect(cluster).producer()
  await producer.connect()
  await producer.send({ topic: TOPIC, acks: -1, messages: [{ value }] })
  await producer.disconnect()
}

/** The first `count` messages of the topic, read by a new group. */
async function consume(cluster: KafkaCluster, count: number): Promise<string[]> {
  const consumer = connect(cluster).consumer({ groupId: `group-${crypto.randomUUID()}` })
  const values: string[] = []
  await consumer.connect()
  await consumer.subscribe({ topic: TOPIC, fromBeginning: true })
  await consumer.run({
    eachMessage: ({ message }) => {
      values.push(String(message.value))
      return Promise.resolve()
    },
  })
  await expect.poll(() => values.length, { timeout: 30_000 }).toBeGreaterThanOrEqual(count)
  await consumer.disconnect()
  return values
}

describe.skipIf(NO_KAFKA !== undefined)(`startKafka ${NO_KAFKA ?? ''}`, () => {
  it('takes and gives messages, and makes no topic by itself', async () => {
    const cluster = await start()
    const admin = connect(cluster).admin()
    await admin.connect()
    await expect(admin.fetchTopicMetadata({ topics: [TOPIC] })).rejects.toThrow(/does not host this topic/)
    await admin.disconnect()
    await makeTopic(cluster)
    await produce(cluster, 'one')
    expect(await consume(cluster, 1)).toEqual(['one'])
  })

  it('takes a message of 7 MiB', async () => {
    const cluster = await start()
    await makeTopic(cluster)
    await expect(produce(cluster, Buffer.alloc(7 * 1024 * 1024))).resolves.toBeUndefined()
  })

  it('keeps acknowledged records when it is killed, and restarts at the same address', async () => {
    const cluster = await start()
    await makeTopic(cluster)
    await produce(cluster, 'before')
    const [node] = cluster.nodes
    const pid = node?.pid ?? 0
    await node?.kill()
    expect(isRunning(pid)).toBe(false)
    await node?.start()
    expect(node?.pid).not.toBe(pid)
    await produce(cluster, 'after')
    expect(await consume(cluster, 2)).toEqual(['before', 'after'])
  })

  it('answers nothing while it is held, and everything once it goes on', async () => {
    const cluster = await start()
    const [node] = cluster.nodes
    const admin = connect(cluster, { requestTimeout: 1000, retry: { retries: 0 } }).admin()
    await admin.connect()
    node?.pause()
    await expect(admin.listTopics()).rejects.toThrow(/timed out/)
    node?.resume()
    await expect.poll(() => admin.listTopics(), { timeout: 20_000 }).toEqual([])
    await admin.disconnect()
  })

  it('stops in order even while it is held', async () => {
    const cluster = await start()
    const [node] = cluster.nodes
    node?.pause()
    await cluster.stop()
    expect(isRunning(node?.pid ?? 0)).toBe(false)
  })

  it('goes on with two of three nodes', async () => {
    const cluster = await start({ brokers: 3 })
    await makeTopic(cluster)
    await produce(cluster, 'three')
    await cluster.nodes[0]?.kill()
    await produce(cluster, 'two')
    expect(await consume(cluster, 2)).toEqual(['three', 'two'])
  })

  it('keeps its data and its identity in a directory, which one cluster at a time may have', async () => {
    const dataDir = await makeDirectory()
    const first = await start({ dataDir, properties: { 'num.partitions': '3' } })
    await expect(startKafka({ dataDir })).rejects.toThrow(/in use by another cluster/)
    await makeTopic(first)
    await produce(first, 'kept')
    const identity = await clusterIdOf(first)
    await first.stop()
    const second = await start({ dataDir })
    expect(await clusterIdOf(second)).toBe(identity)
    expect(await consume(second, 1)).toEqual(['kept'])
  })

  it('reports the output of a Kafka that does not start, and leaves no process running', async () => {
    const broken = startKafka({ properties: { 'log.retention.hours': 'never' } })
    await expect(broken).rejects.toThrow(/log.retention.hours/)
    await expect(broken).rejects.toMatchObject({ code: 'PART_UNAVAILABLE' })
  })

  it('runs two clusters side by side, and stopAll ends both', async () => {
    const [one, two] = await Promise.all([start(), start()])
    expect(await clusterIdOf(one)).not.toBe(await clusterIdOf(two))
    await stopAll()
    expect([...one.nodes, ...two.nodes].map((node) => isRunning(node.pid))).toEqual([false, false])
  })

  it('ends with its parent, and leaves no temporary directory', async () => {
    const program = await startProgram('kafka')
    expect(existsSync(program.part.directory)).toBe(true)
    process.kill(program.pid, 'SIGKILL')
    await expectGone(program.part.pids)
    await expect.poll(() => existsSync(dirname(program.part.directory)), { timeout: 30_000 }).toBe(false)
  })
})

async function clusterIdOf(cluster: KafkaCluster): Promise<string> {
  const admin = connect(cluster).admin()
  await admin.connect()
  const { clusterId } = await admin.describeCluster()
  await admin.disconnect()
  return clusterId
}
