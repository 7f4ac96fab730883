import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type AuditTrailOptions, createAuditTrail } from '@agent-audit/producer'
import { createTestTrail } from '@agent-audit/producer/testing'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { NO_BROKER, openTrail, readRows, sessionRows } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

afterEach(() => vi.unstubAllEnvs())

it('createAuditTrail names every wrong option at once', () => {
  const options = {
    agentId: '',
    brokers: ['nohost'],
    topic: 'not a topic',
    spoolMaxBytes: 5,
    durability: 'none',
    nonsense: 1,
    onProblem: 'x',
    sasl: { mechanism: 'plain', username: 'u' },
    systemPrompt: { sha256: 'abc' },
  } as unknown as AuditTrailOptions
  const paths = [
    'agentId',
    'brokers[0]',
    'topic',
    'spoolMaxBytes',
    'durability',
    'nonsense',
    'onProblem',
    'sasl.password',
  ]
  expect(() => createAuditTrail(options)).toThrow(
    expect.objectContaining({
      code: 'OPTIONS_INVALID',
      issues: expect.arrayContaining(paths.map((path) => expect.objectContaining({ path }) as unknown)) as unknown,
    }),
  )
})

it('createAuditTrail names options that contradict each other', () => {
  const both = { agentId: 'a', brokers: ['localhost:9092'], dataDir: 'd' }
  expect(() => createAuditTrail(both)).toThrow(/dataDir/)
  const small = { agentId: 'a', dataDir: 'd', maxRecordBytes: 2 ** 20, maxBufferBytes: 2 ** 20 }
  expect(() => createAuditTrail(small)).toThrow(/maxBufferBytes: at least twice maxRecordBytes/)
})

it('createAuditTrail refuses a topic below audit.events, whose records would be of the class that the name says', () => {
  const options = { agentId: 'a', dataDir: 'd', topic: 'audit.events.eu' }
  expect(() => createAuditTrail(options)).toThrow(/topic: expected no name below audit\.events.*retentionClass/)
})

it('an error never shows the password', () => {
  const options = { agentId: 'a', sasl: { mechanism: 'magic', username: 'u', password: 'hunter2' } } as never
  expect(() => createAuditTrail(options)).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining('hunter2') as string }),
  )
})

it('createAuditTrail throws at once if the spool directory cannot be written', () => {
  const file = join(makeTempDirectory(), 'file')
  writeFileSync(file, '')
  expect(() => createAuditTrail({ agentId: 'a', dataDir: makeTempDirectory(), spoolDir: file })).toThrow(
    expect.objectContaining({ code: 'SPOOL_UNAVAILABLE', message: expect.stringContaining(file) as string }),
  )
})

function stub(environment: Record<string, string>): void {
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value)
}

describe('where records go', () => {
  const NEITHER = { KAFKA_BROKERS: '', AUDIT_DATA_DIR: '' }
  const BROKERS = { KAFKA_BROKERS: '127.0.0.1:1', AUDIT_DATA_DIR: '' }

  it.each(['disk', 'broker', 'memory'] as const)('must be named, with durability %s too', (durability) => {
    stub(NEITHER)
    const directory = makeTempDirectory()
    const before = process.cwd()
    process.chdir(directory)
    onTestFinished(() => process.chdir(before))
    expect(() => createAuditTrail({ agentId: 'a', durability })).toThrow(
      expect.objectContaining({
        code: 'OPTIONS_INVALID',
        message: expect.stringMatching(
          /brokers: expected brokers \(or KAFKA_BROKERS\), or for the embedded log .* dataDir \(or AUDIT_DATA_DIR\)$/,
        ) as string,
      }),
    )
    expect(readdirSync(directory)).toEqual([])
  })

  it.each([
    ['dataDir', NEITHER, { dataDir: 'd' }],
    ['AUDIT_DATA_DIR', { ...NEITHER, AUDIT_DATA_DIR: 'd' }, {}],
    ['dataDir beside KAFKA_BROKERS', BROKERS, { dataDir: 'd' }],
  ])('durability broker is refused on the embedded log of %s', (_, environment, options) => {
    stub(environment)
    expect(() => createAuditTrail({ agentId: 'a', durability: 'broker', ...options })).toThrow(
      expect.objectContaining({
        code: 'OPTIONS_INVALID',
        issues: [{ path: 'durability', expected: expect.stringMatching(/embedded log/) as string }],
      }),
    )
  })

  it('durability broker is refused on the embedded log for one event too, and no guarded action runs on it', async () => {
    const refusal = { code: 'EVENT_INVALID', issues: [{ path: 'durability' }] }
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    const session = trail.startSession()
    const record = (): unknown => session.decision({ reasoning: 'r' }, { durability: 'broker' })
    expect(record).toThrow(expect.objectContaining({ message: expect.stringMatching(/durability: .*embedded log/) }))
    const run = vi.fn<() => void>()
    const guarded = session.guard({ tool_name: 't', tool_input: {} }, run, { durability: 'broker' })
    await expect(guarded).rejects.toMatchObject(refusal)
    expect(run).not.toHaveBeenCalled()
    await trail.close()
    expect(sessionRows(dataDir).map((row) => row.event_type)).toEqual(['session_start'])
  })

  it.each([[NEITHER], [BROKERS], [{ ...NEITHER, AUDIT_DATA_DIR: 'd' }]])(
    'is memory for a test trail, whatever its durability and the environment %j',
    async (environment) => {
      stub(environment)
      const trail = createTestTrail({ durability: 'broker' })
      const run = vi.fn<() => string>().mockReturnValue('ran')
      const session = trail.startSession()
      expect(await session.guard({ tool_name: 't', tool_input: {} }, run, { durability: 'broker' })).toBe('ran')
      expect(trail.events()[0]).toMatchObject({ content: { options: { destination: { kind: 'memory' } } } } as never)
    },
  )

  it('is checked in a test trail whose options name it', () => {
    expect(() => createTestTrail({ durability: 'broker', dataDir: 'd' })).toThrow(/durability: .*embedded log/)
  })
})

it('takes the data directory from AUDIT_DATA_DIR, and dataDir over KAFKA_BROKERS', async () => {
  const [fromEnv, given] = [makeTempDirectory(), makeTempDirectory()]
  vi.stubEnv('AUDIT_DATA_DIR', fromEnv)
  vi.stubEnv('KAFKA_BROKERS', '')
  await openTrail({}).close()
  expect(readRows(fromEnv)).toHaveLength(2)
  vi.stubEnv('KAFKA_BROKERS', '127.0.0.1:1')
  await openTrail({ dataDir: given }).close()
  expect(readRows(given)).toHaveLength(2)
})

it.each([
  ['broker', { brokers: ['127.0.0.1:1'] }],
  ['memory', {}],
] as const)('%s opens no spool', async (durability, brokers) => {
  const directory = makeTempDirectory()
  vi.stubEnv('AUDIT_SPOOL_DIR', join(directory, 'spool'))
  const place = 'brokers' in brokers ? brokers : { dataDir: directory }
  const trail = openTrail({ ...place, durability, onProblem: () => {} })
  const session = trail.startSession()
  const receipt = session.decision({ reasoning: 'r' })
  if (durability === 'memory') {
    await receipt.acked
    expect(readRows(directory)).toHaveLength(3)
  }
  expect(existsSync(join(directory, 'spool'))).toBe(false)
  expect(() => session.decision({ reasoning: 'r' }, { durability: 'disk' })).toThrow(/durability/)
})

it('says once a process in which directory the events wait, when nothing names it', async () => {
  const directory = makeTempDirectory()
  vi.stubEnv('AUDIT_SPOOL_DIR', '')
  onTestFinished(() => void vi.restoreAllMocks())
  vi.spyOn(process, 'cwd').mockReturnValue(directory)
  const warn = vi.spyOn(process, 'emitWarning').mockReturnValue()
  openTrail({ ...NO_BROKER, spoolDir: './named' })
  openTrail({ dataDir: './data' })
  openTrail({ ...NO_BROKER, durability: 'memory' })
  expect(warn).not.toHaveBeenCalled()
  openTrail(NO_BROKER)
  openTrail(NO_BROKER)
  const said = expect.stringContaining(`${join(directory, '.audit-spool')},`) as string
  expect(warn.mock.calls).toEqual([[said, 'AuditTrailWarning', 'SPOOL_DIR_UNNAMED']])
  expect(existsSync(join(directory, '.audit-spool', 'audit.events'))).toBe(true)
  // The directory of the moment counts, not the one that the process has when delivery opens its files.
  await vi.waitFor(() => expect(existsSync(join(directory, 'data', 'log.sqlite'))).toBe(true), { timeout: 10_000 })
})
