/** How an operator lists and sends the spools that producers left on a disk. */
import { closeSync, openSync, readdirSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { runCli } from '@agent-audit/cli'
import { type AuditTrail, createAuditTrail } from '@agent-audit/producer'
import { expect, it } from 'vitest'
import { openTrail, readRows } from '../producer/support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const TOPIC = 'audit.events'
const OTTERS = 'audit.otters'
/** No broker listens there: recorded events stay in the spool. */
const NOWHERE = ['127.0.0.1:1']

async function run(...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  let out = ''
  let err = ''
  const terminal = {
    out: (text: string) => (out += text),
    err: (text: string) => (err += text),
    env: {},
    colors: false,
  }
  return { code: await runCli(['spool', ...args], terminal), out, err }
}

function openUnsent(spoolDir: string, topic = TOPIC): AuditTrail {
  const options = { agentId: 'agent-1', brokers: NOWHERE, spoolDir, topic, handleExit: false }
  return createAuditTrail({ ...options, onProblem: () => {} })
}

/** A run with `count` decisions, one a chunk, that ended without sending any. */
async function leaveRun(spoolDir: string, count: number, topic = TOPIC): Promise<string> {
  const trail = openUnsent(spoolDir, topic)
  const session = trail.startSession({ session_id: 's1' })
  for (let index = 0; index < count; index++) await session.decision({ reasoning: `decision ${index}.` }).stored
  await trail.close({ timeoutMs: 0 })
  return trail.runId
}

function spoolFiles(spoolDir: string): string[] {
  return readdirSync(join(spoolDir, TOPIC)).filter((name) => name.startsWith('run-'))
}

/** How many records of each run are in a topic of the embedded log. */
function countRuns(dataDir: string, topic: string): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { run_id } of readRows(dataDir, topic)) counts[String(run_id)] = (counts[String(run_id)] ?? 0) + 1
  return counts
}

it('status lists dead runs with depth and oldest, and a live one as live', async () => {
  const spoolDir = makeTempDirectory()
  const before = Date.now()
  const dead = await leaveRun(spoolDir, 3)
  const live = openTrail({ brokers: NOWHERE, spoolDir, onProblem: () => {} })
  // A live run adopts the spools it finds at its start: the next one is left after that.
  await live.startSession().decision({ reasoning: 'stored' }).stored
  const later = await leaveRun(spoolDir, 1)
  const { code, out } = await run('status', spoolDir, '--json')
  expect(code).toBe(0)
  const found = JSON.parse(out) as { runId: string; oldestMs: number | null }[]
  expect(found.toSorted((one, other) => one.runId.localeCompare(other.runId))).toMatchObject(
    [
      { topic: TOPIC, runId: dead, state: 'live', records: null },
      { topic: TOPIC, runId: live.runId, state: 'live', records: null },
      // trail_started, session_start, the decision, trail_stopped
      { topic: TOPIC, runId: later, state: 'waiting', records: 4 },
    ].toSorted((one, other) => one.runId.localeCompare(other.runId)),
  )
  expect(found.find(({ runId }) => runId === later)?.oldestMs).toBeGreaterThanOrEqual(before)
  expect((await run('status', spoolDir)).out).toMatch(new RegExp(`${later}\\s+waiting\\s+4 `))
})

it('drain sends the events of dead runs, in order and under their original run_ids, and leaves none', async () => {
  const [spoolDir, dataDir] = [makeTempDirectory(), makeTempDirectory()]
  const dead = await Promise.all([leaveRun(spoolDir, 30), leaveRun(spoolDir, 30)])
  const { code, out } = await run('drain', spoolDir, '--data-dir', dataDir, '--json')
  expect([code, JSON.parse(out)]).toEqual([0, { sent: 66, waiting: [], damaged: [], problems: [] }])
  const rows = readRows(dataDir)
  for (const runId of dead) {
    const own = rows.filter((row) => row['run_id'] === runId)
    expect(own.map(({ run_seq }) => run_seq)).toEqual(Array.from({ length: 33 }, (_, seq) => seq))
    const offsets = own.filter(({ session_id }) => session_id === 's1').map(({ offset }) => offset)
    expect(offsets).toEqual(offsets.toSorted((one, other) => one - other))
  }
  expect(spoolFiles(spoolDir)).toEqual([])
  expect(await run('status', spoolDir)).toMatchObject({ code: 0, out: `no spools below ${spoolDir}\n` })
})

it('status lists the runs of two topics in one directory with their topics, and drain sends each run to its own', async () => {
  const [spoolDir, dataDir] = [makeTempDirectory(), makeTempDirectory()]
  const events = await leaveRun(spoolDir, 3)
  const otters = await leaveRun(spoolDir, 1, OTTERS)
  const { out } = await run('status', spoolDir, '--json')
  // trail_started, session_start, the decisions, trail_stopped
  expect(JSON.parse(out)).toMatchObject([
    { topic: TOPIC, runId: events, state: 'waiting', records: 6 },
    { topic: OTTERS, runId: otters, state: 'waiting', records: 4 },
  ])
  expect((await run('drain', spoolDir, '--data-dir', dataDir)).code).toBe(0)
  expect(countRuns(dataDir, TOPIC)).toMatchObject({ [events]: 6 })
  expect(countRuns(dataDir, TOPIC)).not.toHaveProperty(otters)
  expect(countRuns(dataDir, OTTERS)).toMatchObject({ [otters]: 4 })
  expect(countRuns(dataDir, OTTERS)).not.toHaveProperty(events)
})

it('a trail sends the spool that it adopts to the topic that the file names, not to its own', async () => {
  const [spoolDir, dataDir] = [makeTempDirectory(), makeTempDirectory()]
  const dead = await leaveRun(spoolDir, 3)
  // An operator has renamed the topic's directory: the trail of another topic finds the file in its own.
  renameSync(join(spoolDir, TOPIC), join(spoolDir, OTTERS))
  const adopter = openTrail({ dataDir, spoolDir, topic: OTTERS })
  adopter.startSession()
  await adopter.flush()
  expect(countRuns(dataDir, TOPIC)).toEqual({ [dead]: 6 })
  // trail_started, session_start
  expect(countRuns(dataDir, OTTERS)).toEqual({ [adopter.runId]: 2 })
})

it('drain reports the events that it could not send, and leaves them', async () => {
  const spoolDir = makeTempDirectory()
  const dead = await leaveRun(spoolDir, 2)
  const { code, err } = await run('drain', spoolDir, '--brokers', '127.0.0.1:1', '--timeout-ms', '800')
  expect(code).toBe(3)
  expect(err).toContain('127.0.0.1:1')
  const { out } = await run('status', spoolDir, '--json')
  expect(JSON.parse(out)).toContainEqual(expect.objectContaining({ runId: dead, state: 'waiting', records: 5 }))
})

it('drain sends the events before the damage, sets the file aside, and explains the others', async () => {
  const [spoolDir, dataDir] = [makeTempDirectory(), makeTempDirectory()]
  const dead = await leaveRun(spoolDir, 8)
  const file = join(spoolDir, TOPIC, spoolFiles(spoolDir)[0] ?? '')
  const descriptor = openSync(file, 'r+')
  writeSync(descriptor, 'X', readFileSync(file).indexOf('decision 5.'))
  closeSync(descriptor)
  const { code, out } = await run('drain', spoolDir, '--data-dir', dataDir, '--json')
  expect(code).toBe(1)
  expect(JSON.parse(out)).toMatchObject({
    damaged: [{ runId: dead, state: 'set-aside' }],
    problems: [{ code: 'SPOOL_CORRUPT' }],
  })
  const rows = readRows(dataDir)
  // trail_started, session_start, decisions 0 to 4
  expect(rows.filter((row) => row['run_id'] === dead).map(({ run_seq }) => run_seq)).toEqual([0, 1, 2, 3, 4, 5, 6])
  const set_aside = expect.stringContaining('.damaged-') as string
  expect(rows.filter((row) => row.event_type === 'events_lost')).toMatchObject([
    { reason: 'SPOOL_CORRUPT', content: { run_id: dead, first_run_seq: 7, last_run_seq: 10, count: 4, set_aside } },
  ])
  expect(spoolFiles(spoolDir).filter((name) => /\.damaged-[^-]+$/.test(name))).toHaveLength(1)
})

it.each([
  [['drain', '/nowhere/at/all', '--data-dir', 'x'], 3, /spool directory \/nowhere\/at\/all/],
  [['status', '/nowhere/at/all'], 3, /spool directory \/nowhere\/at\/all/],
  [['drain', '.'], 64, /where to\? Set KAFKA_BROKERS/],
])('names the mistake in spool %j in one line', async (args, code, message) => {
  const ran = await run(...args)
  expect(ran).toMatchObject({ code, out: '' })
  expect(ran.err).toMatch(message)
})
