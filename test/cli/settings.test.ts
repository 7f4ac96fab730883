/** Wrong settings of the consumer and the command, as their processes report them: one line each, and never a password. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connectAnalytics } from '@agent-audit/analytics'
import { readSettings } from '@agent-audit/consumer'
import { createAuditTrail } from '@agent-audit/producer'
import { createSchemaRegistry } from '@agent-audit/schemas'
import { afterAll, expect, it, onTestFinished } from 'vitest'
import { makeAuthority } from '../support/certificates.ts'

const COMMAND = fileURLToPath(new URL('../../cli/bin/agent-audit.js', import.meta.url))
const CONSUMER = fileURLToPath(new URL('../../consumer/src/main.ts', import.meta.url))
const WRONG_USE = 64
const SECRET = 'S3cretPw'
const WITH_SECRET = [
  `http://audit_writer:${SECRET}@host:8123/`,
  `http:audit_writer:${SECRET}@host`,
  `http://${SECRET}@host`,
]
const WRONG_URLS = [
  ...WITH_SECRET,
  'http://h/?x=1',
  'http://h/#x',
  'file:///etc/passwd',
  'javascript:1',
  'host:8123',
  'no url',
]
const directory = mkdtempSync(join(tmpdir(), 'agent-audit-settings-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))
const LOG = { AUDIT_DATA_DIR: join(directory, 'data') }

async function run(script: string, args: readonly string[], variables: Record<string, string>) {
  const env = { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'], ...variables }
  const node = ['--conditions=agent-audit-source', script, ...args]
  const child = spawn(process.execPath, node, { cwd: directory, env, stdio: ['ignore', 'pipe', 'pipe'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  let [out, err] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
  await once(child, 'close')
  return { code: child.exitCode, out, err }
}

function settingsError(environment: Record<string, string>): string {
  try {
    readSettings({ ...LOG, ...environment })
  } catch (error) {
    return (error as Error).message
  }
  return ''
}

it.each(WRONG_URLS)('the URL %s is refused by the name of its setting, and is not quoted', (url) => {
  for (const name of ['CLICKHOUSE_URL', 'SCHEMA_REGISTRY_URL']) {
    const message = settingsError({ [name]: url })
    expect(message).toMatch(new RegExp(`^wrong settings:\n  ${name}: expected a URL [^\n]+$`))
    expect(message).not.toContain(SECRET)
  }
  const others = [
    () => connectAnalytics({ url, username: 'u', password: '' }),
    () => createSchemaRegistry({ url }),
    () => createAuditTrail({ agentId: 'a', dataDir: LOG.AUDIT_DATA_DIR, schemaRegistryUrl: url }),
  ]
  for (const other of others) {
    const message = expect.stringMatching(/^(?!.*S3cretPw).*expected a URL /s)
    expect(other).toThrow(expect.objectContaining({ code: 'OPTIONS_INVALID', message }))
  }
})

it('certificates beside an http URL are refused: the connection would not have them', async () => {
  const { cert: ca, certFile } = makeAuthority()
  const url = 'http://h:8123'
  const fault = 'expected https:// beside certificates'
  const variables = { CLICKHOUSE_URL: url, CLICKHOUSE_SSL_CA: ca, SCHEMA_REGISTRY_URL: url, SCHEMA_REGISTRY_SSL_CA: ca }
  expect(settingsError(variables)).toBe(`wrong settings:\n  CLICKHOUSE_URL: ${fault}\n  SCHEMA_REGISTRY_URL: ${fault}`)
  const ssl = { ca: { file: certFile } }
  const registry = { schemaRegistryUrl: url, schemaRegistryAccess: { ssl } }
  const others = [
    () => connectAnalytics({ url, username: 'u', password: '', ssl }),
    () => createSchemaRegistry({ url, ssl }),
    () => createAuditTrail({ agentId: 'a', dataDir: LOG.AUDIT_DATA_DIR, ...registry }),
  ]
  for (const other of others) {
    expect(other).toThrow(expect.objectContaining({ code: 'OPTIONS_INVALID', message: expect.stringContaining(fault) }))
  }
  const { code, err } = await run(COMMAND, ['sessions'], { CLICKHOUSE_URL: url, CLICKHOUSE_SSL_CA: ca })
  expect([code, err]).toEqual([WRONG_USE, `agent-audit: CLICKHOUSE_URL: ${fault}\n`])
})

it('a password in a URL is in no output of the consumer and of any command', async () => {
  const [url = ''] = WITH_SECRET
  const position = '0123456789abcdef/0/1'
  const ran = await Promise.all([
    run(CONSUMER, [], { ...LOG, CLICKHOUSE_URL: url, HTTP_PORT: '0' }),
    ...[['trail', 's'], ['sessions'], ['agents'], ['verify', '--completeness'], ['setup']].map((args) =>
      run(COMMAND, args, { CLICKHOUSE_URL: url }),
    ),
    run(COMMAND, ['dead-letters', 'show', position], { CLICKHOUSE_URL: url }),
  ])
  for (const { code, out, err } of ran) {
    expect([code, out]).toEqual([WRONG_USE, ''])
    expect(err).toContain('CLICKHOUSE_URL: expected a URL without user and password')
    expect(err).not.toContain(SECRET)
  }
})

it('errors name host and port of ClickHouse alone: its path may be a secret as well', async () => {
  const url = `http://127.0.0.1:1/${SECRET}`
  const { code, err } = await run(COMMAND, ['sessions'], { CLICKHOUSE_URL: url })
  expect([code, err]).toEqual([
    3,
    expect.stringMatching(/^agent-audit: ClickHouse at 127\.0\.0\.1:1 cannot be reached[^\n]*\n$/),
  ])
})

it('the log of the consumer and /readyz name host and port of ClickHouse alone', async () => {
  const url = `http://127.0.0.1:1/${SECRET}`
  const env = { PATH: process.env['PATH'], ...LOG, HTTP_PORT: '0', CLICKHOUSE_URL: url }
  const child = spawn(process.execPath, ['--conditions=agent-audit-source', CONSUMER], { cwd: directory, env })
  onTestFinished(() => void child.kill('SIGKILL'))
  let log = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (log += text))
  await expect.poll(() => log, { timeout: 30_000 }).toContain('cannot be reached')
  const { url: http = '' } = JSON.parse(log.split('\n').find((line) => line.includes('"started"')) ?? '{}') as {
    url?: string
  }
  const ready = await (await fetch(`${http}/readyz`)).text()
  expect(ready).toContain('ClickHouse at 127.0.0.1:1 ')
  for (const said of [log, ready, await (await fetch(`${http}/metrics`)).text()]) expect(said).not.toContain(SECRET)
})

it('an address of HTTP that is in use, or is not known here, is one line, and wrong use', async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  onTestFinished(() => void taken.close())
  const port = String((taken.address() as AddressInfo).port)
  const [used, unknown] = await Promise.all([
    run(CONSUMER, [], { ...LOG, HTTP_PORT: port }),
    run(CONSUMER, [], { ...LOG, HTTP_PORT: '0', HTTP_HOST: 'no-such-host.invalid' }),
  ])
  expect([used.code, used.err]).toEqual([
    WRONG_USE,
    `HTTP_HOST, HTTP_PORT: cannot listen at 127.0.0.1:${port}: EADDRINUSE\n`,
  ])
  const err = expect.stringMatching(/^HTTP_HOST, HTTP_PORT: cannot listen at no-such-host\.invalid:0: E[A-Z_]+\n$/)
  expect([unknown.code, unknown.err]).toEqual([WRONG_USE, err])
})

it.each([
  [{ AUDIT_TOPICS: 'a,b,a' }, 'AUDIT_TOPICS: expected each topic once'],
  [{ HTTP_PORT: '1e3' }, 'HTTP_PORT: expected a whole number from 0 to 65535'],
  [{ BATCH_MAX_BYTES: '0x5000' }, 'BATCH_MAX_BYTES: expected a whole number from 1024 to 268435456'],
  [{ LEASE_MS: ' 20000' }, 'LEASE_MS: expected a whole number from 200 to 1200000'],
  [{ LEASE_MS: '20000.5' }, 'LEASE_MS: expected a whole number from 200 to 1200000'],
  [
    { KAFKA_BROKERS: 'kafka:9092', KAFKA_SASL_PASSWORD: SECRET },
    'KAFKA_SASL_MECHANISM: expected together with KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD\n  KAFKA_SASL_USERNAME: expected together with KAFKA_SASL_MECHANISM and KAFKA_SASL_PASSWORD',
  ],
])('%j is refused', (environment, message) => {
  expect(settingsError(environment)).toBe(`wrong settings:\n  ${message}`)
})

it('a broker has an IPv6 address in brackets, and ClickHouse may have a path', () => {
  const settings = readSettings({ KAFKA_BROKERS: '[::1]:9092', CLICKHOUSE_URL: 'http://[::1]:8123/a/path/' })
  expect(settings).toMatchObject({ kafka: { brokers: ['[::1]:9092'] }, CLICKHOUSE_URL: 'http://[::1]:8123/a/path/' })
})
