/** What `verify` and `spool status` leave for Prometheus: one file for each run, whatever came of it. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCli } from '@agent-audit/cli'
import { createAuditTrail } from '@agent-audit/producer'
import { describe, expect, it } from 'vitest'
import { type SeedRow, seedEvents } from '../analytics/seed.ts'
import { NO_CLICKHOUSE, startTestServer } from '../analytics/support.ts'
import { readMetric } from '../support/metrics.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

interface Ran {
  readonly code: number
  readonly err: string
  /** Of the file; undefined: there is none. */
  metric(name: string, label?: string): number | undefined
  readonly files: readonly string[]
}

async function measured(args: readonly string[], env: Record<string, string>, directory: string): Promise<Ran> {
  let err = ''
  const terminal = { out: () => undefined, err: (text: string) => (err += text), env, colors: false }
  const file = join(directory, 'audit.prom')
  const code = await runCli([...args, '--metrics', file], terminal)
  const text = readdirSync(directory).includes('audit.prom') ? readFileSync(file, 'utf8') : ''
  return { code, err, metric: (name, label) => readMetric(text, name, label), files: readdirSync(directory) }
}

const VERIFY = ['verify', '--completeness']
const events = (...seqs: readonly number[]): SeedRow[] => seqs.map((seq) => ({ run_seq: seq, log_offset: seq }))

describe.skipIf(NO_CLICKHOUSE !== undefined)(`on a server${NO_CLICKHOUSE ?? ''}`, async () => {
  const tests = NO_CLICKHOUSE === undefined ? await startTestServer() : undefined

  async function seeded(rows: readonly SeedRow[]): Promise<Record<string, string>> {
    if (tests === undefined) throw new Error('skipped')
    const { server } = await tests.newTrail()
    await seedEvents(server, rows)
    const { url, username, password, database } = server
    const names = { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_DATABASE: database }
    return { ...names, CLICKHOUSE_PASSWORD: password }
  }

  it.each([
    [events(0, 1, 2), 0, 0],
    [events(0, 2, 3), 2, 1],
    [[...events(0, 1, 2), { run_seq: 2, log_offset: 3 }], 1, 0],
  ])('verify writes when it ran, its exit code and what it found: case %#', async (rows, code, missing) => {
    const before = Date.now() / 1000
    const ran = await measured(VERIFY, await seeded(rows), makeTempDirectory())
    expect([ran.code, ran.metric('audit_verify_last_exit_code')]).toEqual([code, code])
    expect(ran.metric('audit_verify_last_run_timestamp_seconds')).toBeGreaterThanOrEqual(before)
    expect(ran.metric('audit_verify_last_duration_seconds')).toBeLessThan(60)
    expect(ran.metric('audit_verify_events')).toBe(rows.length)
    expect(ran.metric('audit_verify_found', 'kind="missing_offsets"')).toBe(missing)
    expect(ran.metric('audit_verify_found', 'kind="missing_events"')).toBe(missing)
    expect(ran.metric('audit_verify_found', 'kind="repeated_events"')).toBe(code === 1 ? 1 : 0)
    expect(ran.files).toEqual(['audit.prom'])
  })

  it('a finding keeps its exit code where the metrics cannot be written, and a complete trail has 3', async () => {
    const directory = makeTempDirectory()
    // A directory has the name: the rename fails, the check before the work does not see it.
    mkdirSync(join(directory, 'audit.prom'))
    writeFileSync(join(directory, 'audit.prom', 'held'), '')
    for (const [rows, code] of [
      [events(0, 1), 3],
      [events(0, 2), 2],
    ] as const) {
      let err = ''
      const terminal = {
        out: () => undefined,
        err: (text: string) => (err += text),
        env: await seeded(rows),
        colors: false,
      }
      expect(await runCli([...VERIFY, '--metrics', join(directory, 'audit.prom')], terminal)).toBe(code)
      expect(err).toMatch(/^agent-audit: --metrics: .*rename.*\n$/)
    }
    expect(readdirSync(directory)).toEqual(['audit.prom'])
  })
})

it('verify says also that it could not check, and nothing of what it did not find', async () => {
  const directory = makeTempDirectory()
  const ran = await measured(VERIFY, { CLICKHOUSE_URL: 'http://127.0.0.1:1' }, directory)
  expect([ran.code, ran.metric('audit_verify_last_exit_code')]).toEqual([3, 3])
  expect(ran.metric('audit_verify_last_run_timestamp_seconds')).toBeGreaterThan(0)
  expect(ran.metric('audit_verify_found')).toBeUndefined()
  const unset = await measured(VERIFY, {}, directory)
  expect([unset.code, unset.metric('audit_verify_last_exit_code')]).toEqual([64, 64])
})

it.each(['ENOENT', 'ENOTDIR'])(
  'a directory that is none (%s) is wrong use, before anything is checked',
  async (fault) => {
    const directory = join(makeTempDirectory(), 'none')
    if (fault === 'ENOTDIR') writeFileSync(directory, '')
    const file = join(directory, 'audit.prom')
    let err = ''
    const terminal = { out: () => undefined, err: (text: string) => (err += text), env: {}, colors: false }
    expect(await runCli([...VERIFY, '--metrics', file], terminal)).toBe(64)
    expect(err).toMatch(new RegExp(`^agent-audit: --metrics: ${fault}: [^\\n]+\\n$`))
  },
)

it('spool status writes the spools by topic and state, and the time of the oldest event', async () => {
  const [spoolDir, directory] = [makeTempDirectory(), makeTempDirectory()]
  const before = Date.now() / 1000
  const options = { agentId: 'agent-1', brokers: ['127.0.0.1:1'], spoolDir, handleExit: false, onProblem: () => {} }
  const trail = createAuditTrail(options)
  const session = trail.startSession({ session_id: 's1' })
  for (let index = 0; index < 3; index++) await session.decision({ reasoning: `decision ${index}.` }).stored
  const live = await measured(['spool', 'status', spoolDir], {}, directory)
  expect(live.metric('audit_spool_files', 'topic="audit.events",state="live"')).toBe(1)
  expect(live.metric('audit_spool_oldest_timestamp_seconds')).toBeUndefined()
  await trail.close({ timeoutMs: 0 })
  const dead = await measured(['spool', 'status', spoolDir], {}, directory)
  expect(dead.metric('audit_spool_files')).toBe(1)
  expect(dead.metric('audit_spool_records', 'state="waiting"')).toBeGreaterThanOrEqual(3)
  expect(dead.metric('audit_spool_file_bytes', 'state="waiting"')).toBeGreaterThan(1000)
  const oldest = dead.metric('audit_spool_oldest_timestamp_seconds') ?? 0
  expect(oldest).toBeGreaterThan(before - 0.001)
  expect(oldest).toBeLessThan(Date.now() / 1000)
})
