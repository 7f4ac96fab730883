/**
 * The containers of the rendered chart, run by Docker as their pods say: user, read-only file system, no capabilities, memory,
 * environment, arguments, and the files of the secrets.
 */
import { execFile, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { kafkaAvailability } from '@agent-audit/stack'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../analytics/support.ts'
import { sharedKafka } from '../support/shared-kafka.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { find, render, type Rendered } from './helm/rendered.ts'
import { findTool } from './helm/tools.ts'

const run = promisify(execFile)
const docker = async (...args: string[]): Promise<string> => (await run('docker', args)).stdout.trim()
const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}
const IMAGES = [`agent-audit:${version}`, `agent-audit-consumer:${version}`]
/** Three starts of a container, on a busy machine. */
const TIMEOUT_MS = 180_000
const kafka = kafkaAvailability()

const logsOf = async (id: string): Promise<string> => {
  const { stdout, stderr } = await run('docker', ['logs', id])
  return stdout + stderr
}

/** Starts the container of an object. @returns Its id; it is removed after the test. */
const start = async (object: Rendered, secrets: Record<string, string>): Promise<string> => {
  const { containers, volumes } = object.spec.template.spec
  const [{ image, args = [], env, resources }] = containers
  const directory = join(makeTempDirectory(), 'secrets')
  mkdirSync(directory)
  for (const { secret } of volumes[0].projected.sources) {
    for (const { path } of secret.items) writeFileSync(join(directory, path), `${secrets[secret.name]}\n`)
  }
  chmodSync(join(directory, '..'), 0o755)
  const options = [
    ['--network', 'host', '--read-only', '--user', '10001:10001', '--cap-drop', 'ALL'],
    ['--security-opt', 'no-new-privileges', '--memory', resources.limits.memory.replace('Mi', 'm')],
    ['--volume', `${directory}:/etc/agent-audit/secrets:ro`],
    ...env.map(({ name, value }) => ['--env', `${name}=${value}`]),
    // Pods have an address of their own; here the port may be in use.
    ['--env', 'HTTP_PORT=0'],
  ]
  const id = await docker('run', '--detach', ...options.flat(), image, ...args)
  onTestFinished(async () => void (await docker('rm', '--force', id)))
  return id
}

function missing(): string | undefined {
  if (NO_CLICKHOUSE !== undefined) return NO_CLICKHOUSE
  if (!kafka.available) return kafka.reason
  if (findTool('helm') === undefined) return "no helm: 'npm run check:helm' builds it"
  if (spawnSync('docker', ['image', 'inspect', ...IMAGES]).status === 0) return undefined
  return `no Docker engine with the images ${IMAGES.join(' and ')} (deploy/docker)`
}
const MISSING = missing()

describe.skipIf(MISSING !== undefined)(`the chart's containers ${MISSING ?? ''}`, () => {
  let tests: TestServer
  let brokers: readonly string[]
  beforeAll(async () => {
    tests = await startTestServer()
    brokers = (await sharedKafka()).brokers
  })

  it('set up, become ready, and drain within the grace of their pod', { timeout: TIMEOUT_MS }, async () => {
    const { url, username, database } = tests.server()
    const writer = tests.server('writer')
    const topic = `audit.test-${randomBytes(4).toString('hex')}`
    const values = {
      'kafka.brokers': brokers.join('\\,'),
      'kafka.topics': `{${topic}}`,
      'kafka.consumerGroup': topic,
      'clickhouse.url': url,
      'clickhouse.database': database,
      'clickhouse.user': writer.username,
      'setup.clickhouse.user': username,
      'setup.partitions': '2',
    }
    const options = Object.entries(values).flatMap(([name, value]) => ['--set', `${name}=${value}`])
    const { objects, error } = render('least.yaml', ...options)
    expect(error).toBe('')
    const secrets = { 'audit-admin': tests.server().password, 'audit-writer': writer.password }

    const setup = await start(find(objects, 'Job'), secrets)
    const code = await docker('wait', setup)
    expect([code, await logsOf(setup)]).toEqual([
      '0',
      expect.stringContaining(`registered for consumer group ${topic}`),
    ])
    expect(await logsOf(setup)).toContain('may insert and read its bookkeeping')

    const deployment = find(objects, 'Deployment')
    const consumer = await start(deployment, secrets)
    await expect.poll(() => logsOf(consumer)).toContain('"started"')
    const [, port] = /"url":"http:\/\/0\.0\.0\.0:(\d+)"/.exec(await logsOf(consumer)) ?? []
    const statusOf = async (path: string): Promise<number> => (await fetch(`http://127.0.0.1:${port}${path}`)).status
    const [{ livenessProbe, readinessProbe }] = deployment.spec.template.spec.containers
    expect(await statusOf(livenessProbe.httpGet.path)).toBe(200)
    await expect.poll(() => statusOf(readinessProbe.httpGet.path)).toBe(200)
    const { terminationGracePeriodSeconds } = deployment.spec.template.spec
    await docker('stop', '--time', String(terminationGracePeriodSeconds), consumer)
    expect(await docker('inspect', '--format', '{{.State.ExitCode}}', consumer)).toBe('0')
    expect(await logsOf(consumer)).toContain('"drained"')
  })
})
