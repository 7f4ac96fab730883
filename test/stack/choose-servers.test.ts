/** Where servers come from: named ones, containers, this machine's own. The engine here answers as Docker does, without Docker. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  chooseServers,
  clickHouseAvailability,
  imageOf,
  kafkaAvailability,
  reaperImage,
  SERVER_KINDS,
  sourceOf,
  startKafka,
} from '@agent-audit/stack'
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest'

const { platform } = process
const ALL_IMAGES = [...SERVER_KINDS.map(imageOf), reaperImage()]

beforeEach(() => {
  for (const name of ['KAFKA_BROKERS', 'CLICKHOUSE_URL', 'SCHEMA_REGISTRY_URL', 'AUDIT_SERVERS']) {
    vi.stubEnv(name, undefined)
  }
  for (const kind of SERVER_KINDS) vi.stubEnv(`AUDIT_SERVERS_${kind.toUpperCase()}`, undefined)
  vi.stubEnv('DOCKER_HOST', 'unix:///no/such/docker.sock')
})

afterEach(() => {
  vi.unstubAllEnvs()
  Object.defineProperty(process, 'platform', { value: platform })
})

/** Chooses for all servers. @returns The sources, and what a person is told. */
async function choose(): Promise<{ sources: string[]; said: string[] }> {
  const said: string[] = []
  await chooseServers(SERVER_KINDS, (line) => said.push(line))
  return { sources: SERVER_KINDS.map(sourceOf), said }
}

/** An engine with these images, named by DOCKER_HOST. @returns The requests that it got. */
async function startEngine(images: readonly string[], pull?: (response: ServerResponse) => void): Promise<string[]> {
  const requests: string[] = []
  return serve(requests, ({ url = '' }, response) => {
    requests.push(url)
    if (url.startsWith('/images/create')) return pull?.(response)
    const has = url === '/_ping' || images.some((image) => url === `/images/${image}/json`)
    response.writeHead(has ? 200 : 404).end('{}')
  })
}

function refusePull(response: ServerResponse): void {
  response.writeHead(500).end('{"message":"no such host"}')
}

async function serve(
  requests: string[],
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string[]> {
  const server = createServer(answer)
  const directory = mkdtempSync(join(tmpdir(), 'agent-audit-test-'))
  const socket = join(directory, 'docker.sock')
  server.listen(socket)
  await once(server, 'listening')
  vi.stubEnv('DOCKER_HOST', `unix://${socket}`)
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
    rmSync(directory, { recursive: true })
  })
  return requests
}

it('without an engine: no word, no containers, and in milliseconds', async () => {
  const times: number[] = []
  // The best of a few: another program may have the processor.
  for (let attempt = 0; attempt < 10; attempt++) {
    for (const kind of SERVER_KINDS) vi.stubEnv(`AUDIT_SERVERS_${kind.toUpperCase()}`, undefined)
    const began = performance.now()
    expect(await choose()).toEqual({ sources: ['local', 'local', 'local'], said: [] })
    times.push(performance.now() - began)
  }
  expect(Math.min(...times)).toBeLessThan(20)
})

it('with an engine that has the images: containers, and no word', async () => {
  await startEngine(ALL_IMAGES)
  expect(await choose()).toEqual({ sources: ['containers', 'containers', 'containers'], said: [] })
  expect([kafkaAvailability(), clickHouseAvailability()]).toEqual([{ available: true }, { available: true }])
})

it('an engine without an image is left out where this machine has a server of its own, in one line', async () => {
  const requests = await startEngine(ALL_IMAGES.filter((image) => image !== imageOf('kafka')))
  const { sources, said } = await choose()
  expect(sources).toEqual(['local', 'containers', 'containers'])
  expect(said).toEqual([
    expect.stringMatching(
      /^Docker answers at unix:.*docker.sock without the images apache\/kafka:[\d.]+: Kafka runs without/,
    ),
  ])
  expect(requests.filter((url) => url.startsWith('/images/create'))).toEqual([])
})

it('an engine without the image that removes containers is left out as a whole', async () => {
  await startEngine(SERVER_KINDS.map(imageOf))
  expect((await choose()).sources).toEqual(['local', 'local', 'local'])
})

it('an engine that does not answer is left out after a second', async () => {
  await serve([], () => {})
  const began = performance.now()
  expect(await choose()).toEqual({ sources: ['local', 'local', 'local'], said: [] })
  expect(performance.now() - began).toBeLessThan(5000)
})

it('an engine that answers with errors is left out in one line, and is an error where containers are asked for', async () => {
  await serve([], ({ url }, response) =>
    response.writeHead(url === '/_ping' ? 200 : 500).end('{"message":"disk full"}'),
  )
  const { sources, said } = await choose()
  expect(sources).toEqual(['local', 'local', 'local'])
  expect(said).toEqual([
    expect.stringMatching(/does not say whether it has .*: disk full: Kafka, .* without containers$/),
  ])
  for (const kind of SERVER_KINDS) vi.stubEnv(`AUDIT_SERVERS_${kind.toUpperCase()}`, undefined)
  vi.stubEnv('AUDIT_SERVERS', 'containers')
  await expect(choose()).rejects.toThrow(/asks for containers: Docker at .* does not say .*: disk full/)
})

it('AUDIT_SERVERS=local asks no engine', async () => {
  const requests = await startEngine(ALL_IMAGES)
  vi.stubEnv('AUDIT_SERVERS', 'local')
  expect((await choose()).sources).toEqual(['local', 'local', 'local'])
  expect(requests).toEqual([])
})

it('AUDIT_SERVERS=containers without an engine is an error', async () => {
  vi.stubEnv('AUDIT_SERVERS', 'containers')
  await expect(startKafka()).rejects.toMatchObject({
    code: 'PART_UNAVAILABLE',
    message: expect.stringMatching(/no Docker engine answers at unix:\/\/\/no\/such\/docker.sock: start Docker/),
  })
})

it('AUDIT_SERVERS=containers pulls the missing images, and an image that cannot be pulled is an error', async () => {
  vi.stubEnv('AUDIT_SERVERS', 'containers')
  const requests = await startEngine([], refusePull)
  await expect(startKafka()).rejects.toMatchObject({
    code: 'PART_UNAVAILABLE',
    message: expect.stringMatching(/has no image apache\/kafka:[\d.]+, and cannot pull it: no such host/),
  })
  expect(requests).toContain(`/images/create?fromImage=${encodeURIComponent(imageOf('kafka'))}`)
})

it('AUDIT_SERVERS=containers takes no word of a pull that failed on the way for a success', async () => {
  vi.stubEnv('AUDIT_SERVERS', 'containers')
  await startEngine([], (response) => response.end('{"status":"Pulling"}\n{"error":"unexpected EOF"}\n'))
  await expect(startKafka()).rejects.toThrow(/cannot pull it: unexpected EOF/)
})

it('another value of AUDIT_SERVERS is refused', async () => {
  vi.stubEnv('AUDIT_SERVERS', 'docker')
  await expect(startKafka()).rejects.toMatchObject({
    code: 'OPTIONS_INVALID',
    message: 'AUDIT_SERVERS "docker": expected containers or local',
  })
})

it('a machine without a server of its own pulls the image; where it cannot, tests are skipped for a reason', async () => {
  Object.defineProperty(process, 'platform', { value: 'darwin' })
  await startEngine([reaperImage(), imageOf('kafka'), imageOf('registry')], refusePull)
  const { sources, said } = await choose()
  expect(sources).toEqual(['containers', 'local', 'containers'])
  expect(said).toEqual([
    `Docker pulls the image ${imageOf('clickhouse')} ...`,
    expect.stringMatching(/^Docker at unix:.* cannot pull clickhouse\/clickhouse-server:[\d.]+: no such host$/),
  ])
  expect(clickHouseAvailability()).toEqual({
    available: false,
    reason: expect.stringMatching(/not on darwin .*; start Docker, or set CLICKHOUSE_URL/),
  })
})

it('named servers come first', async () => {
  await startEngine(ALL_IMAGES)
  vi.stubEnv('KAFKA_BROKERS', 'one:9092')
  expect((await choose()).sources).toEqual(['local', 'containers', 'containers'])
  expect(await startKafka()).toMatchObject({ brokers: ['one:9092'], attached: true })
})

it('a run chooses once: what comes later changes nothing', async () => {
  await startEngine(ALL_IMAGES)
  await choose()
  vi.stubEnv('DOCKER_HOST', 'unix:///no/such/docker.sock')
  expect((await choose()).sources).toEqual(['containers', 'containers', 'containers'])
})

it.each(SERVER_KINDS)(
  'the image of %s is that of docker-compose.yml, unless a variable names another',
  async (kind) => {
    const file = readFileSync(new URL('../../docker-compose.yml', import.meta.url), 'utf8')
    const image = imageOf(kind)
    expect(file).toMatch(new RegExp(`image: ([^\\n]*:-)?${image.replaceAll('.', '[.]')}\\}?\\n`))
    vi.stubEnv(`AUDIT_${kind.toUpperCase()}_IMAGE`, 'mirror.example/other:1')
    const requests = await startEngine([reaperImage(), 'mirror.example/other:1'])
    await chooseServers([kind], () => {})
    expect(sourceOf(kind)).toBe('containers')
    expect(requests).toContain('/images/mirror.example/other:1/json')
  },
)

it('Testcontainers is not loaded before a container starts', () => {
  const script = `
    const { chooseServers, SERVER_KINDS } = await import('@agent-audit/stack')
    await chooseServers(SERVER_KINDS)
    const { createRequire } = await import('node:module')
    console.log(JSON.stringify(Object.keys(createRequire(import.meta.url).cache)))`
  const args = ['--conditions=agent-audit-source', '--input-type=module', '--eval', script]
  const cwd = new URL('../..', import.meta.url)
  const loaded = JSON.parse(execFileSync(process.execPath, args, { cwd, encoding: 'utf8' })) as string[]
  expect(loaded.filter((file) => file.includes('/node_modules/testcontainers/'))).toEqual([])
})
