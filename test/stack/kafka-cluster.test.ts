/** A local Kafka from its jars: it keeps acknowledged records over a crash, and ends with its parent. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type KafkaCluster, startKafka } from '@agent-audit/stack'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isRunning } from '../support/is-running.ts'
import { withAdmin } from '../support/kafka-topic.ts'
import { SOON_BACK } from '../support/own-kafka.ts'
import { clusterIdOf, connect, consume, makeTopic, produce, start } from './kafka-support.ts'
import { startProgram } from './program.ts'
import { expectGone, NO_KAFKA } from './support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

/** SIGSTOP reaches the threads of a process one by one: until all are held, one may still answer. */
async function untilHeld(pid: number): Promise<void> {
  const stateOf = (thread: string): string | undefined =>
    /\) (\w)/.exec(readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8'))?.[1]
  await expect.poll(() => new Set(readdirSync(`/proc/${pid}/task`).map(stateOf))).toEqual(new Set('T'))
}

describe.skipIf(NO_KAFKA !== undefined)(`a node of startKafka ${NO_KAFKA ?? ''}`, () => {
  let cluster: KafkaCluster

  beforeAll(async () => {
    cluster = await startKafka({ properties: SOON_BACK })
  })
  afterAll(() => cluster.stop())

  it('takes and gives messages, and makes no topic by itself', async () => {
    const admin = connect(cluster).admin()
    await admin.connect()
    await expect(admin.fetchTopicMetadata({ topics: ['notes'] })).rejects.toThrow(/does not host this topic/)
    await admin.disconnect()
    await makeTopic(cluster, 'notes')
    await produce(cluster, 'notes', 'one')
    expect(await consume(cluster, 'notes', 1)).toEqual(['one'])
  })

  it('takes a message of 7 MiB', async () => {
    await makeTopic(cluster, 'large')
    await expect(produce(cluster, 'large', Buffer.alloc(7 * 1024 * 1024))).resolves.toBeUndefined()
  })

  it('keeps acknowledged records when it is killed, and restarts at the same address', async () => {
    await makeTopic(cluster, 'kept')
    await produce(cluster, 'kept', 'before')
    const [node] = cluster.nodes
    const pid = node?.pid ?? 0
    await node?.kill()
    expect(isRunning(pid)).toBe(false)
    await node?.start()
    expect(node?.pid).not.toBe(pid)
    await produce(cluster, 'kept', 'after')
    expect(await consume(cluster, 'kept', 2)).toEqual(['before', 'after'])
  })

  it('answers no request while it is held, and every request afterwards', async () => {
    const [node] = cluster.nodes
    const topics = await withAdmin(connect(cluster), (admin) => admin.listTopics())
    const admin = connect(cluster, { requestTimeout: 1000, retry: { retries: 0 } }).admin()
    await admin.connect()
    await node?.pause()
    await untilHeld(node?.pid ?? 0)
    await expect(admin.listTopics()).rejects.toThrow(/timed out/)
    await node?.resume()
    await expect.poll(async () => (await admin.listTopics()).toSorted(), { timeout: 20_000 }).toEqual(topics.toSorted())
    await admin.disconnect()
  })
})

describe.skipIf(NO_KAFKA !== undefined)(`startKafka ${NO_KAFKA ?? ''}`, () => {
  it('stops in order even while it is held', async () => {
    const cluster = await start()
    const [node] = cluster.nodes
    await node?.pause()
    await cluster.stop()
    expect(isRunning(node?.pid ?? 0)).toBe(false)
  })

  it('keeps its data and its identity in a directory, which one cluster at a time may have', async () => {
    const dataDir = join(makeTempDirectory(), 'kafka')
    const first = await start({ dataDir, properties: { 'num.partitions': '3' } })
    expect(statSync(dataDir).mode & 0o077).toBe(0)
    await expect(startKafka({ dataDir })).rejects.toThrow(/in use by another cluster/)
    await makeTopic(first, 'notes')
    await produce(first, 'notes', 'kept')
    const identity = await clusterIdOf(first)
    await first.stop()
    const second = await start({ dataDir })
    expect(await clusterIdOf(second)).toBe(identity)
    expect(await consume(second, 'notes', 1)).toEqual(['kept'])
  })

  it('reports the output of a Kafka that does not start, and leaves no process running', async () => {
    const broken = startKafka({ properties: { 'log.retention.hours': 'never' } })
    await expect(broken).rejects.toThrow(/log.retention.hours/)
    await expect(broken).rejects.toMatchObject({ code: 'PART_UNAVAILABLE' })
  })

  it('ends with its parent, and leaves no temporary directory', async () => {
    const program = await startProgram('kafka')
    expect(existsSync(program.part.directory)).toBe(true)
    process.kill(program.pid, 'SIGKILL')
    await expectGone(program.part.pids)
    await expect.poll(() => existsSync(dirname(program.part.directory)), { timeout: 30_000 }).toBe(false)
  })
})
