/** docker-compose.yml and the files beside it: what can be held without Docker. deploy/docker-lab runs it. */
import { readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { runCli } from '@agent-audit/cli'
import { readSettings } from '@agent-audit/consumer'
import { generateKey } from '@agent-audit/seals'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'

interface Service {
  readonly image: string
  readonly profiles: readonly string[]
  readonly ports?: readonly string[]
  readonly command?: readonly string[]
  readonly environment?: Readonly<Record<string, string | number>>
  readonly volumes?: readonly string[]
  readonly mem_limit: string
  readonly restart: string
  readonly healthcheck?: { readonly test: readonly string[] }
  readonly logging: { readonly options: Readonly<Record<string, string>> }
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const read = (path: string): string => readFileSync(`${ROOT}${path}`, 'utf8')

const COMPOSE = parse(read('docker-compose.yml'), { merge: true }) as { services: Record<string, Service> }
const SERVICES = Object.entries(COMPOSE.services)
const LONG_RUNNING = SERVICES.filter(([name]) => name !== 'setup' && name !== 'checkpoints')
const CORE = ['kafka', 'clickhouse', 'setup', 'consumer']
/** The names of the variables that make a secret of their value. */
const SECRET = /PASSWORD|JAAS|SECRET|TOKEN|_KEY/

/** The text as compose reads it, where each variable without a default has its own name as its value. */
function interpolated(text: string | number): string {
  return String(text)
    .replaceAll(/\$\{(\w+):-([^}]*)\}/g, '$2')
    .replaceAll(/\$\{(\w+):\?[^}]*\}/g, '$1')
}

function environmentOf(name: string): Record<string, string> {
  const { environment = {} } = COMPOSE.services[name] ?? {}
  return Object.fromEntries(Object.entries(environment).map(([key, value]) => [key, interpolated(value)]))
}

const bytesOf = (size: string): number => Number(/^(\d+)m$/.exec(size)?.[1]) * 2 ** 20
const limitOf = (name: string): number => bytesOf(COMPOSE.services[name]?.mem_limit ?? '')
const heapOf = (name: string, variable: string): number =>
  bytesOf(/-Xmx(\d+m)/.exec(environmentOf(name)[variable] ?? '')?.[1] ?? '')

describe('docker-compose.yml', () => {
  it('starts Kafka, ClickHouse, set-up and the consumer in both profiles, all services in full, and the notary in its own', () => {
    const inCore = SERVICES.filter(([, { profiles }]) => profiles.includes('core')).map(([name]) => name)
    expect(inCore.toSorted()).toEqual(CORE.toSorted())
    const beside = SERVICES.filter(([, { profiles }]) => !profiles.includes('full'))
    expect(beside.map(([name, { profiles }]) => [name, profiles])).toEqual([
      ['notary', ['notary']],
      ['checkpoints', ['notary']],
    ])
  })

  it('binds every port to 127.0.0.1 alone, and each can be chosen', () => {
    const ports = SERVICES.flatMap(([, service]) => service.ports ?? [])
    expect(ports.length).toBeGreaterThan(0)
    expect(ports.filter((port) => !/^127\.0\.0\.1:\$\{AUDIT_[A-Z]+_PORT:-\d+\}:\d+$/.test(port))).toEqual([])
  })

  it.each(SERVICES)('pins the image of %s by its version', (_name, { image }) => {
    expect(image).toMatch(/^[\w./-]+:v?\d+\.\d+(\.\d+)?$/)
  })

  it('holds no password: each comes from .env, and compose says what to do where it is missing', () => {
    const secrets = SERVICES.flatMap(([name, { environment = {} }]) =>
      Object.entries(environment)
        .filter(([variable]) => SECRET.test(variable))
        .map(([variable, value]) => ({ where: `${name} ${variable}`, value: String(value) })),
    )
    expect(secrets.length).toBeGreaterThan(8)
    const fromEnv = /\$\{AUDIT_[A-Z]+_(?:PASSWORD|KEY):\?make \.env first with sh deploy\/compose\/env\.sh\}/
    expect(secrets.filter(({ value }) => !fromEnv.test(value))).toEqual([])
  })

  it('fits a laptop: the memory limits of the services that run together are 4 GB at most, and the heaps and caches fit their limits', () => {
    // Set-up has ended when the consumer and the detectors start.
    const limits = LONG_RUNNING.filter(([name]) => name !== 'notary').map(([, service]) => bytesOf(service.mem_limit))
    expect(limits.reduce((sum, limit) => sum + limit)).toBeLessThanOrEqual(4e9)
    expect(heapOf('kafka', 'KAFKA_HEAP_OPTS')).toBeLessThan(0.6 * limitOf('kafka'))
    expect(heapOf('registry', 'JAVA_TOOL_OPTIONS')).toBeLessThan(0.5 * limitOf('registry'))
    const server = read('deploy/compose/clickhouse/small-server.xml')
    const [, serverMemory] = /<max_server_memory_usage>(\d+)</.exec(server) ?? []
    expect(Number(serverMemory)).toBeLessThan(0.8 * limitOf('clickhouse'))
  })

  it.each(LONG_RUNNING)('%s is watched, started again, and writes a bounded log', (_name, service) => {
    expect(service.healthcheck?.test.length).toBeGreaterThan(1)
    expect(service.restart).toBe('unless-stopped')
    expect(service.logging.options).toEqual({ 'max-size': '10m', 'max-file': '3' })
  })

  it('mounts files that exist', () => {
    const files = SERVICES.flatMap(([, { volumes = [] }]) => volumes)
      .map((volume) => volume.split(':'))
      .filter(([source = '']) => /^\.\/.*\.\w+$/.test(source))
    expect(files.length).toBeGreaterThan(3)
    expect(files.filter(([source = '', , mode]) => mode !== 'ro' || !statSync(`${ROOT}${source}`).isFile())).toEqual([])
  })

  it('gives the consumer settings that it accepts, each under a name that it reads', () => {
    const environment = environmentOf('consumer')
    const settings = readSettings(environment)
    expect(settings).toMatchObject({
      kafka: { brokers: ['kafka:19092'], sasl: { mechanism: 'plain', username: 'audit' } },
      CLICKHOUSE_USER: 'audit_writer',
      CLICKHOUSE_PASSWORD: 'AUDIT_WRITER_PASSWORD',
      // Other containers scrape it.
      HTTP_HOST: '0.0.0.0',
      HTTP_PORT: 9464,
    })
    const sources = ['consumer/src/settings.ts', 'kafka/src/connection.ts'].map(read).join('\n')
    expect(Object.keys(environment).filter((name) => !sources.includes(name))).toEqual([])
  })

  it('gives the detectors a command line and settings that they accept, and Prometheus scrapes their port', async () => {
    const { command = [], environment = {}, ports = [] } = COMPOSE.services['detect'] ?? {}
    let output = ''
    const exitCode = await runCli([...command.map(interpolated), '--every', '0'], {
      out: (text) => (output += text),
      err: (text) => (output += text),
      env: {},
      colors: false,
    })
    // All else is right: only the option that the test adds is wrong.
    expect({ exitCode, output }).toEqual({
      exitCode: 64,
      output: expect.stringMatching(/^agent-audit: .*--every.*\n$/),
    })
    expect(environmentOf('detect')).toEqual({
      CLICKHOUSE_URL: 'http://clickhouse:8123',
      CLICKHOUSE_USER: 'audit_detector',
      CLICKHOUSE_PASSWORD: 'AUDIT_DETECTOR_PASSWORD',
    })
    expect(Object.keys(environment).filter((name) => !read('cli/src/connect.ts').includes(name))).toEqual([])
    const port = command[command.indexOf('--metrics-port') + 1]
    expect(ports.map((each) => each.split(':').at(-1))).toEqual([port])
    expect(read('deploy/prometheus/prometheus.yml')).toContain(`['detect:${port}']`)
  })

  it('gives the notary a command line and settings that it accepts, and its file to another owner', async () => {
    const { command = [], ports = [], volumes = [] } = COMPOSE.services['notary'] ?? {}
    const { AUDIT_SIGNING_KEY: key, ...environment } = environmentOf('notary')
    expect(key).toBe('AUDIT_NOTARY_KEY')
    let output = ''
    const run = (env: Record<string, string>): Promise<number> =>
      runCli(command.map(interpolated), {
        out: (text) => (output += text),
        err: (text) => (output += text),
        env: { ...env, CLICKHOUSE_URL: 'http://127.0.0.1:9' },
        colors: false,
        interrupted: () => AbortSignal.timeout(60_000),
      })
    // 3: everything is right, but the server is not there. Wrong use would be 64.
    expect(await run({ ...environment, AUDIT_SIGNING_KEY: generateKey('notary') })).toBe(3)
    expect(output).toContain('127.0.0.1:9')
    expect(environment).toMatchObject({ CLICKHOUSE_USER: 'audit_notary', CLICKHOUSE_PASSWORD: 'AUDIT_NOTARY_PASSWORD' })
    const port = command[command.indexOf('--metrics-port') + 1]
    expect(ports.map((each) => each.split(':').at(-1))).toEqual([port])
    expect(read('deploy/prometheus/prometheus.yml')).toContain(`['notary:${port}']`)
    const [folder] = /^\/\w+/.exec(command[command.indexOf('--file') + 1] ?? '') ?? []
    expect(volumes).toEqual([`checkpoints:${folder}`])
    expect(read('deploy/compose/checkpoints.js')).toContain(`'${folder}'`)
  })

  it('gives setup a command line and settings that it accepts', async () => {
    const environment = environmentOf('setup')
    let output = ''
    const exitCode = await runCli(COMPOSE.services['setup']?.command?.map(interpolated) ?? [], {
      out: (text) => (output += text),
      err: (text) => (output += text),
      env: { ...environment, CLICKHOUSE_URL: 'http://127.0.0.1:9' },
      colors: false,
    })
    // 3: everything is right, but the server is not there. Wrong use would be 64.
    expect({ exitCode, output }).toEqual({ exitCode: 3, output: expect.stringContaining('127.0.0.1:9') })
    const sources = ['setup.ts', '../connect.ts'].map((file) => read(`cli/src/commands/${file}`)).join('\n')
    const all = `${sources}\n${read('kafka/src/connection.ts')}`
    expect(Object.keys(environment).filter((name) => !all.includes(name))).toEqual([])
  })
})

it('system-logs.xml bounds each log that the server keeps by a time to live, or turns it off', () => {
  const file = read('deploy/clickhouse/config.d/system-logs.xml')
  /** The tables that the server's own configuration turns on, in any version up to 26.7. */
  const turnedOn = `aggregated_zookeeper asynchronous_insert asynchronous_metric background_schedule_pool backup blob_storage crash
    delta_lake_metadata error filesystem_cache filesystem_read_prefetches iceberg_metadata latency metric opentelemetry_span part
    processors_profile query query_metric query_thread query_views s3queue session text trace transactions_info zookeeper`
  const unbounded = turnedOn.split(/\s+/).filter((name) => {
    const [, attribute, content] = new RegExp(`<${name}_log(?: (remove)="1"/>|>(.*)</${name}_log>)`).exec(file) ?? []
    return !/^remove$|^<ttl>event_date \+ INTERVAL \d+ DAY DELETE<\/ttl>$/.test(attribute ?? content ?? '')
  })
  expect(unbounded).toEqual([])
})
