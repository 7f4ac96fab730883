/** What one seal covers: a run that is idle, one with two schemas, and one that never ends. */
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { NEW_CHAIN, openRunSpool } from '@agent-audit/spool'
import { afterEach, expect, it, vi } from 'vitest'
import { checkSeals, type FoundSeal, newKey, readMessages, sealsOf, type TestKey } from '../../support/sealed-runs.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { chunkOf } from '../../spool/chunks.ts'
import { startChild, startChildWith } from '../process/run-program.ts'
import { openTrail, rememberEmbeddedLog } from '../support.ts'

const TOPIC = 'audit.events'
const SOON = new URL('soon.ts', import.meta.url)
const WAIT = { timeout: 20_000, interval: 50 }
const [OLD, NEW] = ['0000000000000001', '0000000000000002']

function digest(...leaves: readonly Buffer[]): Buffer {
  return createHash('sha256').update(Buffer.concat(leaves)).digest()
}

afterEach(() => void vi.unstubAllEnvs())

function sealsIn(dataDir: string, keys: readonly TestKey[]): FoundSeal[] {
  return sealsOf(readMessages(dataDir, `${TOPIC}.seals`), keys)
}

/** A data directory, and a key of the child program in its environment. */
function prepare(): { dataDir: string; child: TestKey } {
  const dataDir = makeTempDirectory()
  const child = newKey('child')
  const keyFile = join(dataDir, 'child.key')
  writeFileSync(keyFile, child.pem, { mode: 0o600 })
  vi.stubEnv('AUDIT_SIGNING_KEY_FILE', keyFile)
  return { dataDir, child }
}

it('a run that is idle says so once a minute, in a seal of no records, and its chain goes on', async () => {
  const { dataDir, child } = prepare()
  const program = startChildWith({ module: SOON }, 'idle', dataDir)
  await program.printed(1)
  const heartbeats = (): FoundSeal[] => sealsIn(dataDir, [child]).filter(({ count }) => count === 0)
  await expect.poll(() => heartbeats().length, WAIT).toBeGreaterThan(2)
  await program.kill('SIGUSR2')
  expect(await program.exited()).toMatchObject({ code: 0 })
  for (const { first, last, digest: own, gaps } of heartbeats().slice(0, -1)) {
    expect([last, gaps]).toEqual([first - 1, []])
    expect(own).toEqual(digest())
  }
  const [run] = checkSeals(readMessages(dataDir, TOPIC), readMessages(dataDir, `${TOPIC}.seals`), [child]).values()
  expect(run).toMatchObject({ faults: [], unsealed: [], sealedTwice: [], missing: [], gaps: [] })
  expect(run?.states).toMatch(/^(open )+closed$/)
})

it('a change of schema ends a segment: each seal has the records of one', async () => {
  const dataDir = makeTempDirectory()
  const spoolDir = join(dataDir, 'spool')
  rememberEmbeddedLog(spoolDir, dataDir)
  const runId = 'a'.repeat(32)
  const seals = { producerId: 'dead', chain: NEW_CHAIN, leaves: [] }
  const directory = join(spoolDir, TOPIC)
  const spool = openRunSpool({ directory, runId, topic: TOPIC, maxBytes: 1e6, fsync: false, seals })
  const leaves = [OLD, OLD, NEW].map((schema, index) => {
    return { firstSeq: 5 * index, records: 5, schema, leaves: Buffer.alloc(160, index) }
  })
  for (const each of leaves) spool.append(chunkOf(each.firstSeq, 5), { leaves: each })
  spool.close()
  const next = newKey('next')
  const trail = openTrail({ agentId: 'next', dataDir, toAnyCluster: true, signing: { key: next.pem } })
  await expect.poll(() => trail.stats().connected && trail.stats().spoolBytes, WAIT).toBeLessThan(1)
  await trail.close()
  const [first, second, third] = leaves.map(({ leaves: bytes }) => bytes) as [Buffer, Buffer, Buffer]
  expect(sealsIn(dataDir, [next]).filter((seal) => seal.runId === runId)).toMatchObject([
    { first: 0, last: 9, schema: OLD, digest: digest(first, second) },
    { first: 10, last: 14, schema: NEW, digest: digest(third), state: { kind: 'adopted' } },
  ])
})

it('a run without a spool that is killed has no last seal, and no other run seals it', async () => {
  const { dataDir, child } = prepare()
  const program = startChild('record-until-killed', dataDir, 'memory')
  await expect.poll(() => sealsIn(dataDir, [child]).length, WAIT).toBeGreaterThan(0)
  await program.kill('SIGKILL')
  vi.unstubAllEnvs()
  const next = newKey('next')
  const trail = openTrail({ agentId: 'next', dataDir, signing: { key: next.pem } })
  await trail.startSession().decision({ reasoning: 'none' }).acked
  await trail.close()
  const runs = checkSeals(readMessages(dataDir, TOPIC), readMessages(dataDir, `${TOPIC}.seals`), [child, next])
  const run = [...runs.values()].find(({ producerId }) => producerId === 'child')
  // What its seals say holds. Its last records have no seal, and nothing is said to be lost.
  expect(run).toMatchObject({ faults: [], sealedTwice: [], gaps: [], undelivered: [] })
  expect(run?.states).toMatch(/^(open )*open$/)
  const last = run?.seals.at(-1)?.last ?? 0
  expect(run?.unsealed.every((seq) => seq > last)).toBe(true)
})
