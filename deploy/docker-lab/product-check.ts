/**
 * The product's images on a real engine: the user that they run as, what they hold, their health, and how a consumer ends under load.
 *
 *   node --conditions=agent-audit-source deploy/docker-lab/product-check.ts --consumer IMAGE --command IMAGE --kafka IMAGE --clickhouse IMAGE
 *
 * Prints what it does, and figures as lines of name, tab, value. Exit code 0: everything held.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { connectAnalytics } from '@agent-audit/analytics'
import { freePorts } from '@agent-audit/embedded/internal'
import { createAuditTrail } from '@agent-audit/producer'
import kafkajs from 'kafkajs'
import { docker, figure, say, until } from './docker.ts'

const USERS_FILE = fileURLToPath(new URL('../clickhouse/users.d/audit.xml', import.meta.url))
const MAX_MEGABYTES_BEYOND_NODE = 120
const LOCKED = ['--read-only', '--cap-drop=ALL', '--security-opt=no-new-privileges']
/** The image's own check, asked more often. */
const FAST_HEALTH = ['--health-interval=1s', '--health-retries=2', '--health-start-period=1s']
const PASSWORD = randomBytes(12).toString('hex')

const option = { type: 'string', default: '' } as const
const { values: images } = parseArgs({
  options: { consumer: option, command: option, kafka: option, clickhouse: option },
})
const network = `audit-lab-${randomBytes(4).toString('hex')}`
const containers: string[] = []

async function start(...args: readonly string[]): Promise<string> {
  const id = await docker('run', '--detach', `--network=${network}`, ...args)
  containers.push(id)
  return id
}

async function checkContents(name: string, image: string): Promise<void> {
  say(`== ${image}: what it holds`)
  const [{ Config, Size }] = JSON.parse(await docker('image', 'inspect', image)) as [
    { Config: { User: string; Labels: Record<string, string>; Entrypoint: string[] }; Size: number },
  ]
  assert.match(Config.User, /^[1-9]\d*:[1-9]\d*$/, 'the user is a number, and not root')
  const label = (key: string): string => Config.Labels[`org.opencontainers.image.${key}`] ?? ''
  assert.match(label('revision'), /^[0-9a-f]{40}$/)
  assert.match(label('version'), /^\d+\.\d+\.\d+/)
  figure(`${name}: labels`, `version ${label('version')}, revision ${label('revision').slice(0, 12)}`)
  const inside = `const fs = require('fs'), size = (d) => fs.readdirSync(d, { withFileTypes: true }).reduce((sum, e) =>
    sum + (e.isDirectory() ? size(d + '/' + e.name) : e.isFile() ? fs.statSync(d + '/' + e.name).size : 0), 0)
    const has = (p) => fs.existsSync(p)
    let writable = true
    try { fs.writeFileSync('/app/x', '') } catch { writable = false }
    console.log(JSON.stringify({ app: size('/app'), uid: process.getuid(), writable,
      forbidden: ['/bin/sh', '/bin/bash', '/usr/bin/env', '/usr/local/bin/npm', '/app/node_modules/typescript', '/app/node_modules/vitest',
        '/app/node_modules/@chdb', '/app/node_modules/ffi-rs', '/app/.npmrc', '/run/secrets/npmrc'].filter(has) }))`
  const found = JSON.parse(await docker('run', '--rm', ...LOCKED, '--entrypoint=node', image, '-e', inside)) as {
    app: number
    uid: number
    writable: boolean
    forbidden: string[]
  }
  assert.deepEqual(found.forbidden, [])
  assert.ok(found.uid > 0 && !found.writable)
  const beyond = found.app / 1e6
  assert.ok(beyond < MAX_MEGABYTES_BEYOND_NODE, `${beyond} MB beyond Node`)
  figure(`${name}: size`, `${(Size / 1e6).toFixed(0)} MB, of it ${beyond.toFixed(1)} MB beyond Node`)
}

async function startServers(kafkaPort: number): Promise<string> {
  say('== servers')
  const kafka = {
    KAFKA_NODE_ID: '1',
    KAFKA_PROCESS_ROLES: 'broker,controller',
    KAFKA_CONTROLLER_QUORUM_VOTERS: '1@localhost:9093',
    KAFKA_LISTENERS: 'HOST://:9092,NETWORK://:19092,CONTROLLER://localhost:9093',
    KAFKA_ADVERTISED_LISTENERS: `HOST://127.0.0.1:${kafkaPort},NETWORK://kafka:19092`,
    KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: 'HOST:PLAINTEXT,NETWORK:PLAINTEXT,CONTROLLER:PLAINTEXT',
    KAFKA_INTER_BROKER_LISTENER_NAME: 'NETWORK',
    KAFKA_CONTROLLER_LISTENER_NAMES: 'CONTROLLER',
    KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: '1',
    KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: '1',
    KAFKA_TRANSACTION_STATE_LOG_MIN_ISR: '1',
    KAFKA_HEAP_OPTS: '-Xmx512m',
  }
  const environment = Object.entries(kafka).map(([key, value]) => `--env=${key}=${value}`)
  await start('--network-alias=kafka', `--publish=127.0.0.1:${kafkaPort}:9092`, ...environment, images.kafka)
  const passwords = ['ADMIN', 'WRITER', 'READER'].map((user) => `--env=AUDIT_${user}_PASSWORD=${PASSWORD}`)
  const users = `--volume=${USERS_FILE}:/etc/clickhouse-server/users.d/audit.xml:ro`
  const own = ['--network-alias=clickhouse', '--publish=127.0.0.1::8123', '--env=CLICKHOUSE_SKIP_USER_SETUP=1']
  const clickhouse = await start(...own, ...passwords, users, images.clickhouse)
  const [address] = (await docker('port', clickhouse, '8123')).split('\n')
  const url = `http://${address}`
  await until('ClickHouse answers', async () => (await fetch(`${url}/ping`)).ok)
  return url
}

function servers(user: string): string[] {
  const kafka = ['--env=KAFKA_BROKERS=kafka:19092', '--env=CLICKHOUSE_URL=http://clickhouse:8123']
  return [...kafka, `--env=CLICKHOUSE_USER=${user}`, `--env=CLICKHOUSE_PASSWORD=${PASSWORD}`]
}

function command(user: string, ...args: readonly string[]): Promise<string> {
  return docker('run', '--rm', `--network=${network}`, ...LOCKED, ...servers(user), images.command, ...args)
}

function startConsumer(...args: readonly string[]): Promise<string> {
  return start(...LOCKED, ...FAST_HEALTH, ...args, images.consumer)
}

async function hasHealth(id: string, health: string): Promise<boolean> {
  return (await docker('inspect', '--format={{.State.Health.Status}}', id)) === health
}

async function checkHealth(): Promise<void> {
  say('== health')
  const waiting = await startConsumer('--env=KAFKA_BROKERS=nowhere:9092', ...servers('audit_writer').slice(1))
  await until('a consumer that waits for Kafka is alive', () => hasHealth(waiting, 'healthy'))
  const ask = "fetch('http://127.0.0.1:9464/readyz').then(({ status }) => console.log(status))"
  assert.equal(await docker('exec', waiting, 'node', '-e', ask), '503')
  await docker('kill', '--signal=STOP', waiting)
  await until('a consumer that has stopped answering is unhealthy', () => hasHealth(waiting, 'unhealthy'))
  await docker('kill', '--signal=CONT', waiting)
  await until('and healthy when it answers again', () => hasHealth(waiting, 'healthy'))
  await docker('rm', '--force', waiting)
  say('waiting for Kafka: healthy, /readyz 503; not answering: unhealthy')
}

async function checkHandover(url: string, kafkaPort: number): Promise<void> {
  say('== the consumer ends under load')
  const spoolDir = mkdtempSync(join(tmpdir(), 'audit-lab-'))
  const trail = createAuditTrail({ agentId: 'lab', brokers: [`127.0.0.1:${kafkaPort}`], spoolDir, onProblem: () => {} })
  const session = trail.startSession({ user_message: 'load' })
  const load = setInterval(() => session.decision({ reasoning: 'as before' }), 2)
  const reader = connectAnalytics({ url, username: 'audit_reader', password: PASSWORD })
  const rowsNow = async (): Promise<number> => {
    const rows = await reader.rows<{ n: string }>('SELECT count() AS n FROM {database:Identifier}.audit_events', {})
    return Number(rows[0]?.n ?? 0)
  }
  try {
    let owner = await startConsumer(...servers('audit_writer'))
    for (const signal of ['SIGTERM', 'SIGKILL']) {
      const before = await rowsNow().catch(() => 0)
      await until('events flow', async () => (await rowsNow()) > before + 1000)
      await docker(...(signal === 'SIGTERM' ? ['stop', '--time=30'] : ['kill']), owner)
      const code = await docker('inspect', '--format={{.State.ExitCode}}', owner)
      if (signal === 'SIGTERM') assert.equal(code, '0', await docker('logs', owner))
      await expectLeft(signal, kafkaPort)
      const stored = await rowsNow()
      owner = await startConsumer(...servers('audit_writer'))
      await until('the next owner stores', async () => (await rowsNow()) > stored)
      const seconds = (Date.now() - (await startOf(owner))) / 1000
      figure(`first event stored by the next owner after ${signal}`, `${seconds.toFixed(1)} s`)
    }
  } finally {
    clearInterval(load)
    await reader.close()
    await trail.close({ timeoutMs: 60_000 })
    rmSync(spoolDir, { recursive: true })
  }
  await until('every event is in the table', () => verify().then(() => true))
  say((await verify()).split('\n').slice(-3).join('\n'))
}

/** After SIGTERM the group is empty, and every partition is clean: the next owner waits neither for a session nor for a lease. */
async function expectLeft(signal: string, kafkaPort: number): Promise<void> {
  const admin = new kafkajs.Kafka({ brokers: [`127.0.0.1:${kafkaPort}`], logLevel: kafkajs.logLevel.NOTHING }).admin()
  await admin.connect()
  try {
    const { groups } = await admin.describeGroups(['audit-writer'])
    const [offsets] = await admin.fetchOffsets({ groupId: 'audit-writer', topics: ['audit.events'] })
    const busy = offsets?.partitions.filter(({ metadata }) => metadata !== 'clean').length
    figure(`partitions not clean after ${signal}`, `${busy}, group ${groups[0]?.state}`)
    assert.equal(busy === 0 && groups[0]?.state === 'Empty', signal === 'SIGTERM')
  } finally {
    await admin.disconnect()
  }
}

/** When the consumer's process was up, of which its log tells: the start of a container is the engine's time. */
async function startOf(id: string): Promise<number> {
  return Number(/"time":(\d+),.*"msg":"started"/.exec(await docker('logs', id))?.[1])
}

function verify(): Promise<string> {
  return command('audit_reader', 'verify', '--completeness')
}

async function checkSignalled(): Promise<void> {
  say('== the command is the first process of its container')
  // A timer keeps the process running after its work.
  const lasting = '--env=NODE_OPTIONS=--import=data:text/javascript,setInterval(()=>{},1e3)'
  const id = await start(...LOCKED, lasting, images.command, '--help')
  await until('it has run', async () => (await docker('logs', id)).includes('Usage'))
  const begun = performance.now()
  await docker('stop', '--time=60', id)
  const seconds = (performance.now() - begun) / 1000
  assert.equal(await docker('inspect', '--format={{.State.ExitCode}}', id), '143')
  figure('the command ends after SIGTERM within', `${seconds.toFixed(1)} s`)
}

await docker('network', 'create', network)
try {
  await checkContents('consumer image', images.consumer)
  await checkContents('command image', images.command)
  const [kafkaPort = 0] = await freePorts(1)
  const url = await startServers(kafkaPort)
  await until('setup', () => command('admin', 'setup').then(() => true))
  await checkHealth()
  await checkSignalled()
  await checkHandover(url, kafkaPort)
  say('product images: everything held')
} finally {
  if (containers.length > 0) await docker('rm', '--force', '--volumes', ...containers)
  await docker('network', 'rm', network)
}
