/** The settings of a Kafka connection: producer, consumer and command read the same environment, and act on it alike. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { createServer as createTlsServer, type TLSSocket } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import { runCli } from '@agent-audit/cli'
import { readSettings } from '@agent-audit/consumer'
import { composeParts } from '@agent-audit/consumer/pipeline'
import { readKafkaEnvironment } from '@agent-audit/kafka'
import { createAuditTrail } from '@agent-audit/producer'
import { openSecret } from '@agent-audit/schemas'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type Certificate, encryptKey, makeAuthority, noOpenssl } from '../support/certificates.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

type Environment = Record<string, string>

interface Role {
  readonly name: string
  /** Connects to Kafka by the environment. @returns once it has tried. */
  readonly connect: (env: Environment) => Promise<unknown>
  /** Its message about an environment that is wrong. */
  readonly refusal: (env: Environment) => Promise<string>
}

function stubEnvironment(env: Environment): void {
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  onTestFinished(() => void vi.unstubAllEnvs())
}

function openTrail(env: Environment): ReturnType<typeof createAuditTrail> {
  stubEnvironment(env)
  const silent = { handleExit: false, onProblem: () => undefined }
  const trail = createAuditTrail({ agentId: 'agent-1', durability: 'memory', ...silent })
  onTestFinished(() => trail.close({ timeoutMs: 0 }).then(() => undefined))
  return trail
}

async function drain(env: Environment): Promise<{ code: number; err: string }> {
  let err = ''
  const spoolDir = makeTempDirectory()
  // A run whose events were not sent: without it there is nothing to connect for.
  const waiting = createAuditTrail({
    agentId: 'agent-1',
    brokers: ['127.0.0.1:1'],
    spoolDir,
    onProblem: () => undefined,
  })
  await waiting.startSession().decision({ reasoning: 'waits' }).stored
  await waiting.close({ timeoutMs: 0 })
  const terminal = { out: () => undefined, err: (text: string) => (err += text), env, colors: false }
  return { code: await runCli(['spool', 'drain', spoolDir, '--timeout-ms', '2000'], terminal), err }
}

const messageOf = (error: unknown): string => (error as Error).message

const ROLES: readonly Role[] = [
  {
    name: 'producer',
    connect: (env) => Promise.resolve(openTrail(env)),
    refusal: (env) =>
      Promise.resolve()
        .then(() => openTrail(env))
        .then(() => 'no refusal', messageOf),
  },
  {
    name: 'consumer',
    connect: (env) =>
      composeParts(readSettings(env))
        .source.sourceId()
        .catch(() => undefined),
    refusal: (env) =>
      Promise.resolve()
        .then(() => readSettings(env))
        .then(() => 'no refusal', messageOf),
  },
  {
    name: 'command',
    connect: drain,
    refusal: async (env) => {
      const { code, err } = await drain(env)
      return code === 64 ? err : `exit code ${code}: ${err}`
    },
  },
]

/** A certificate that signs itself, for ::1: CA, server and client in one. */
function makeCertificate(): { cert: string; certFile: string; keyFile: string; key: string } {
  const directory = makeTempDirectory()
  const [certFile, keyFile] = [join(directory, 'cert.pem'), join(directory, 'key.pem')]
  const names = ['-subj', '/CN=kafka', '-addext', 'subjectAltName=IP:::1']
  const algorithm = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  execFileSync('openssl', ['req', '-x509', ...algorithm, ...names, '-keyout', keyFile, '-out', certFile], {
    stdio: 'ignore',
  })
  return { certFile, keyFile, cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') }
}

async function hasIpv6(): Promise<boolean> {
  const server = createServer().listen(0, '::1')
  try {
    await once(server, 'listening')
    return true
  } catch {
    return false
  } finally {
    server.close()
  }
}

const missing = [
  ...(noOpenssl === '' ? [] : ['openssl']),
  ...((await hasIpv6()) ? [] : ['an IPv6 loopback address']),
].join(' and ')
const reason = missing === '' ? '' : ` (skipped: needs ${missing})`

describe.skipIf(missing !== '').each(ROLES)(`$name${reason}`, ({ connect }) => {
  it('reaches a broker at an IPv6 address with TLS, a private CA and a client certificate', async () => {
    const { cert, certFile, keyFile, key } = makeCertificate()
    const server = createTlsServer({ cert, key, ca: cert, requestCert: true, rejectUnauthorized: true })
    const met = Promise.withResolvers<TLSSocket>()
    server.on('secureConnection', (socket) => {
      met.resolve(socket)
      socket.on('error', () => undefined).destroy()
    })
    server.on('tlsClientError', (error) => met.reject(error))
    server.listen(0, '::1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
    const connecting = connect({
      KAFKA_BROKERS: `[::1]:${port}`,
      KAFKA_SSL: 'true',
      KAFKA_SSL_CA: cert,
      KAFKA_SSL_CERT_FILE: certFile,
      KAFKA_SSL_KEY_FILE: keyFile,
    })
    expect((await met.promise).authorized).toBe(true)
    await connecting
  })
})

describe.each(ROLES)('$name', ({ refusal }) => {
  it('names every wrong variable at once, and quotes no value', async () => {
    const message = await refusal({
      KAFKA_BROKERS: 'user:hunter2@kafka:9092',
      KAFKA_SSL: 'hunter2',
      KAFKA_SSL_CA: 'hunter2',
      KAFKA_SSL_KEY_FILE: '/hunter2',
      KAFKA_SASL_MECHANISM: 'hunter2',
      KAFKA_SASL_PASSWORD: 'hunter2',
    })
    for (const wrong of [
      'KAFKA_BROKERS: expected host:port',
      'KAFKA_SSL: expected true or false',
      'KAFKA_SSL_CA: expected PEM text',
      'KAFKA_SSL_KEY_FILE: expected the path of a readable file (ENOENT)',
      'KAFKA_SSL_CERT: expected together with KAFKA_SSL_KEY',
      'KAFKA_SASL_MECHANISM: expected one of plain, scram-sha-256, scram-sha-512',
      'KAFKA_SASL_USERNAME: expected together with KAFKA_SASL_MECHANISM and KAFKA_SASL_PASSWORD',
    ]) {
      expect(message).toContain(wrong)
    }
    expect(message).not.toContain('hunter2')
  })
})

it('a password comes from a file, without the line break at its end', () => {
  const file = join(makeTempDirectory(), 'password')
  writeFileSync(file, 'hunter2\n')
  const { connection, issues } = readKafkaEnvironment(
    {
      KAFKA_BROKERS: 'one:9092, [fe80::1%eth0]:9093,',
      KAFKA_SASL_MECHANISM: 'scram-sha-512',
      KAFKA_SASL_USERNAME: 'writer',
      KAFKA_SASL_PASSWORD_FILE: file,
    },
    { clientId: 'test' },
  )
  expect(issues).toEqual([])
  expect(connection).toEqual({
    brokers: ['one:9092', '[fe80::1%eth0]:9093'],
    ssl: false,
    sasl: { mechanism: 'scram-sha-512', username: 'writer', password: { file } },
    clientId: 'test',
  })
  expect(openSecret({ file }, 'KAFKA_SASL_PASSWORD')).toBe('hunter2')
})

it.each([
  ['neither brackets nor a port', { KAFKA_BROKERS: '::1' }, 'KAFKA_BROKERS'],
  ['an address in brackets that is none', { KAFKA_BROKERS: '[kafka]:9092' }, 'KAFKA_BROKERS'],
  ['a port out of range', { KAFKA_BROKERS: 'kafka:70000' }, 'KAFKA_BROKERS'],
  ['no broker between commas', { KAFKA_BROKERS: ' , ' }, 'KAFKA_BROKERS'],
  ['a value and a file', { KAFKA_SSL_CA: '-----BEGIN ', KAFKA_SSL_CA_FILE: 'ca.pem' }, 'KAFKA_SSL_CA'],
])('refuses %s', (_, env: Environment, path) => {
  const { connection, issues } = readKafkaEnvironment({ KAFKA_BROKERS: 'kafka:9092', ...env }, { clientId: 'test' })
  expect(connection).toBeUndefined()
  expect(issues.map((issue) => issue.path)).toEqual([path])
})

function openWithTls(ssl: object): unknown {
  return createAuditTrail({ agentId: 'agent-1', brokers: ['kafka:9092'], ssl, handleExit: false })
}

describe.skipIf(noOpenssl !== '')(`certificates ${noOpenssl}`, () => {
  const authority = noOpenssl === '' ? makeAuthority() : undefined
  const certificateOf = (name: string): Certificate =>
    authority?.sign(name) ?? { cert: '', certFile: '', key: '', keyFile: '' }
  const [own, other] = [certificateOf('one'), certificateOf('other')]
  const pair = { KAFKA_SSL_CERT: own.cert, KAFKA_SSL_KEY: own.key }
  const encrypted = { ...pair, KAFKA_SSL_KEY: noOpenssl === '' ? encryptKey(own, 'hunter2') : '' }
  const damaged = own.cert.replace(/\n\S{30}/, '\nhunter2')

  it('a certificate implies TLS', () => {
    const env = { KAFKA_BROKERS: 'kafka:9092', KAFKA_SSL_CA: own.cert }
    expect(readKafkaEnvironment(env, { clientId: 'test' }).connection?.ssl).toEqual({ ca: own.cert })
  })

  it.each<[string, Environment, path: string, expected: string]>([
    ['a certificate without TLS', { KAFKA_SSL: 'false', KAFKA_SSL_CA: own.cert }, 'KAFKA_SSL', 'expected true'],
    ['a certificate without its key', { KAFKA_SSL_CERT: own.cert }, 'KAFKA_SSL_CERT', 'together with KAFKA_SSL_KEY'],
    ['a text that is no PEM', { KAFKA_SSL_CA: 'hunter2' }, 'KAFKA_SSL_CA', 'expected PEM text'],
    ['a key for a CA', { KAFKA_SSL_CA: own.key }, 'KAFKA_SSL_CA', 'expected PEM text of certificates'],
    [
      'a damaged certificate in a bundle',
      { KAFKA_SSL_CA: `${own.cert}${damaged}` },
      'KAFKA_SSL_CA',
      'expected PEM text',
    ],
    ['a certificate for a key', { ...pair, KAFKA_SSL_KEY: own.cert }, 'KAFKA_SSL_KEY', 'of a private key'],
    ['the key of another certificate', { ...pair, KAFKA_SSL_KEY: other.key }, 'KAFKA_SSL_KEY', 'not of another one'],
    ['an encrypted key without its password', encrypted, 'KAFKA_SSL_KEY_PASSWORD', 'the password of'],
    [
      'a wrong password of a key',
      { ...encrypted, KAFKA_SSL_KEY_PASSWORD: 'hunter3' },
      'KAFKA_SSL_KEY_PASSWORD',
      'the password of',
    ],
    ['a file that is not there', { KAFKA_SSL_CA_FILE: '/hunter2' }, 'KAFKA_SSL_CA_FILE', '(ENOENT)'],
    ['a file that cannot be read', { KAFKA_SSL_CA_FILE: '/' }, 'KAFKA_SSL_CA_FILE', '(EISDIR)'],
    [
      'a file that has no PEM',
      { KAFKA_SSL_CA_FILE: fileURLToPath(import.meta.url) },
      'KAFKA_SSL_CA_FILE',
      'expected PEM',
    ],
  ])('%s: each role says so in one line, and quotes no secret', (_, env, path, expected) => {
    const { connection, issues } = readKafkaEnvironment({ KAFKA_BROKERS: 'kafka:9092', ...env }, { clientId: 'test' })
    expect(connection).toBeUndefined()
    expect(issues).toEqual([{ path, expected: expect.stringContaining(expected) }])
    const error = thrownBy(() => readSettings({ KAFKA_BROKERS: 'kafka:9092', ...env }))
    expect(inspect(error)).toContain(`${path}: `)
    for (const secret of ['hunter', ...own.key.split('\n').slice(1, 3)]) expect(inspect(error)).not.toContain(secret)
  })

  it('options of a producer are checked in the same way', () => {
    const error = thrownBy(() => openWithTls({ cert: own.cert, key: other.key }))
    expect(inspect(error)).toMatch(/ssl\.key: expected the key of the certificate in ssl\.cert/)
    for (const line of other.key.split('\n').slice(1, 3)) expect(inspect(error)).not.toContain(line)
    expect(() => openWithTls({ ca: 'hunter2' })).toThrow(/ssl\.ca: expected PEM/)
    expect(() => openWithTls({ ca: { file: '/hunter2' } })).toThrow(
      /ssl\.ca\.file: expected the path of a readable file/,
    )
  })
})

function thrownBy(attempt: () => unknown): unknown {
  try {
    attempt()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

it('options of a producer come before the environment, which is then not looked at', async () => {
  stubEnvironment({ KAFKA_BROKERS: '127.0.0.1:1', KAFKA_SASL_MECHANISM: 'magic', KAFKA_SSL: 'maybe' })
  const sasl = { mechanism: 'plain', username: 'u', password: 'p' } as const
  const silent = { handleExit: false, onProblem: () => undefined, durability: 'memory' } as const
  const open = (options: object) => createAuditTrail({ agentId: 'agent-1', ...silent, ...options })
  expect(() => open({ sasl })).toThrow(/KAFKA_SSL: expected true or false$/)
  await open({ sasl, ssl: false }).close({ timeoutMs: 0 })
  await open({ brokers: ['127.0.0.1:1'] }).close({ timeoutMs: 0 })
  expect(() => createAuditTrail({ agentId: '' })).toThrow(/agentId: .*KAFKA_SSL: .*KAFKA_SASL_MECHANISM: /)
})
