/** Seals when something goes wrong: full, damaged and removed spools, files of another release, a trail without a spool. */
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { AuditTrailOptions, TrailError } from '@agent-audit/producer'
import { afterEach, expect, it, vi } from 'vitest'
import { checkSeals, newKey, readMessages, type SealedRun, type TestKey } from '../../support/sealed-runs.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { NO_OWN_DISK, startChildOnDisk, startChildWith } from '../process/run-program.ts'
import { NO_BROKER, openTrail, rememberEmbeddedLog } from '../support.ts'

const TOPIC = 'audit.events'
const NOTHING_WRONG = { faults: [], unsealed: [], sealedTwice: [] }
const FAIL_DELIVERY = new URL('../delivery/fail-delivery.ts', import.meta.url)

afterEach(() => void vi.unstubAllEnvs())

/** A key in the environment of a child program. */
function keyInEnvironment(): TestKey {
  const key = newKey('child')
  const file = join(makeTempDirectory(), 'key')
  writeFileSync(file, key.pem, { mode: 0o600 })
  vi.stubEnv('AUDIT_SIGNING_KEY_FILE', file)
  return key
}

function check(dataDir: string, keys: readonly TestKey[]): Map<string, SealedRun> {
  return checkSeals(readMessages(dataDir, TOPIC), readMessages(dataDir, `${TOPIC}.seals`), keys)
}

function spoolsIn(dataDir: string): string[] {
  const directory = join(dataDir, 'spool', TOPIC)
  return readdirSync(directory)
    .filter((name) => name.endsWith('.spool'))
    .map((name) => join(directory, name))
}

function runSql(file: string, sql: string): void {
  const db = new DatabaseSync(file)
  db.exec(sql)
  db.close()
}

/** A run with a key, whose broker is out of reach: it leaves its spool, each event in a chunk of its own. */
async function leaveRun(dataDir: string, key: TestKey, options: Partial<AuditTrailOptions> = {}): Promise<string> {
  const spoolDir = join(dataDir, 'spool')
  rememberEmbeddedLog(spoolDir, dataDir)
  const trail = openTrail({ ...NO_BROKER, agentId: 'dead', spoolDir, signing: { key: key.pem }, ...options })
  const session = trail.startSession()
  for (let index = 0; index < 20; index++) await session.decision({ reasoning: `${index} ${'x'.repeat(2000)}` }).stored
  await trail.close({ timeoutMs: 0 })
  return trail.runId
}

/** The next owner of the spools, until it has sent all that it can. */
async function adoptAll(dataDir: string, key: TestKey): Promise<TrailError[]> {
  const problems: TrailError[] = []
  const onProblem = (problem: TrailError): void => void problems.push(problem)
  const trail = openTrail({ agentId: 'next', dataDir, signing: { key: key.pem }, onProblem })
  await expect.poll(() => trail.stats().connected && trail.stats().spoolBytes).toBeLessThan(1)
  await trail.close()
  return problems
}

it('a spool that is damaged in the middle: the records behind the damage are sealed, and named as undelivered', async () => {
  const dataDir = makeTempDirectory()
  const [dead, next] = [newKey('dead'), newKey('next')]
  const runId = await leaveRun(dataDir, dead)
  runSql(spoolsIn(dataDir)[0] ?? '', 'UPDATE chunk SET bytes = zeroblob(length(bytes)) WHERE id = 10')
  await adoptAll(dataDir, next)
  const run = check(dataDir, [dead, next]).get(runId)
  expect(run).toMatchObject({ ...NOTHING_WRONG, gaps: [] })
  expect(run?.records.length).toBeGreaterThan(5)
  expect(run?.missing.length).toBeGreaterThan(5)
  expect(run?.undelivered).toEqual(run?.missing)
  expect(run?.seals.at(-1)).toMatchObject({ state: { kind: 'adopted' }, undelivered: [{ code: 'SPOOL_CORRUPT' }] })
})

it('leaves that are damaged are not sealed: the file is set aside, and no seal says anything that is not so', async () => {
  const dataDir = makeTempDirectory()
  const [dead, next] = [newKey('dead'), newKey('next')]
  const runId = await leaveRun(dataDir, dead)
  const [file = ''] = spoolsIn(dataDir)
  // As a killed process leaves it: without its seals, all leaves are there.
  runSql(file, 'UPDATE sealing SET checksum = checksum + 1')
  const problems = await adoptAll(dataDir, next)
  expect(problems.map(({ code, message }) => `${code} ${message}`)).toContainEqual(
    expect.stringMatching(
      /^SPOOL_CORRUPT set aside as .*says wrongly where its seals stand: the checksum does not match$/,
    ),
  )
  expect(check(dataDir, [dead, next]).get(runId)).toBeUndefined()
})

it('a spool that is removed under its run: the new file has leaves and chain, and the run ends sealed', async () => {
  const dataDir = makeTempDirectory()
  const key = newKey('agent-1')
  const trail = openTrail({ dataDir, signing: { key: key.pem }, onProblem: () => {} })
  const session = trail.startSession()
  for (let index = 0; index < 60; index++) {
    await session.decision({ reasoning: `${index}` }).stored
    if (index % 20 === 10) for (const file of spoolsIn(dataDir)) rmSync(file)
  }
  await trail.close()
  const [run] = check(dataDir, [key]).values()
  expect(run).toMatchObject({ ...NOTHING_WRONG, gaps: [], missing: [] })
  expect(run?.states).toMatch(/^(open )*closed$/)
  expect(run?.records).toHaveLength(63)
})

it('a spool that is full refuses events, and not the seals, which name the refused ones as gaps', async () => {
  const dataDir = makeTempDirectory()
  const [dead, next] = [newKey('dead'), newKey('next')]
  const spoolDir = join(dataDir, 'spool')
  rememberEmbeddedLog(spoolDir, dataDir)
  const small = { spoolMaxBytes: 2 ** 20, maxRecordBytes: 2 ** 17, onFull: 'refuse' } as const
  const trail = openTrail({ ...NO_BROKER, agentId: 'dead', spoolDir, signing: { key: dead.pem }, ...small })
  const session = trail.startSession()
  const outcomes = []
  for (let index = 0; index < 30; index++) {
    outcomes.push(
      await session.decision({ reasoning: `${index} ${'x'.repeat(60_000)}` }).stored.then(
        () => 'kept',
        () => 'refused',
      ),
    )
  }
  await trail.close({ timeoutMs: 0 })
  expect(outcomes).toContain('refused')
  await adoptAll(dataDir, next)
  const run = check(dataDir, [dead, next]).get(trail.runId)
  expect(run).toMatchObject({ ...NOTHING_WRONG, missing: [] })
  expect(run?.gaps.length).toBeGreaterThanOrEqual(outcomes.filter((outcome) => outcome === 'refused').length)
  expect(run?.seals.at(-1)?.state.kind).toBe('closed')
})

it('events that are refused before they have a run_seq leave no gap: an invalid one, and one above maxRecordBytes', async () => {
  const dataDir = makeTempDirectory()
  const key = newKey('agent-1')
  const limits = { maxRecordBytes: 2 ** 16, onOversize: 'refuse' } as const
  const trail = openTrail({ dataDir, signing: { key: key.pem }, onProblem: () => {}, ...limits })
  const session = trail.startSession()
  session.decision({ reasoning: 'first' })
  expect(() => session.decision({ reasoning: 1 } as never)).toThrow(/EVENT_INVALID|reasoning/)
  expect(() => session.decision({ reasoning: 'x'.repeat(2 ** 17) })).toThrow(/maxRecordBytes/)
  session.decision({ reasoning: 'second' })
  await trail.close()
  const [run] = check(dataDir, [key]).values()
  expect(run).toMatchObject({ ...NOTHING_WRONG, gaps: [], missing: [] })
  expect(run?.records).toEqual(run?.records.map((_, seq) => seq))
})

it.each(['memory', 'disk'] as const)('durability %s: every record is in one seal of the run', async (durability) => {
  const dataDir = makeTempDirectory()
  const key = newKey('agent-1')
  const trail = openTrail({ dataDir, durability, signing: { key: key.pem } })
  const session = trail.startSession()
  for (let index = 0; index < 1500; index++) session.decision({ reasoning: `${index}` })
  await trail.close()
  const [run] = check(dataDir, [key]).values()
  expect(run).toMatchObject({ ...NOTHING_WRONG, gaps: [], missing: [] })
  expect(run?.records).toHaveLength(1503)
  expect(run?.states).toMatch(/^(open )+closed$/)
})

it('a file of the form before seals is left alone, with a clear error', async () => {
  const dataDir = makeTempDirectory()
  const [dead, next] = [newKey('dead'), newKey('next')]
  await leaveRun(dataDir, dead)
  const [file = ''] = spoolsIn(dataDir)
  runSql(file, 'PRAGMA user_version = 4')
  const problems: TrailError[] = []
  const trail = openTrail({
    agentId: 'next',
    dataDir,
    signing: { key: next.pem },
    onProblem: (problem) => problems.push(problem),
  })
  await expect
    .poll(() => problems.map(({ message }) => message))
    .toContainEqual(
      expect.stringMatching(/^left .*has spool format 4, written by an earlier release; this one reads format 5$/),
    )
  await trail.close()
  expect(spoolsIn(dataDir)).toEqual([file])
})

it.skipIf(NO_OWN_DISK !== undefined).each([
  ['fill-disk', 'size=4m'],
  ['outgrow-disk', 'size=24m'],
])(
  `%s: a full disk stops no seal, and the run goes on with a new file ${NO_OWN_DISK ?? ''}`,
  async (program, options) => {
    const [dataDir, directory] = [makeTempDirectory(), makeTempDirectory()]
    const key = keyInEnvironment()
    const child = startChildOnDisk({ directory, options }, program, dataDir)
    expect(await child.exited()).toMatchObject({ code: 0, stderr: '' })
    const [run, ...others] = check(join(dataDir, 'log'), [key]).values()
    expect(others).toEqual([])
    expect(run).toMatchObject({ ...NOTHING_WRONG, missing: [] })
    expect(run?.states).toMatch(/^(open )*closed$/)
    const all = [...(run?.records ?? []), ...(run?.gaps ?? [])].toSorted((one, other) => one - other)
    expect(all).toEqual(Array.from({ length: all.length }, (_, seq) => seq))
  },
)

it('delivery that fails without a spool: the chain goes on, and calls no record a gap that is in the topic', async () => {
  const dataDir = makeTempDirectory()
  const key = keyInEnvironment()
  vi.stubEnv('FAIL_DELIVERY', 'taken 300 1')
  const program = startChildWith({ module: FAIL_DELIVERY }, 'fail-delivery', dataDir, '1 memory')
  expect(await program.exited()).toMatchObject({ code: 0 })
  const [run] = check(dataDir, [key]).values()
  expect(run?.records.filter((seq) => run.gaps.includes(seq))).toEqual([])
  expect(run?.sealedTwice).toEqual([])
  expect(run?.states).toMatch(/^(open )*closed$/)
  expect(run?.faults.filter((fault) => !/begins at|is at|prev of/.test(fault))).toEqual([])
})
