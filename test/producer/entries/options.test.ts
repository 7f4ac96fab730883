import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type AuditTrailOptions, createAuditTrail } from '@agent-audit/producer'
import { afterEach, expect, it, vi } from 'vitest'
import { openTrail, readRows } from '../support.ts'
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

it('a trail takes its data directory from AUDIT_DATA_DIR, and prefers dataDir to KAFKA_BROKERS', async () => {
  const [fromEnv, given] = [makeTempDirectory(), makeTempDirectory()]
  vi.stubEnv('AUDIT_DATA_DIR', fromEnv)
  vi.stubEnv('KAFKA_BROKERS', '')
  await openTrail({}).close()
  expect(readRows(fromEnv)).toHaveLength(2)
  vi.stubEnv('KAFKA_BROKERS', '127.0.0.1:1')
  await openTrail({ dataDir: given }).close()
  expect(readRows(given)).toHaveLength(2)
})

it('a trail with durability broker opens no spool, and refuses durability disk', async () => {
  const dataDir = makeTempDirectory()
  const trail = openTrail({ dataDir, durability: 'broker' })
  const session = trail.startSession()
  await session.decision({ reasoning: 'r' }).stored
  expect(readRows(dataDir)).toHaveLength(3)
  expect(existsSync(join(dataDir, 'spool'))).toBe(false)
  expect(() => session.decision({ reasoning: 'r' }, { durability: 'disk' })).toThrow(/durability/)
})
