/** A spool in trouble: full, damaged, on a full or read-only disk; and a delivery thread that dies. */
import { spawnSync } from 'node:child_process'
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditTrailOptions, TrailError } from '@agent-audit/producer'
import { describe, expect, it } from 'vitest'
import { holdEmbeddedLog } from './hold-embedded-log.ts'
import { NO_OWN_DISK, startChild, startChildOnDisk } from '../process/run-program.ts'
import { explainedBy, gapsOf, NO_BROKER, openTrail, readRows, rememberEmbeddedLog, sessionRows } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

const TOPIC = 'audit.events'

function makeSpoolDirectory(dataDir = makeTempDirectory()): string {
  const spoolDir = makeTempDirectory()
  rememberEmbeddedLog(spoolDir, dataDir)
  return spoolDir
}

describe('a full spool that refuses', () => {
  const FULL: Partial<AuditTrailOptions> = { ...NO_BROKER, spoolMaxBytes: 2 ** 20, onFull: 'refuse' }

  it('keeps room for the events that explain the refusals, also at close, and holds back new work', async () => {
    const dataDir = makeTempDirectory()
    const spoolDir = makeSpoolDirectory(dataDir)
    const trail = openTrail({ ...FULL, spoolDir })
    const session = trail.startSession({ session_id: 's1' })
    const receipts = Array.from({ length: 40 }, () => session.decision({ reasoning: 'x'.repeat(100_000) }))
    const outcomes = await Promise.allSettled(receipts.map(({ stored }) => stored))
    const refused = outcomes.filter(({ status }) => status === 'rejected').length
    expect(refused).toBeGreaterThan(20)
    let room = false
    void trail.writable().then(() => (room = true))
    await session.decision({ reasoning: 'small' }).stored.catch(() => {})
    expect(room).toBe(false)
    const { recorded } = trail.stats()
    await trail.close({ timeoutMs: 0 })
    // The trail's own events were not refused in turn.
    expect(trail.stats().recorded).toBeLessThan(recorded + 5)
    const next = openTrail({ dataDir, spoolDir })
    await expect.poll(() => next.stats().spoolBytes === 0 && next.stats().adopted > 0, { timeout: 20_000 }).toBe(true)
    const rows = readRows(dataDir).filter((row) => row['run_id'] === trail.runId)
    expect(rows.at(-1)?.event_type).toBe('trail_stopped')
    expect(gapsOf(rows)).toHaveLength(trail.stats().refused)
    expect(explainedBy(rows)).toEqual(gapsOf(rows))
  })
})

it('a full spool that waits leaves further events in memory, holds back new work, and refuses none', async () => {
  const dataDir = join(makeTempDirectory(), 'log')
  writeFileSync(dataDir, '') // A file at the path of the log's directory: there is no log yet.
  const trail = openTrail({ dataDir, spoolDir: makeSpoolDirectory(), spoolMaxBytes: 2 ** 20, onProblem: () => {} })
  const session = trail.startSession({ session_id: 's1' })
  const receipts = Array.from({ length: 30 }, () => session.decision({ reasoning: 'x'.repeat(100_000) }))
  await expect.poll(() => trail.stats().spoolBytes).toBeGreaterThan(0.85 * 2 ** 20)
  // Less than half of the buffer is used: the spool holds back new work.
  expect(trail.stats()).toMatchObject({ refused: 0, bufferBytes: expect.toSatisfy((bytes) => bytes < 8 * 2 ** 20) })
  let room = false
  const writable = trail.writable().then(() => (room = true))
  await trail.flush({ timeoutMs: 50 })
  expect(room).toBe(false)
  rmSync(dataDir)
  await writable
  await Promise.all(receipts.map(({ acked }) => acked))
  expect(await trail.close()).toMatchObject({ pending: 0, refused: 0 })
  expect(sessionRows(dataDir)).toHaveLength(31)
})

describe('a damaged spool', () => {
  it('of the run itself: the records that it cannot send are reported, rejected and explained; the run goes on', async () => {
    const dataDir = makeTempDirectory()
    const spoolDir = makeSpoolDirectory(dataDir)
    const release = holdEmbeddedLog(dataDir, TOPIC)
    const problems: TrailError[] = []
    const trail = openTrail({ dataDir, spoolDir, onProblem: (problem) => problems.push(problem) })
    const session = trail.startSession({ session_id: 's1' })
    // The first 8 MiB wait in memory to be sent; later records are only on disk.
    const receipts = Array.from({ length: 60 }, (_, index) =>
      session.decision({ reasoning: `decision ${index}. ${'x'.repeat(200_000)}` }),
    )
    await Promise.all(receipts.map(({ stored }) => stored))
    damage(join(spoolDir, TOPIC), 'decision 50.')
    release()
    const outcomes = await Promise.allSettled(receipts.map(({ acked }) => acked))
    expect(outcomes.map(({ status }) => status)).toEqual([
      ...Array(50).fill('fulfilled'),
      ...Array(10).fill('rejected'),
    ])
    expect(outcomes.at(-1)).toMatchObject({ reason: { code: 'SPOOL_CORRUPT', retryable: false } })
    expect(problems).toContainEqual(expect.objectContaining({ code: 'SPOOL_CORRUPT' }))
    await session.decision({ reasoning: 'goes on' }).acked
    expect(await trail.close()).toMatchObject({ pending: 0, refused: 10 })
    const rows = readRows(dataDir)
    expect(rows.find(({ event_type }) => event_type === 'events_lost')).toMatchObject({
      reason: 'SPOOL_CORRUPT',
      content: { run_id: trail.runId, set_aside: expect.stringContaining('.damaged-') as string },
    })
    expect(explainedBy(rows)).toEqual(gapsOf(rows))
    expect(readdirSync(join(spoolDir, TOPIC)).filter((name) => /\.damaged-[^-]+$/.test(name))).toHaveLength(1)
  })
})

/** Changes a byte of the file that contains a text, in a directory. A separate process does it: see spool/src/database.ts. */
function damage(directory: string, text: string): void {
  const program = `
    const { openSync, readdirSync, readFileSync, writeSync } = require('node:fs')
    const [directory, text] = process.argv.slice(1)
    for (const name of readdirSync(directory)) {
      const file = directory + '/' + name
      const at = readFileSync(file).indexOf(text)
      if (at >= 0) writeSync(openSync(file, 'r+'), 'X', at)
    }`
  spawnSync(process.execPath, ['-e', program, directory, text])
}

it('a delivery thread that dies is replaced, thrice a minute; then the trail takes no more events, and the next one sends those stored', async () => {
  const dataDir = makeTempDirectory()
  const child = startChild('lose-delivery', dataDir)
  expect(await child.exited()).toMatchObject({ code: 0, stderr: '' })
  expect(child.lines).toEqual([
    ...[1, 2, 3].map((count) =>
      expect.stringMatching(`^DELIVERY_RESTARTED: delivery has failed, .* \\(${count} of at most 3 .*exit code`),
    ),
    expect.stringMatching(/^SPOOL_UNAVAILABLE: delivery has stopped: .*exit code/),
    'SPOOL_UNAVAILABLE',
    // trail_started, session_start and the first two decisions are stored; this trail no longer sends them.
    expect.stringMatching(/^\{"acked":0,"pending":\d,"refused":1\}$/),
    'adopted 4',
    JSON.stringify({
      states: ['restarted', 'restarted', 'restarted', 'stopped', 'connected', 'disconnected'],
      codes: ['DELIVERY_RESTARTED', 'DELIVERY_RESTARTED', 'DELIVERY_RESTARTED', 'SPOOL_UNAVAILABLE'],
    }),
  ])
})

describe.skipIf(NO_OWN_DISK !== undefined)(`a disk ${NO_OWN_DISK ?? ''}`, () => {
  it('that is full is reported; events are refused once memory is full too; the others are sent once there is room', async () => {
    const [dataDir, directory] = [makeTempDirectory(), makeTempDirectory()]
    const child = startChildOnDisk({ directory, options: 'size=4m' }, 'fill-disk', dataDir)
    expect(await child.exited()).toMatchObject({ code: 0, stderr: '' })
    expect(child.lines[0]).toBe('SPOOL_UNAVAILABLE: database or disk is full')
    const sent = Number(/^sent (\d+)$/.exec(child.lines[1] ?? '')?.[1])
    const rows = readRows(join(dataDir, 'log'))
    expect(
      rows.filter(({ session_id, event_type }) => session_id === 'filling' && event_type === 'decision'),
    ).toHaveLength(sent)
    const runs = Map.groupBy(rows, (row) => row['run_id'])
    for (const run of runs.values()) expect(explainedBy(run)).toEqual(gapsOf(run))
  })

  it('that the spool itself has filled is freed once the log accepts events again', async () => {
    const [dataDir, directory] = [makeTempDirectory(), makeTempDirectory()]
    const child = startChildOnDisk({ directory, options: 'size=24m' }, 'outgrow-disk', dataDir)
    expect(await child.exited()).toMatchObject({ code: 0, stderr: '' })
    const kept = Number(/^kept (\d+)$/.exec(child.lines[0] ?? '')?.[1])
    const decisions = sessionRows(join(dataDir, 'log')).filter(({ event_type }) => event_type === 'decision')
    expect(new Set(decisions.map(({ run_seq }) => run_seq)).size).toBe(kept)
    const rows = readRows(join(dataDir, 'log'))
    expect(explainedBy(rows)).toEqual(gapsOf(rows))
  })

  it('that is read-only is reported at once', async () => {
    const [dataDir, directory] = [makeTempDirectory(), makeTempDirectory()]
    const child = startChildOnDisk({ directory, options: 'ro' }, 'read-only-disk', dataDir)
    await child.exited()
    expect(child.lines).toEqual([expect.stringMatching(/^SPOOL_UNAVAILABLE: spool directory .*read-only/)])
  })
})
