import { renameSync } from 'node:fs'
import { join } from 'node:path'
import type { TrailError } from '@agent-audit/producer'
import { openEmbeddedLog } from '@agent-audit/spool'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { startChild } from '../process/run-program.ts'
import { NO_BROKER, openTrail, readRows, rememberEmbeddedLog, sessionRows } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

describe('a receipt', () => {
  it.each([4, 600])(
    'acked gives the topic, partition and offset of the record, with %i partitions',
    async (partitions) => {
      const dataDir = makeTempDirectory()
      const log = openEmbeddedLog({ directory: dataDir })
      log.createTopic('audit.events', partitions)
      log.close()
      const trail = openTrail({ dataDir })
      const sessions = Array.from({ length: partitions / 2 }, () => trail.startSession())
      const receipts = Array.from({ length: 1200 }, (_, index) =>
        sessions[index % sessions.length]?.decision({ reasoning: `${index}` }),
      )
      const positions = await Promise.all(
        receipts.map((receipt) => receipt?.acked ?? Promise.reject(new Error('no session'))),
      )
      const rows = new Map(readRows(dataDir).map((row) => [row.event_id, row]))
      for (const [index, receipt] of receipts.entries()) {
        const row = rows.get(receipt?.event_id ?? '')
        expect(positions[index]).toEqual({ topic: 'audit.events', partition: row?.partition, offset: row?.offset })
      }
    },
  )

  it('stored resolves at the chosen durability: disk and memory without a broker, broker only with one', async () => {
    const spoolDir = makeTempDirectory()
    const trail = openTrail({ ...NO_BROKER, spoolDir })
    const session = trail.startSession()
    await session.decision({ reasoning: 'disk' }).stored
    await session.decision({ reasoning: 'memory' }, { durability: 'memory' }).stored
    const broker = session.decision({ reasoning: 'broker' }, { durability: 'broker' })
    await session.decision({ reasoning: 'later' }).stored
    let settled = false
    void broker.stored.then(() => (settled = true))
    await session.decision({ reasoning: 'later still' }).stored
    expect(settled).toBe(false)
    expect(await trail.close({ timeoutMs: 0 })).toMatchObject({ acked: 0, pending: 8, refused: 0 })
  })

  it('is not a promise, so an ignored receipt cannot reject', () => {
    const trail = openTrail({ dataDir: makeTempDirectory() })
    expect(trail.startSession().decision({ reasoning: 'r' })).not.toHaveProperty('then')
  })

  it('makes its promises when they are read', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    const receipt = trail.startSession().decision({ reasoning: 'r' })
    expect(Object.keys(receipt)).toEqual(['event_id'])
    await trail.flush()
    await expect(receipt.stored).resolves.toBeUndefined()
    await expect(receipt.acked).resolves.toMatchObject({ topic: 'audit.events' })
  })
})

describe('a refused event whose receipt is ignored', () => {
  it.each(['unread', 'read'])('causes no unhandled rejection: promises %s', async (how) => {
    const child = startChild('drop-receipts', makeTempDirectory(), how)
    expect(await child.exited()).toEqual({ code: 0, signal: null, stderr: '' })
    expect(child.lines).toEqual(['refused, and alive'])
  })
})

describe('a stored event', () => {
  it('is sent by the next trail on the directory, exactly as recorded, when its process is killed', async () => {
    const dataDir = makeTempDirectory()
    const spoolDir = join(dataDir, 'spool')
    const child = startChild('record-forever', dataDir)
    await child.printed(300)
    await child.kill('SIGKILL')
    const trail = openTrail({ dataDir, spoolDir })
    const delivered = (): Set<string> => new Set(readRows(dataDir).map((row) => row.event_id))
    await vi.waitFor(() => expect(delivered()).toEqual(new Set([...delivered(), ...child.lines])), { timeout: 20_000 })
    await expect.poll(() => trail.stats().adopted).toBeGreaterThanOrEqual(child.lines.length)
    await trail.close()
    const rows = readRows(dataDir).filter((row) => row['run_id'] !== trail.runId)
    expect(rows.map((row) => row.run_seq)).toEqual(rows.map((_, index) => index))
    const decisions = rows.filter((row) => row.event_type === 'decision')
    expect(decisions.map((row) => row['reasoning'])).toEqual(
      decisions.map((_, at) => `${Math.floor(at / 20)}.${at % 20}`),
    )
  })

  it.each([
    ['the directory is new', () => {}],
    ['the number of partitions is known', rememberEmbeddedLog],
  ])(
    'waits on disk while there is no broker, also when memory is full, and goes out in order: %s',
    async (_known, prepare) => {
      const dataDir = makeTempDirectory()
      const spoolDir = join(dataDir, 'spool')
      prepare(spoolDir, dataDir)
      const trail = openTrail({ ...NO_BROKER, spoolDir, maxRecordBytes: 2 ** 20 })
      const session = trail.startSession({ session_id: 's1' })
      // 24 MB: three times what delivery keeps in memory.
      for (let index = 0; index < 240; index++) {
        await session.decision({ reasoning: `${index} ${'x'.repeat(100_000)}` }).stored
      }
      expect(await trail.close({ timeoutMs: 0 })).toMatchObject({ acked: 0, refused: 0 })
      const next = openTrail({ dataDir, spoolDir })
      await expect.poll(() => next.stats().adopted, { timeout: 20_000 }).toBe(243)
      const decisions = sessionRows(dataDir).slice(1)
      expect(decisions.map((row) => parseInt(String(row['reasoning']), 10))).toEqual(decisions.map((_, index) => index))
      const offsets = decisions.map((row) => row.offset)
      expect(offsets).toEqual(offsets.toSorted((one, other) => one - other))
    },
  )
})

describe('an event that finds no room', () => {
  it('rejects with BUFFER_FULL when memory is full, and an events_lost event explains the gap', async () => {
    const dataDir = makeTempDirectory()
    const problems: TrailError[] = []
    const onProblem = (problem: TrailError): void => void problems.push(problem)
    const trail = openTrail({ dataDir, durability: 'memory', maxBufferBytes: 2 ** 20, onProblem })
    const session = trail.startSession()
    const receipts = Array.from({ length: 30 }, (_, index) =>
      session.decision({ reasoning: `${index} ${'x'.repeat(60_000)}` }),
    )
    const outcomes = await Promise.allSettled(receipts.map((receipt) => receipt.stored))
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected')
    expect(refused.length).toBeGreaterThan(0)
    for (const { reason } of refused) expect(reason).toMatchObject({ code: 'BUFFER_FULL', retryable: true })
    expect(problems.map((problem) => problem.code)).toEqual(['BUFFER_FULL']) // Reported once a second, not thirty times.
    await trail.writable()
    await session.decision({ reasoning: 'there is room again' }).stored
    expect(await trail.close()).toMatchObject({ refused: refused.length, pending: 0 })
    const rows = readRows(dataDir)
    const lost = rows.find((row) => row.event_type === 'events_lost')?.['content'] as {
      first_run_seq: number
      last_run_seq: number
      count: number
    }
    expect(lost.count).toBe(refused.length)
    const present = new Set(rows.map((row) => row.run_seq))
    const missing = Array.from({ length: Math.max(...present) }, (_, seq) => seq).filter((seq) => !present.has(seq))
    expect(missing).toEqual(Array.from({ length: lost.count }, (_, index) => lost.first_run_seq + index))
    expect(missing.at(-1)).toBe(lost.last_run_seq)
  })

  it('rejects with SPOOL_FULL when the disk is full and the caller chose refuse', async () => {
    const spoolDir = makeTempDirectory()
    const trail = openTrail({ ...NO_BROKER, spoolDir, spoolMaxBytes: 2 ** 20, onFull: 'refuse' })
    const session = trail.startSession()
    const outcomes = []
    for (let index = 0; index < 15; index++) {
      outcomes.push(
        await session.decision({ reasoning: 'x'.repeat(100_000) }).stored.then(
          () => 'stored',
          (error: TrailError) => error.code,
        ),
      )
    }
    expect(outcomes.slice(0, 9)).toEqual(Array(9).fill('stored'))
    expect(outcomes.slice(-3)).toEqual(['SPOOL_FULL', 'SPOOL_FULL', 'SPOOL_FULL'])
    await trail.close({ timeoutMs: 0 })
  })

  it('waits when the disk is full and the caller chose wait, and is stored once there is room', async () => {
    const dataDir = makeTempDirectory()
    // A transaction holds the embedded log, so the trail cannot send.
    const blocker = openEmbeddedLog({ directory: dataDir })
    blocker.createTopic('audit.events', 1)
    const { DatabaseSync } = await import('node:sqlite')
    const lock = new DatabaseSync(blocker.file)
    lock.exec('BEGIN IMMEDIATE')
    onTestFinished(() => blocker.close())
    const trail = openTrail({ dataDir, spoolMaxBytes: 2 ** 20, onProblem: () => {} })
    const session = trail.startSession()
    const receipts = Array.from({ length: 15 }, () => session.decision({ reasoning: 'x'.repeat(100_000) }))
    await receipts[5]?.stored
    let last = false
    void receipts.at(-1)?.stored.then(() => (last = true))
    await expect.poll(() => trail.stats().spoolBytes).toBeGreaterThan(900_000)
    expect(last).toBe(false)
    lock.exec('ROLLBACK')
    lock.close()
    await Promise.all(receipts.map((receipt) => receipt.acked))
    expect(sessionRows(dataDir)).toHaveLength(16)
  })
})

it('a trail sends the records of an adopted spool to the topic that the spool names', async () => {
  const dataDir = makeTempDirectory()
  const spoolDir = join(dataDir, 'spool')
  const other = openTrail({ ...NO_BROKER, spoolDir, topic: 'other.events' })
  await other.startSession().decision({ reasoning: 'elsewhere' }).stored
  await other.close({ timeoutMs: 0 })
  renameSync(join(spoolDir, 'other.events'), join(spoolDir, 'audit.events'))
  const trail = openTrail({ dataDir, spoolDir })
  await expect.poll(() => trail.stats().adopted, { timeout: 20_000 }).toBe(4)
  expect(await trail.close()).toMatchObject({ pending: 0 })
  expect(readRows(dataDir, 'other.events').map((row) => row['run_id'])).toEqual(Array(4).fill(other.runId))
  expect(readRows(dataDir).map((row) => row['run_id'])).toEqual(Array(2).fill(trail.runId))
})
