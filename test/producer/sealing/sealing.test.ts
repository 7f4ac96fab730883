/** Seals of a trail on an embedded log, read back from their topic and checked against the records in it. */
import { createAuditTrail } from '@agent-audit/producer'
import { expect, it } from 'vitest'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { openTrail } from '../support.ts'
import { checkSeals, newKey, readMessages, type SealedRun, type TestKey } from '../../support/sealed-runs.ts'

const TOPIC = 'audit.events'

function check(dataDir: string, keys: readonly TestKey[]): Map<string, SealedRun> {
  return checkSeals(readMessages(dataDir, TOPIC), readMessages(dataDir, `${TOPIC}.seals`), keys)
}

it('every record of a trail with a key is in exactly one seal, and the last seal says that the run has ended', async () => {
  const dataDir = makeTempDirectory()
  const key = newKey('agent-1')
  const trail = openTrail({ dataDir, signing: { key: key.pem } })
  const session = trail.startSession()
  for (let index = 0; index < 3000; index++) session.decision({ reasoning: `decision ${index}` })
  session.end()
  await trail.close()
  const [run, ...others] = check(dataDir, [key]).values()
  expect(others).toEqual([])
  expect(run).toMatchObject({ faults: [], unsealed: [], sealedTwice: [], missing: [], gaps: [], undelivered: [] })
  expect(run?.records).toHaveLength(3004)
  expect(run?.states).toMatch(/^(open )+closed$/)
  expect(run?.seals.every(({ signedBy, count }) => signedBy === 'agent-1' && count <= 1024)).toBe(true)
  expect(Math.max(...(run?.seals.map(({ count }) => count) ?? []))).toBeGreaterThan(500)
})

it('a trail without a key makes no seals and no topic for them', async () => {
  const dataDir = makeTempDirectory()
  const trail = openTrail({ dataDir })
  trail.startSession().end()
  await trail.close()
  expect(readMessages(dataDir, `${TOPIC}.seals`)).toEqual([])
  expect([...check(dataDir, []).values()].map(({ seals }) => seals)).toEqual([[]])
})

it('a key that cannot be used is refused at the start', () => {
  const other = newKey('agent-2')
  const dataDir = makeTempDirectory()
  const open = (signing: { key: string } | { keyFile: string }): void =>
    void createAuditTrail({ agentId: 'agent-1', dataDir, signing })
  expect(() => open({ key: other.pem })).toThrow(/signing: .*expected the key of "agent-1", found the key of "agent-2"/)
  expect(() => open({ key: 'no key' })).toThrow(/signing: .*expected an Ed25519 private key/)
  expect(() => open({ keyFile: `${dataDir}/missing` })).toThrow(/signing: .*cannot be read \(ENOENT\)/)
})
