/** The seals of runs that died, and of deliveries that failed and were started again. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TrailError } from '@agent-audit/producer'
import { openEmbeddedLog } from '@agent-audit/spool'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { checkSeals, newKey, readMessages, type SealedRun, type TestKey } from '../../support/sealed-runs.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { startChildWith } from '../process/run-program.ts'
import { NO_BROKER, openTrail, rememberEmbeddedLog } from '../support.ts'

const TOPIC = 'audit.events'
const KILL_AT = new URL('kill-at.ts', import.meta.url)
const FAIL_DELIVERY = new URL('../delivery/fail-delivery.ts', import.meta.url)
const NOTHING_WRONG = { faults: [], unsealed: [], sealedTwice: [], missing: [], undelivered: [] }

afterEach(() => void vi.unstubAllEnvs())

function check(dataDir: string, keys: readonly TestKey[]): Map<string, SealedRun> {
  return checkSeals(readMessages(dataDir, TOPIC), readMessages(dataDir, `${TOPIC}.seals`), keys)
}

/** A data directory with the topic, and a key of the child program in its environment. */
function prepare(): { dataDir: string; child: TestKey } {
  const dataDir = makeTempDirectory()
  const log = openEmbeddedLog({ directory: dataDir })
  log.createTopic(TOPIC, 4)
  log.close()
  const child = newKey('child')
  const keyFile = join(dataDir, 'child.key')
  writeFileSync(keyFile, child.pem, { mode: 0o600 })
  vi.stubEnv('AUDIT_SIGNING_KEY_FILE', keyFile)
  return { dataDir, child }
}

/** A run whose broker is out of reach, and that is closed: what it recorded is in its spool. @returns its run_id. */
async function leaveRun(dataDir: string, signing: { key: string } | undefined, decisions = 100): Promise<string> {
  const trail = openTrail({ ...NO_BROKER, agentId: 'dead', spoolDir: join(dataDir, 'spool'), signing })
  const session = trail.startSession()
  for (let index = 0; index < decisions; index++) await session.decision({ reasoning: `${index}` }).stored
  await trail.close({ timeoutMs: 0 })
  return trail.runId
}

describe('a producer that is killed', () => {
  it.each([
    '4 INSERT INTO chunk',
    '4 INSERT INTO leaves',
    '1 INSERT INTO seal ',
    '1 DELETE FROM leaves',
    '1 UPDATE sealing',
    '1 DELETE FROM seal ',
    '2 DELETE FROM chunk',
    '2 INSERT INTO seal ',
  ])('after "%s": every record in the topic is in exactly one seal once its spool is adopted', async (at) => {
    const { dataDir, child } = prepare()
    vi.stubEnv('KILL_AT', at)
    expect(await startChildWith({ module: KILL_AT }, 'record-until-killed', dataDir).exited()).toMatchObject({
      signal: 'SIGKILL',
    })
    vi.unstubAllEnvs()
    const next = newKey('next')
    const trail = openTrail({ agentId: 'next', dataDir, signing: { key: next.pem } })
    await expect.poll(() => trail.stats().connected && trail.stats().spoolBytes).toBeLessThan(1)
    await trail.close()
    const runs = check(dataDir, [child, next])
    const run = [...runs.values()].find(({ producerId }) => producerId === 'child')
    expect(run).toMatchObject({ ...NOTHING_WRONG, gaps: [] })
    expect(run?.records.length).toBeGreaterThan(0)
    expect(run?.states).toMatch(/^(open )*(adopted )*adopted$/)
    expect(run?.seals.at(-1)).toMatchObject({ signedBy: 'next', state: { by: trail.runId } })
  })
})

describe('delivery that fails', () => {
  it.each([
    ['taken 5 1', true],
    ['stored 5 1', true],
    ['sent 3 1', true],
    ['trimmed 1 1', true],
    ['taken 5 1', false],
    ['stored 5 1', false],
    ['sent 3 1', false],
  ])('%s (workers: %s): the chain of seals goes on, and names what was lost', async (where, workers) => {
    const { dataDir, child } = prepare()
    vi.stubEnv('FAIL_DELIVERY', where)
    const program = startChildWith({ module: FAIL_DELIVERY, workers }, 'fail-delivery', dataDir, '1')
    expect(await program.exited()).toMatchObject({ code: 0 })
    const [run, ...others] = check(dataDir, [child]).values()
    expect(others).toEqual([])
    expect(run).toMatchObject(NOTHING_WRONG)
    expect(run?.states).toMatch(/^(open )*closed$/)
    const all = [...(run?.records ?? []), ...(run?.gaps ?? [])].toSorted((one, other) => one - other)
    expect(all).toEqual(Array.from({ length: all.length }, (_, seq) => seq))
    if (where.startsWith('taken')) expect(run?.gaps.length).toBeGreaterThan(0)
  })
})

describe('the seals of a run that has ended without its broker', () => {
  it('are sent as they are by the next owner, with a key or without', async () => {
    const dataDir = makeTempDirectory()
    rememberEmbeddedLog(join(dataDir, 'spool'), dataDir)
    const dead = newKey('dead')
    const runId = await leaveRun(dataDir, { key: dead.pem })
    const trail = openTrail({ dataDir })
    await expect.poll(() => trail.stats().connected && trail.stats().spoolBytes).toBeLessThan(1)
    await trail.close()
    const run = check(dataDir, [dead]).get(runId)
    expect(run).toMatchObject({ ...NOTHING_WRONG, gaps: [] })
    expect(run?.states).toMatch(/^(open )*closed$/)
    expect(run?.records).toHaveLength(103)
  })
})

describe('a killed run whose next owner has no key', () => {
  it('keeps the leaves in its file until an owner with a key seals them; its events are sent before', async () => {
    const { dataDir, child } = prepare()
    vi.stubEnv('KILL_AT', '4 INSERT INTO leaves')
    await startChildWith({ module: KILL_AT }, 'record-until-killed', dataDir).exited()
    vi.unstubAllEnvs()
    const problems: TrailError[] = []
    const without = openTrail({ agentId: 'without', dataDir, onProblem: (problem) => problems.push(problem) })
    await expect
      .poll(() => problems.map(({ message }) => message))
      .toContainEqual(
        expect.stringMatching(
          /^left .*: run \w+ sealed its events, and this process has no key to seal the last of them$/,
        ),
      )
    await without.close()
    const runs = [...check(dataDir, [child])].filter(([runId]) => runId !== without.runId)
    expect(runs).toEqual([[expect.anything(), expect.objectContaining({ seals: [] })]])
    const { runId, records } = runs.map(([id, run]) => ({ runId: id, ...run }))[0] ?? { runId: '', records: [] }
    expect(records.length).toBeGreaterThan(0)
    const next = newKey('next')
    const trail = openTrail({ agentId: 'next', dataDir, signing: { key: next.pem } })
    await expect.poll(() => trail.stats().connected && trail.stats().spoolBytes).toBeLessThan(1)
    await trail.close()
    const run = check(dataDir, [child, next]).get(runId)
    expect(run).toMatchObject({ ...NOTHING_WRONG, states: 'adopted', records })
  })
})
