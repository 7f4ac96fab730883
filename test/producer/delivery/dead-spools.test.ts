/** The spools of dead runs beside this run's own events: large ones, unreadable ones, and those of a missing topic. */
import { randomUUID } from 'node:crypto'
import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { AuditTrailOptions, TrailError } from '@agent-audit/producer'
import { openEmbeddedLog } from '@agent-audit/spool'
import { kafkaAvailability } from '@agent-audit/stack'
import { describe, expect, it, vi } from 'vitest'
import { holdEmbeddedLog } from './hold-embedded-log.ts'
import { connectKafka, makeTopic, readMessages } from '../../support/kafka-topic.ts'
import { sharedKafka } from '../../support/shared-kafka.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { startChildWith } from '../process/run-program.ts'
import { openTrail, readRows, rememberEmbeddedLog, rowsOf } from '../support.ts'

const TOPIC = 'audit.events'
/** Nothing listens there. */
const NOWHERE = { brokers: ['127.0.0.1:1'], onProblem: () => {} }
const BIG = 'x'.repeat(100_000)

/** Leaves the spool of a dead run: `decisions` events besides its first and last ones. @returns its run_id. */
async function leaveRun(options: Partial<AuditTrailOptions>, decisions: number, reasoning = 'left'): Promise<string> {
  const trail = openTrail({ ...NOWHERE, maxRecordBytes: 2 ** 20, ...options })
  const session = trail.startSession({ session_id: 'dead' })
  for (let index = 0; index < decisions; index++) {
    const { stored } = session.decision({ reasoning: `${index} ${reasoning}` })
    if (index % 20 === 0) await stored
  }
  await trail.close({ timeoutMs: 0 })
  return trail.runId
}

function onlySpoolIn(directory: string): string {
  return join(directory, readdirSync(directory).find((name) => name.endsWith('.spool')) ?? '')
}

describe('a large spool of a dead run', () => {
  it('does not hold up live events, and arrives whole and in order', async () => {
    const dataDir = makeTempDirectory()
    const spoolDir = join(dataDir, 'spool')
    const dead = await leaveRun({ spoolDir }, 400, BIG)
    const trail = openTrail({ dataDir, spoolDir })
    const live = trail.startSession({ session_id: 'live' })
    await live.decision({ reasoning: 'now' }).acked
    expect(trail.stats().adopted).toBeLessThan(403)
    await expect.poll(() => trail.stats().spoolBytes, { timeout: 20_000 }).toBe(0)
    expect(trail.stats().adopted).toBe(403)
    const rows = readRows(dataDir).filter((row) => row['run_id'] === dead)
    expect(rows.map((row) => row.run_seq)).toEqual(Array.from({ length: 403 }, (_, seq) => seq))
    const offsets = rows.filter(({ session_id }) => session_id === 'dead').map(({ offset }) => offset)
    expect(offsets).toEqual(offsets.toSorted((one, other) => one - other))
  })

  it('moves beside a large backlog of this run', async () => {
    const dataDir = makeTempDirectory()
    const spoolDir = join(dataDir, 'spool')
    await leaveRun({ spoolDir }, 50, BIG)
    const release = holdEmbeddedLog(dataDir, TOPIC)
    const trail = openTrail({ dataDir, spoolDir, maxRecordBytes: 2 ** 20, onProblem: () => {} })
    const live = trail.startSession({ session_id: 'live' })
    const receipts = Array.from({ length: 120 }, (_, index) => live.decision({ reasoning: `${index} ${BIG}` }))
    await Promise.all(receipts.map(({ stored }) => stored))
    release()
    await receipts[110]?.acked
    expect(trail.stats().adopted).toBeGreaterThan(0)
    await expect.poll(() => trail.stats().adopted, { timeout: 20_000 }).toBe(53)
    expect(await trail.close()).toMatchObject({ pending: 0, refused: 0 })
  })
})

describe('a spool of a dead run that cannot be read', () => {
  it('is stepped over, said, and sent once its content can be read', async () => {
    const dataDir = makeTempDirectory()
    const spoolDir = join(dataDir, 'spool')
    await leaveRun({ spoolDir }, 5)
    const directory = join(spoolDir, TOPIC)
    vi.stubEnv('UNREADABLE_SPOOLS', directory)
    writeFileSync(join(directory, 'unreadable'), '')
    const child = startChildWith(
      { module: new URL('unreadable-spool.ts', import.meta.url) },
      'beside-unreadable',
      dataDir,
    )
    await child.exited()
    expect(child.lines).toEqual([expect.stringContaining('disk I/O error'), 'adopted 0', 'adopted 8'])
  })

  it('is sent by the same run once it can be opened', async () => {
    const dataDir = makeTempDirectory()
    const spoolDir = join(dataDir, 'spool')
    await leaveRun({ spoolDir }, 5)
    const file = onlySpoolIn(join(spoolDir, TOPIC))
    setFormat(file, 99)
    const problems: TrailError[] = []
    const trail = openTrail({ dataDir, spoolDir, onProblem: (problem) => problems.push(problem) })
    await trail.startSession().decision({ reasoning: 'own' }).acked
    expect(problems[0]?.message).toContain('a later release')
    setFormat(file, 5)
    await expect.poll(() => trail.stats().adopted, { timeout: 20_000 }).toBe(8)
  })
})

/** The version of the format that the file says. */
function setFormat(file: string, version: number): void {
  const db = new DatabaseSync(file)
  db.exec(`PRAGMA user_version = ${version}`)
  db.close()
}

const availability = kafkaAvailability()
const reason = availability.available ? '' : ` (skipped: ${availability.reason})`

describe.skipIf(!availability.available)(`on a real Kafka${reason}`, () => {
  it('a spool whose topic is missing holds nothing up, is said, and is sent once its topic is there', async () => {
    const { brokers } = await sharedKafka()
    const client = connectKafka(brokers)
    const [topic, missing] = [await makeTopic(client, { numPartitions: 2 }), `missing-${randomUUID()}`]
    const spoolDir = makeTempDirectory()
    const dead = await leaveRun({ spoolDir, topic: missing }, 5)
    renameSync(join(spoolDir, missing), join(spoolDir, topic))
    const problems: string[] = []
    const trail = openTrail({ brokers, topic, spoolDir, onProblem: ({ message }) => problems.push(message) })
    expect(await trail.startSession().decision({ reasoning: 'own' }).acked).toMatchObject({ topic })
    await expect.poll(() => problems.join(), { timeout: 20_000 }).toContain(`has no topic ${missing}`)
    await makeTopic(client, { topic: missing, numPartitions: 2 })
    const messages = await readMessages(client, missing, (read) => read.length >= 8)
    expect(rowsOf(messages).map((row) => row['run_id'])).toEqual(Array(8).fill(dead))
  })
})

it('a topic with fewer partitions than records name: what it has a partition for is sent, the rest is set aside and named', async () => {
  const dataDir = makeTempDirectory()
  const spoolDir = join(dataDir, 'spool')
  rememberEmbeddedLog(spoolDir, dataDir, 64)
  const dead = openTrail({ ...NOWHERE, spoolDir })
  for (let index = 0; index < 100; index++) dead.startSession().decision({ reasoning: `${index}` })
  expect(await dead.close({ timeoutMs: 0 })).toMatchObject({ pending: 202 })
  const log = openEmbeddedLog({ directory: dataDir })
  log.createTopic(TOPIC, 32)
  log.close()
  const problems: TrailError[] = []
  const next = openTrail({ dataDir, spoolDir, onProblem: (problem) => problems.push(problem) })
  const session = next.startSession()
  await next.writable()
  await expect.poll(() => next.stats().connected).toBe(true)
  await session.decision({ reasoning: 'not held up' }).acked
  await expect.poll(() => next.stats().spoolBytes, { timeout: 30_000 }).toBe(0)
  expect(problems).toContainEqual(expect.objectContaining({ code: 'LOG_REPLACED', retryable: false }))
  await next.close()
  const rows = readRows(dataDir)
  const lost = rows
    .filter(({ event_type, ...row }) => event_type === 'events_lost' && row['reason'] === 'LOG_REPLACED')
    .map((row) => row['content'] as { run_id: string; first_run_seq: number; count: number; set_aside: string })
    .filter(({ run_id }) => run_id === dead.runId)
  const explained = lost.flatMap(({ first_run_seq, count }) =>
    Array.from({ length: count }, (_, at) => first_run_seq + at),
  )
  const sent = rows.filter((row) => row['run_id'] === dead.runId).map(({ run_seq }) => run_seq)
  expect(sent.length).toBeGreaterThan(50)
  expect([...sent, ...explained].toSorted((one, other) => one - other)).toEqual(
    Array.from({ length: 202 }, (_, seq) => seq),
  )
  for (const { set_aside } of lost) expect(existsSync(set_aside)).toBe(true)
})
