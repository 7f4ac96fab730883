/**
 * TLS to a real ClickHouse and to a real schema registry. The embedded ClickHouse and the registry of the tests speak plain
 * HTTP: Node's own TLS server stands before them, as a proxy does, and demands a client certificate.
 */
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { connectAnalytics } from '@agent-audit/analytics'
import { runCli } from '@agent-audit/cli'
import { readSettings } from '@agent-audit/consumer'
import { composeParts } from '@agent-audit/consumer/pipeline'
import { createAuditTrail, type TrailError } from '@agent-audit/producer'
import { createSchemaRegistry, NEWEST_SCHEMA, readRegistryAccess } from '@agent-audit/schemas'
import { schemaRegistryAvailability, startSchemaRegistry } from '@agent-audit/stack'
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { environmentOf, openEmbedded, openStore } from '../consumer/support.ts'
import { type Certificate, makeAuthority, noOpenssl } from '../support/certificates.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { type Terminator, type TerminatorOptions, terminateTls } from '../support/tls-terminator.ts'

type Environment = Record<string, string>

const WRONG = 'wr0ng-s3cret'
const authority = noOpenssl === '' ? makeAuthority() : undefined
const other = noOpenssl === '' ? makeAuthority('another CA') : undefined
const store = await openStore()
const registryIs = schemaRegistryAvailability()
const registry = registryIs.available && noOpenssl === '' ? await startSchemaRegistry() : undefined
afterAll(() => registry?.stop())

function sign(host: string, by = authority, days?: number): Certificate {
  if (by === undefined) throw new Error(noOpenssl)
  return by.sign(host, days === undefined ? {} : { days })
}

/** The settings of a client, with this prefix. */
function settingsOf(prefix: string, client: Certificate | undefined, ca = authority?.cert ?? ''): Environment {
  const pair = client === undefined ? {} : { [`${prefix}_SSL_CERT`]: client.cert, [`${prefix}_SSL_KEY`]: client.key }
  return { [`${prefix}_SSL_CA`]: ca, ...pair }
}

interface Fault {
  readonly server?: Partial<TerminatorOptions>
  readonly env?: (prefix: string) => Environment
  /** The scheme of the URL, where it is not the server's. */
  readonly scheme?: string
  readonly code: string
  /** With PREFIX for the prefix. */
  readonly says: string
}

const REFUSED = 'TLS_REFUSED'
/** Node's server closes the connection after a client certificate that it refuses; other servers send an alert before. */
const CLOSED = 'it closed the connection; if that stays so, check http or https in PREFIX_URL and PREFIX_SSL_CERT'
const FAULTS: readonly [name: string, of: () => Fault][] = [
  [
    'an unknown CA',
    () => ({ env: (p) => settingsOf(p, sign('client'), other?.cert), code: REFUSED, says: 'PREFIX_SSL_CA must' }),
  ],
  [
    'an expired certificate',
    () => ({ server: { own: sign('localhost', authority, -1) }, code: REFUSED, says: '(CERT_HAS_EXPIRED)' }),
  ],
  [
    'another host name',
    () => ({ server: { own: sign('elsewhere.example') }, code: REFUSED, says: 'elsewhere.example): PREFIX_URL' }),
  ],
  [
    'no client certificate',
    () => ({ env: (p) => settingsOf(p, undefined), code: REFUSED, says: 'certificate required): PREFIX_SSL_CERT' }),
  ],
  [
    'a client certificate of another CA',
    () => ({ env: (p) => settingsOf(p, sign('client', other)), code: 'UNAVAILABLE', says: CLOSED }),
  ],
  [
    'an expired client certificate',
    () => ({
      env: (p) => settingsOf(p, sign('client', authority, -1)),
      code: 'UNAVAILABLE',
      says: CLOSED,
    }),
  ],
  [
    'TLS to a port without',
    () => ({ server: { plain: true }, scheme: 'https:', code: REFUSED, says: 'does not speak TLS' }),
  ],
  [
    'no TLS to a port with TLS',
    () => ({ scheme: 'http:', env: () => ({}), code: 'UNAVAILABLE', says: 'check http or https in PREFIX_URL' }),
  ],
]

async function before(target: string, options: Partial<TerminatorOptions> = {}): Promise<Terminator> {
  const clients = authority === undefined ? {} : { clients: authority }
  return terminateTls(target, { own: sign('localhost'), ...clients, ...options })
}

const failureOf = (work: Promise<unknown>): Promise<TrailError | undefined> =>
  work.then(
    () => undefined,
    (error: TrailError) => error,
  )

type Connect = (url: string, env: Environment) => Promise<unknown>

function describeFaults(prefix: string, target: string, connect: Connect): void {
  it.each(FAULTS)('says what is wrong: %s', async (_, of) => {
    const { server, env = (p: string) => settingsOf(p, sign('client')), scheme, code, says } = of()
    const url = new URL((await before(target, server)).url)
    if (scheme !== undefined) url.protocol = scheme
    const given = env(prefix)
    const failure = await failureOf(connect(url.href, given))
    expect([failure?.code, failure?.message]).toEqual([
      expect.stringMatching(code),
      expect.stringContaining(says.replaceAll('PREFIX', prefix)),
    ])
    expect(failure?.message).toContain(url.host)
    expect(failure?.message).not.toContain('\n')
    const secrets = (given[`${prefix}_SSL_KEY`] ?? '').split('\n').filter((line) => /^[\w+/=]{20,}$/.test(line))
    for (const secret of secrets)
      expect(inspect(failure, { depth: 20, showHidden: true, getters: true })).not.toContain(secret)
  })
}

async function command(args: readonly string[], env: Environment): Promise<{ code: number; err: string }> {
  let err = ''
  const terminal = { out: () => undefined, err: (text: string) => (err += text), env, colors: false }
  return { code: await runCli(args, terminal), err }
}

const ask: Connect = (url, env) =>
  createSchemaRegistry({ url, ...readRegistryAccess(env, []) }).register('audit.secured', NEWEST_SCHEMA)

describe.skipIf(noOpenssl !== '')(`ClickHouse behind TLS ${noOpenssl}`, () => {
  const asConsumer: Connect = async (url, env) => {
    const log = await openEmbedded(store)
    const { sink } = composeParts(readSettings({ ...environmentOf(store, log), CLICKHOUSE_URL: url, ...env }))
    onTestFinished(() => sink.close())
    await sink.checkAccess()
  }
  it('the consumer and the command connect with a client certificate', async () => {
    const { url, clients } = await before(store.dataDir.admin.url)
    const env = settingsOf('CLICKHOUSE', sign('writer-1'))
    await asConsumer(url, env)
    expect(new Set(clients)).toEqual(new Set(['writer-1']))
    const { username, password } = store.dataDir.reader
    const user = { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
    expect(await command(['sessions'], { ...user, ...env })).toEqual({ code: 0, err: '' })
    const missing = await command(['sessions'], { ...user, ...settingsOf('CLICKHOUSE', undefined) })
    expect(missing).toEqual({ code: 3, err: expect.stringMatching(/^agent-audit: .*CLICKHOUSE_SSL_CERT.*\n$/) })
    const wrong = await command(['sessions'], { ...user, ...env, CLICKHOUSE_SSL_CA: WRONG })
    expect(wrong).toEqual({
      code: 64,
      err: expect.stringMatching(/^agent-audit: CLICKHOUSE_SSL_CA: expected PEM.*\n$/),
    })
    expect(wrong.err).not.toContain(WRONG)
  })

  describeFaults('CLICKHOUSE', store.dataDir.admin.url, asConsumer)

  it('a renewed certificate is used for the next connection', async () => {
    const { url, clients, cut } = await before(store.dataDir.admin.url)
    const files = { cert: join(makeTempDirectory(), 'tls.crt'), key: join(makeTempDirectory(), 'tls.key') }
    const install = ({ certFile, keyFile }: Certificate): void => {
      copyFileSync(keyFile, files.key)
      copyFileSync(certFile, files.cert)
    }
    install(sign('first'))
    const ssl = { ca: authority?.cert, cert: { file: files.cert }, key: { file: files.key } }
    await using analytics = connectAnalytics({ ...store.dataDir.reader, url, ssl })
    await analytics.rows('SELECT 1')
    const renewed = sign('second')
    copyFileSync(renewed.keyFile, files.key)
    cut()
    const message = /CLICKHOUSE_SSL_KEY_FILE: expected the key of the certificate in CLICKHOUSE_SSL_CERT/
    // The key alone: until its certificate is there too, no connection is made.
    const refusal = async (): Promise<string> => (await failureOf(analytics.rows('SELECT 1')))?.message ?? ''
    await expect.poll(refusal).toMatch(message)
    install(renewed)
    await analytics.rows('SELECT 1')
    expect([clients[0], clients.at(-1)]).toEqual(['first', 'second'])
  })
})

const missing = noOpenssl || (registryIs.available ? '' : registryIs.reason)
describe.skipIf(missing !== '')(`a schema registry behind TLS ${missing}`, () => {
  const target = registry?.url ?? ''
  const CREDENTIALS = { SCHEMA_REGISTRY_USERNAME: 'key-1', SCHEMA_REGISTRY_PASSWORD: 's3cret-1' }
  const credentials = Object.values(CREDENTIALS).join(':')

  it('takes a client certificate, a user and a password', async () => {
    const { url, clients } = await before(target, { credentials })
    const env = { ...settingsOf('SCHEMA_REGISTRY', sign('client-1')), ...CREDENTIALS }
    expect(await ask(url, env)).toBeGreaterThan(0)
    expect(clients).toEqual(['client-1'])
  })

  it('a producer takes them from its options or the environment, and keeps its events while they are wrong', async () => {
    const { url } = await before(target, { credentials })
    const { cert, key } = sign('client-1')
    const ssl = { ca: authority?.cert, cert, key }
    const record = async (access: object | undefined): Promise<TrailError | undefined> => {
      const failed = Promise.withResolvers<TrailError>()
      const options = { agentId: 'agent-1', dataDir: makeTempDirectory(), handleExit: false, onProblem: failed.resolve }
      const trail = createAuditTrail({ ...options, schemaRegistryUrl: url, schemaRegistryAccess: access })
      onTestFinished(async () => void (await trail.close({ timeoutMs: 0 })))
      const { stored, acked } = trail.startSession().decision({ reasoning: 'because' })
      await stored
      return Promise.race([acked.then(() => undefined), failed.promise])
    }
    expect(await record({ username: 'key-1', password: 's3cret-1', ssl })).toBeUndefined()
    const refused = await record({ username: 'key-1', password: WRONG, ssl })
    expect(refused).toMatchObject({
      code: 'ACCESS_DENIED',
      message: expect.stringContaining('SCHEMA_REGISTRY_PASSWORD'),
    })
    expect(inspect(refused)).not.toContain(WRONG)
    for (const [name, value] of Object.entries({
      ...settingsOf('SCHEMA_REGISTRY', sign('client-1')),
      ...CREDENTIALS,
    })) {
      vi.stubEnv(name, value)
    }
    onTestFinished(() => void vi.unstubAllEnvs())
    expect(await record(undefined)).toBeUndefined()
  })

  it.each<[string, Environment, RegExp]>([
    ['a wrong password', { ...CREDENTIALS, SCHEMA_REGISTRY_PASSWORD: WRONG }, /user "key-1".*SCHEMA_REGISTRY_PASSWORD/],
    ['no user', {}, /without SCHEMA_REGISTRY_USERNAME/],
  ])('refuses %s', async (_, env, says) => {
    const { url } = await before(target, { credentials })
    const failure = await failureOf(ask(url, { ...settingsOf('SCHEMA_REGISTRY', sign('client')), ...env }))
    expect(failure).toMatchObject({ code: 'ACCESS_DENIED', retryable: false, message: expect.stringMatching(says) })
    expect(inspect(failure, { depth: 20, showHidden: true, getters: true })).not.toContain(WRONG)
  })

  describeFaults('SCHEMA_REGISTRY', target, ask)
})
