/** Secured listeners of a real broker: what connects, and that each fault is one line which names the setting and no secret. */
import { copyFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { readSettings } from '@agent-audit/consumer'
import { composeParts } from '@agent-audit/consumer/pipeline'
import { ensureTopic } from '@agent-audit/kafka/topics'
import { type AuditTrail, createAuditTrail, type TrailError } from '@agent-audit/producer'
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { environmentOf, openEmbedded, openStore } from '../consumer/support.ts'
import { type Certificate, encryptKey, makeAuthority } from '../support/certificates.ts'
import { startConsumerProcess } from '../support/consumer-process.ts'
import { PLAIN_USER, type SecuredKafka, startSecuredKafka, whyNoSecuredKafka } from '../support/secured-kafka.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

type Environment = Record<string, string>
/** A connection that failed; undefined: it did not. */
type Failure = TrailError | undefined

const missing = whyNoSecuredKafka()
const WAIT = { timeout: 30_000, interval: 50 }
const WRONG = 'wr0ng-s3cret'
const RIGHT = 'r1ght-s3cret'
const SCRAM = [
  ['scram-sha-256', 'alice'],
  ['scram-sha-512', 'bob'],
] as const

let kafka: SecuredKafka
let topic: string
let ca: Environment
let client: Certificate

const pair = ({ cert, key }: Certificate): Environment => ({ KAFKA_SSL_CERT: cert, KAFKA_SSL_KEY: key })
const sasl = (mechanism: string, username: string, password: string): Environment => ({
  ...ca,
  ...pair(client),
  KAFKA_SASL_MECHANISM: mechanism,
  KAFKA_SASL_USERNAME: username,
  KAFKA_SASL_PASSWORD: password,
})

function openTrail(env: Environment, onProblem: (problem: TrailError) => void): AuditTrail {
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  const spoolDir = makeTempDirectory()
  const trail = createAuditTrail({ agentId: 'agent-1', topic, spoolDir, handleExit: false, onProblem })
  vi.unstubAllEnvs()
  onTestFinished(async () => void (await trail.close({ timeoutMs: 0 })))
  return trail
}

const ROLES: readonly [role: string, connect: (env: Environment) => Promise<Failure>][] = [
  [
    'the consumer',
    (env) =>
      composeParts(readSettings(env))
        .source.sourceId()
        .then(
          () => undefined,
          (error: TrailError) => error,
        ),
  ],
  [
    'the producer',
    async (env) => {
      const failed = Promise.withResolvers<TrailError>()
      const trail = openTrail(env, failed.resolve)
      const receipt = trail.startSession().decision({ reasoning: 'because' })
      const failure = await Promise.race([receipt.acked.then(() => undefined), failed.promise])
      // What could not be sent is on disk, and counts as stored.
      await receipt.stored
      if (failure !== undefined) expect(trail.stats()).toMatchObject({ connected: false, refused: 0 })
      return failure
    },
  ],
]

describe.skipIf(missing !== '')(`a secured Kafka${missing}`, () => {
  let foreign: Certificate
  let foreignCa: string

  beforeAll(async () => {
    kafka = await startSecuredKafka()
    for (const [mechanism, username] of SCRAM) await kafka.setScramUser({ mechanism, username, password: RIGHT })
    topic = 'audit.secured'
    const open = { brokers: [kafka.open], ssl: false, sasl: undefined, clientId: 'test' }
    await ensureTopic(open, { topic, partitions: 1, retentionMs: -1, maxMessageBytes: 1_000_000 })
    ca = { KAFKA_SSL_CA_FILE: kafka.authority.certFile }
    client = kafka.authority.sign('client')
    const other = makeAuthority('another CA')
    foreign = other.sign('client')
    foreignCa = other.cert
  }, 120_000)

  describe.each(ROLES)('%s', (_, connect) => {
    it.each<[string, () => [brokers: string, env: Environment]]>([
      ['TLS with a private CA', () => [kafka.at('TLS'), ca]],
      ['a client certificate', () => [kafka.at('MUTUAL'), { ...ca, ...pair(client) }]],
      [
        'a client certificate whose key has a password',
        () => {
          const key = { KAFKA_SSL_KEY: encryptKey(client, RIGHT), KAFKA_SSL_KEY_PASSWORD: RIGHT }
          return [kafka.at('MUTUAL'), { ...ca, ...pair(client), ...key }]
        },
      ],
      ['SASL PLAIN', () => [kafka.at('SASL'), sasl('plain', PLAIN_USER.username, PLAIN_USER.password)]],
      ...SCRAM.map(([mechanism, username]): [string, () => [string, Environment]] => [
        `SASL ${mechanism}`,
        () => [kafka.at('SASL'), sasl(mechanism, username, RIGHT)],
      ]),
    ])('connects with %s', async (_case, of) => {
      const [brokers, env] = of()
      expect(await connect({ KAFKA_BROKERS: brokers, ...env })).toBeUndefined()
    })

    it.each<[string, () => [brokers: string, env: Environment], code: string, text: RegExp]>([
      ['an unknown CA', () => [kafka.at('TLS'), { KAFKA_SSL: 'true' }], 'TLS_REFUSED', /no trusted CA.*KAFKA_SSL_CA/],
      [
        'another CA',
        () => [kafka.at('TLS'), { KAFKA_SSL_CA: foreignCa }],
        'TLS_REFUSED',
        /no trusted CA.*KAFKA_SSL_CA/,
      ],
      ['an expired certificate', () => [kafka.at('EXPIRED'), ca], 'TLS_REFUSED', /out of date \(CERT_HAS_EXPIRED\)/],
      ['another host name', () => [kafka.at('OTHERHOST'), ca], 'TLS_REFUSED', /elsewhere\.example\): KAFKA_BROKERS/],
      ['no client certificate', () => [kafka.at('MUTUAL'), ca], 'TLS_REFUSED', /bad certificate\): KAFKA_SSL_CERT/],
      [
        'a client certificate of another CA',
        () => [kafka.at('MUTUAL'), { ...ca, ...pair(foreign) }],
        'TLS_REFUSED',
        /certificate unknown\): KAFKA_SSL_CERT/,
      ],
      [
        'an expired client certificate',
        () => [kafka.at('MUTUAL'), { ...ca, ...pair(kafka.authority.sign('client', { days: -1 })) }],
        'TLS_REFUSED',
        /certificate unknown\): KAFKA_SSL_CERT/,
      ],
      [
        'a wrong password of SASL PLAIN',
        () => [kafka.at('SASL'), sasl('plain', PLAIN_USER.username, WRONG)],
        'ACCESS_DENIED',
        /refuses user "plain-user".*KAFKA_SASL_PASSWORD/,
      ],
      ...SCRAM.map(([mechanism, username]): [string, () => [string, Environment], string, RegExp] => [
        `a wrong password of SASL ${mechanism}`,
        () => [kafka.at('SASL'), sasl(mechanism, username, WRONG)],
        'ACCESS_DENIED',
        new RegExp(`refuses user "${username}".*KAFKA_SASL_PASSWORD`),
      ]),
      [
        'SASL where the listener has none',
        () => [kafka.at('MUTUAL'), sasl('plain', PLAIN_USER.username, WRONG)],
        'ACCESS_DENIED',
        /KAFKA_SASL_MECHANISM/,
      ],
      [
        'no SASL',
        () => [kafka.at('SASL'), { ...ca, ...pair(client) }],
        'BROKER_UNAVAILABLE',
        /check.*KAFKA_SASL_MECHANISM/,
      ],
      [
        'no TLS to a port with TLS',
        () => [kafka.at('TLS'), {}],
        'BROKER_UNAVAILABLE',
        /closed the connection.*KAFKA_SSL/,
      ],
      ['TLS to a port without', () => [kafka.open, ca], 'BROKER_UNAVAILABLE', /closed the connection.*KAFKA_SSL/],
    ])('says what is wrong: %s', async (_case, of, code, text) => {
      const [brokers, env] = of()
      const failure = await connect({ KAFKA_BROKERS: brokers, ...env })
      expect([failure?.code, failure?.message]).toEqual([code, expect.stringMatching(text)])
      expect(failure?.message).toContain(brokers)
      expect(failure?.retryable).toBe(code === 'BROKER_UNAVAILABLE')
      expect(failure?.message).not.toContain('\n')
      const secrets = [WRONG, ...(env['KAFKA_SSL_KEY'] ?? '').split('\n').filter((line) => /^[\w+/=]{20,}$/.test(line))]
      for (const secret of secrets)
        expect(inspect(failure, { depth: 20, showHidden: true, getters: true })).not.toContain(secret)
    })
  })

  it('a producer keeps its events, and sends them once its certificate file is renewed', async () => {
    const files = { cert: join(makeTempDirectory(), 'tls.crt'), key: join(makeTempDirectory(), 'tls.key') }
    const install = ({ certFile, keyFile }: Certificate): void => {
      copyFileSync(keyFile, files.key)
      copyFileSync(certFile, files.cert)
    }
    install(kafka.authority.sign('client', { days: -1 }))
    const problems: string[] = []
    const env = {
      ...ca,
      KAFKA_SSL_CERT_FILE: files.cert,
      KAFKA_SSL_KEY_FILE: files.key,
      KAFKA_BROKERS: kafka.at('MUTUAL'),
    }
    const trail = openTrail(env, ({ code }) => problems.push(code))
    const receipt = trail.startSession().decision({ reasoning: 'because' })
    await expect.poll(() => problems, WAIT).toContain('TLS_REFUSED')
    await receipt.stored
    expect(trail.stats().spoolBytes).toBeGreaterThan(0)
    install(client)
    expect(await receipt.acked).toMatchObject({ topic })
  })

  it('a producer keeps its events, and sends them once its password file is right', async () => {
    const file = join(makeTempDirectory(), 'password')
    writeFileSync(file, WRONG)
    const problems: string[] = []
    const { KAFKA_SASL_PASSWORD: _, ...env } = sasl('scram-sha-512', 'bob', '')
    const settings = { ...env, KAFKA_SASL_PASSWORD_FILE: file, KAFKA_BROKERS: kafka.at('SASL') }
    const trail = openTrail(settings, ({ code, message }) => problems.push(`${code} ${message}`))
    const receipt = trail.startSession().decision({ reasoning: 'because' })
    await expect.poll(() => problems.join('\n'), WAIT).toMatch(/^ACCESS_DENIED .*KAFKA_SASL_PASSWORD/)
    rmSync(file)
    await expect
      .poll(() => problems.at(-1), WAIT)
      .toMatch(/^BROKER_UNAVAILABLE .*KAFKA_SASL_PASSWORD_FILE: expected the path of a readable file \(ENOENT\)$/)
    writeFileSync(file, `${RIGHT}\n`)
    expect(await receipt.acked).toMatchObject({ topic })
    expect(problems.join()).not.toContain(WRONG)
  })

  describe('the process of a consumer', async () => {
    const store = await openStore()

    it.each<[string, string, () => Environment]>([
      [
        'a wrong password',
        'ACCESS_DENIED',
        () => ({ ...sasl('plain', PLAIN_USER.username, WRONG), KAFKA_BROKERS: kafka.at('SASL') }),
      ],
      ['an expired certificate', 'TLS_REFUSED', () => ({ ...ca, KAFKA_BROKERS: kafka.at('EXPIRED') })],
    ])('ends at once: %s', async (_, code, of) => {
      const log = await openEmbedded(store)
      const { AUDIT_DATA_DIR: _dir, ...env } = environmentOf(store, log)
      const consumer = startConsumerProcess({ ...env, ...of(), LOG_LEVEL: 'trace' })
      expect(await consumer.exited).toBe(1)
      const lines = consumer.stdout.trim().split('\n')
      expect(lines.filter((line) => line.includes('retryInMs'))).toEqual([])
      expect(JSON.parse(lines.at(-1) ?? '{}')).toMatchObject({ level: 60, code })
      expect(consumer.stdout + consumer.stderr).not.toContain(WRONG)
    })

    it('waits for a broker that is away', async () => {
      const log = await openEmbedded(store)
      const { AUDIT_DATA_DIR: _dir, ...env } = environmentOf(store, log)
      const consumer = startConsumerProcess({ ...env, ...ca, KAFKA_BROKERS: 'localhost:1', LOG_LEVEL: 'info' })
      await expect
        .poll(() => consumer.stdout.split('"code":"BROKER_UNAVAILABLE","retryInMs"').length, WAIT)
        .toBeGreaterThan(2)
      expect(await consumer.kill('SIGTERM')).toBe(0)
    })
  })
})
