/** Servers in containers: what tests rely on, and that nothing of them stays, however their process ends. */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type ClickHouseServer,
  type KafkaCluster,
  SERVER_KINDS,
  sourceOf,
  startClickHouse,
  startKafka,
  startSchemaRegistry,
  type UserSpec,
} from '@agent-audit/stack'
import { getContainerRuntimeClient } from 'testcontainers'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { withAdmin } from '../support/kafka-topic.ts'
import { SOON_BACK } from '../support/own-kafka.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { ask } from './ask.ts'
import { clusterIdOf, connect, consume, makeTopic, produce, start } from './kafka-support.ts'
import { startProgram } from './program.ts'

const NO_CONTAINERS = SERVER_KINDS.every((kind) => sourceOf(kind) === 'containers')
  ? ''
  : '(skipped: needs a Docker engine with the images; npm run test:containers gets them)'
const SESSION = 'org.testcontainers.session-id'
const SOON = { timeout: 60_000, interval: 100 }
const WRITER = { name: 'writer', grants: ['GRANT INSERT ON audit.notes'] } as const satisfies UserSpec

interface Found {
  readonly Labels: Readonly<Record<string, string>>
  readonly Ports: readonly { readonly PublicPort?: number; readonly IP?: string }[]
}

/** All containers of the engine, ended ones among them. */
async function containers(): Promise<Found[]> {
  const { container } = await getContainerRuntimeClient()
  return container.dockerode.listContainers({ all: true })
}

/** The containers of the process whose server has this address, its Ryuk among them. */
async function startedWith(address: string): Promise<{ at: Found; session: string; all: () => Promise<Found[]> }> {
  const port = Number(address.split(':')[1])
  const at = (await containers()).find(({ Ports }) => Ports.some(({ PublicPort }) => PublicPort === port))
  const session = at?.Labels[SESSION]
  if (at === undefined || session === undefined) throw new Error(`no container at ${address}`)
  return { at, session, all: async () => (await containers()).filter(({ Labels }) => Labels[SESSION] === session) }
}

function isOpen(address: string): Promise<boolean> {
  const [host = '', port] = address.split(':')
  const socket = createConnection({ host, port: Number(port) })
  return new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
  }).finally(() => socket.destroy())
}

describe.skipIf(NO_CONTAINERS !== '')(`Kafka in containers ${NO_CONTAINERS}`, () => {
  let cluster: KafkaCluster

  beforeAll(async () => {
    cluster = await startKafka({ properties: { ...SOON_BACK, 'num.partitions': '3' } })
  })
  afterAll(() => cluster.stop())

  it('takes settings, and makes no topic by itself', async () => {
    await withAdmin(connect(cluster), async (admin) => {
      await expect(admin.fetchTopicMetadata({ topics: ['notes'] })).rejects.toThrow(/does not host this topic/)
      await admin.createTopics({ topics: [{ topic: 'three', numPartitions: -1, replicationFactor: -1 }] })
      const { topics } = await admin.fetchTopicMetadata({ topics: ['three'] })
      expect(topics[0]?.partitions).toHaveLength(3)
    })
  })

  it('listens on loopback alone', async () => {
    const { at } = await startedWith(cluster.brokers[0] ?? '')
    expect(at.Ports.flatMap(({ IP }) => (IP === undefined ? [] : [IP]))).toEqual(['127.0.0.1'])
  })

  it('keeps acknowledged records when it is killed, and restarts at the same address', async () => {
    const [node] = cluster.nodes
    await makeTopic(cluster, 'kept')
    await produce(cluster, 'kept', 'before')
    await node?.kill()
    expect(await isOpen(node?.address ?? '')).toBe(false)
    await node?.start()
    await produce(cluster, 'kept', 'after')
    expect(await consume(cluster, 'kept', 2)).toEqual(['before', 'after'])
  })

  it('answers no request while it is held, and every request afterwards', async () => {
    const [node] = cluster.nodes
    const admin = connect(cluster, { requestTimeout: 1000, retry: { retries: 0 } }).admin()
    await admin.connect()
    await node?.pause()
    await expect(admin.listTopics()).rejects.toThrow(/timed out/)
    await node?.resume()
    await expect.poll(() => admin.listTopics(), SOON).toContain('kept')
    await admin.disconnect()
  })

  it('goes on with two of three nodes, each behind an address of its own', { timeout: 180_000 }, async () => {
    const listening: string[] = []
    const three = await start({
      brokers: 3,
      properties: SOON_BACK,
      advertise: (address) => {
        listening.push(address)
        return Promise.resolve(address.replace('127.0.0.1', 'localhost'))
      },
    })
    expect(three.brokers).toEqual(listening.map((address) => address.replace('127.0.0.1', 'localhost')))
    await makeTopic(three, 'notes')
    await produce(three, 'notes', 'three')
    await three.nodes[0]?.kill()
    await produce(three, 'notes', 'two')
    expect(await consume(three, 'notes', 2)).toEqual(['three', 'two'])
  })

  it('keeps its data and its identity with a directory, and drops them with it', { timeout: 180_000 }, async () => {
    const parent = mkdtempSync(join(tmpdir(), 'agent-audit-test-'))
    onTestFinished(() => rmSync(parent, { recursive: true, force: true }))
    const dataDir = join(parent, 'kafka')
    const first = await start({ dataDir })
    await expect(startKafka({ dataDir })).rejects.toThrow(/in use by another cluster/)
    await makeTopic(first, 'notes')
    await produce(first, 'notes', 'kept')
    const identity = await clusterIdOf(first)
    await first.stop()
    const second = await start({ dataDir })
    expect(await clusterIdOf(second)).toBe(identity)
    expect(await consume(second, 'notes', 1)).toEqual(['kept'])
    await second.stop()
    vi.stubEnv('AUDIT_SERVERS_KAFKA', 'local')
    onTestFinished(() => void vi.unstubAllEnvs())
    await expect(startKafka({ dataDir })).rejects.toThrow(/has its data in a Docker volume: start Docker/)
    vi.unstubAllEnvs()
    expect(await volumesOf(dataDir)).toHaveLength(1)
    rmSync(parent, { recursive: true })
    await start({ dataDir: join(makeTempDirectory(), 'kafka') })
    expect(await volumesOf(dataDir)).toEqual([])
  })

  it('reports the output of a Kafka that does not start, and leaves no container', async () => {
    const { all } = await startedWith(cluster.brokers[0] ?? '')
    const before = (await all()).length
    const broken = startKafka({ properties: { 'log.retention.hours': 'never' } })
    await expect(broken).rejects.toThrow(/in a container ended at its start:\n[^]*log.retention.hours/)
    await expect(broken).rejects.toMatchObject({ code: 'PART_UNAVAILABLE' })
    expect(await all()).toHaveLength(before)
  })
})

async function volumesOf(directory: string): Promise<string[]> {
  const { container } = await getContainerRuntimeClient()
  const { Volumes } = await container.dockerode.listVolumes()
  return Volumes.filter(({ Labels }) => Labels?.['agent-audit.directory'] === directory).map(({ Name }) => Name)
}

async function startContained(dataDir?: string): Promise<ClickHouseServer<'writer'>> {
  // Else a directory's server is the embedded one, where that can run.
  vi.stubEnv('AUDIT_SERVERS', 'containers')
  onTestFinished(() => void vi.unstubAllEnvs())
  const server = await startClickHouse({ dataDir, users: [WRITER] })
  onTestFinished(() => server.stop())
  return server
}

async function makeNotes({ url, credentials }: ClickHouseServer): Promise<void> {
  await ask(url, credentials.admin, 'CREATE DATABASE audit')
  await ask(url, credentials.admin, 'CREATE TABLE audit.notes (n UInt32) ENGINE = MergeTree ORDER BY n')
}

describe.skipIf(NO_CONTAINERS !== '')(`ClickHouse in a container ${NO_CONTAINERS}`, () => {
  it('gives a user the rights it was given and no others, and one without a password none', async () => {
    const server = await startContained()
    await makeNotes(server)
    const { url, credentials } = server
    expect(await ask(url, credentials.writer, 'INSERT INTO audit.notes VALUES (1)')).toBe('')
    for (const statement of ['SELECT * FROM audit.notes', 'TRUNCATE TABLE audit.notes', 'DROP TABLE audit.notes']) {
      expect(await ask(url, credentials.writer, statement)).toContain('ACCESS_DENIED')
    }
    for (const username of ['default', 'admin', 'writer']) {
      expect(await ask(url, { username, password: '' }, 'SELECT n FROM audit.notes')).toMatch(/DB::Exception/)
    }
    expect(await ask(url, credentials.admin, 'SELECT n FROM audit.notes')).toBe('1')
  })

  it('gives a user its settings', async () => {
    const users = [
      { name: 'reader', grants: [], settings: { max_threads: '1' }, constSettings: ['max_threads'] },
    ] as const
    await using server = await startClickHouse({ users })
    const { reader } = server.credentials
    expect(await ask(server.url, reader, "SELECT getSetting('max_threads')")).toBe('1')
    expect(await ask(server.url, reader, 'SELECT 1 SETTINGS max_threads = 2')).toContain('max_threads')
  })

  it('keeps data, passwords and address with a directory, over a stop and over a crash', async () => {
    const dataDir = makeTempDirectory()
    const first = await startContained(dataDir)
    await makeNotes(first)
    await ask(first.url, first.credentials.writer, 'INSERT INTO audit.notes VALUES (1)')
    await expect(startContained(dataDir)).rejects.toThrow(/in use by another process/)
    await first.stop()
    const second = await startContained(dataDir)
    expect([second.url, second.credentials]).toEqual([first.url, first.credentials])
    await ask(second.url, second.credentials.writer, 'INSERT INTO audit.notes VALUES (2)')
    await second.kill()
    expect(await isOpen(new URL(second.url).host)).toBe(false)
    const third = await startContained(dataDir)
    expect(third.url).toBe(second.url)
    await second.stop()
    const notes = 'SELECT groupArray(n) FROM (SELECT n FROM audit.notes ORDER BY n)'
    expect(await ask(third.url, third.credentials.admin, notes)).toBe('[1,2]')
    expect(statSync(join(dataDir, 'clickhouse', 'container.json')).mode & 0o077).toBe(0)
  })

  it('reports the output of a server that does not start', async () => {
    const broken = startClickHouse({ users: [{ name: 'writer', grants: [], settings: { no_such_setting: '1' } }] })
    await expect(broken).rejects.toThrow(/no_such_setting/)
    await expect(broken).rejects.toMatchObject({ code: 'PART_UNAVAILABLE' })
  })
})

it.skipIf(NO_CONTAINERS !== '')(`a registry in a container takes a schema ${NO_CONTAINERS}`, async () => {
  await using registry = await startSchemaRegistry()
  const response = await fetch(`${registry.url}/subjects/notes/versions`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: JSON.stringify({ schema: '"string"' }),
  })
  expect(await response.json()).toEqual({ id: expect.any(Number) })
})

describe.skipIf(NO_CONTAINERS !== '')(`containers of a process ${NO_CONTAINERS}`, { timeout: 180_000 }, () => {
  it.each(['SIGKILL', 'SIGINT'] as const)('are gone after its %s', async (signal) => {
    const { pid, part } = await startProgram('clickhouse')
    const { all } = await startedWith(part.address)
    expect(await all()).toHaveLength(2)
    process.kill(pid, signal)
    await expect.poll(all, SOON).toEqual([])
  })

  it('stay when another process of the machine ends', async () => {
    const [one, other] = await Promise.all([startProgram('kafka'), startProgram('kafka')])
    expect(one.part.address).not.toBe(other.part.address)
    const first = await startedWith(one.part.address)
    const second = await startedWith(other.part.address)
    expect(first.session).not.toBe(second.session)
    process.kill(one.pid, 'SIGKILL')
    await expect.poll(first.all, SOON).toEqual([])
    expect(await second.all()).toHaveLength(2)
    expect(await isOpen(other.part.address)).toBe(true)
  })
})
