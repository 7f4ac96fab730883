/**
 * Producers killed at random moments under load, one round after the other on one spool directory, each round taking over
 * what the one before has left. What a producer was told is stored must be in ClickHouse afterwards, once.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { completeness, connectAnalytics, registerLog } from '@agent-audit/analytics'
import { createConsumer, makeEmbeddedTopic, readSettings } from '@agent-audit/consumer'
import { createAuditTrail } from '@agent-audit/producer'
import { openEmbeddedLogReader } from '@agent-audit/spool'
import { type DataDir, openDataDir } from '@agent-audit/embedded'
import * as fc from 'fast-check'
import { pino } from 'pino'
import { until } from '../support/wait.ts'

/** What a producer is to do, as JSON in its argument. */
export interface ProducerOrder {
  readonly sessionId: string
  readonly spoolDir: string
  readonly dataDir: string
  /** Whether its broker is out of reach. */
  readonly offline: boolean
  readonly fsync: boolean
  /** Decisions recorded at once before it waits for their receipts, and their size. */
  readonly burst: number
  readonly bytes: number
}

export interface KillOptions {
  readonly rounds: number
  readonly seed: number
  /** Told after each round. */
  readonly onRound?: (round: number) => void
}

export interface KillReport {
  readonly killed: number
  /** Decisions whose `stored` had resolved, of all producers. */
  readonly stored: number
  /** Of these: in ClickHouse not at all, and more than once. */
  readonly missing: number
  readonly repeated: number
  /** Copies that resends have made in the log, and that the consumer left out. */
  readonly duplicates: number
  /** Of all that is in ClickHouse. */
  readonly verdict: string
}

const PLACE = { topic: 'audit.events', groupId: 'audit-writer' }
const PARTITIONS = 4
const PRODUCER = fileURLToPath(new URL('producer.ts', import.meta.url))
const WAIT = { timeoutMs: 120_000, pollMs: 50 }

/** A producer of a round, and when it is killed: milliseconds after its first answer, or after its start if `early`. */
const producerPlan = fc.record({
  delayMs: fc.nat({ max: 250 }),
  early: fc.boolean().chain((often) => (often ? fc.boolean() : fc.constant(false))),
  offline: fc.nat({ max: 3 }).map((draw) => draw === 0),
  fsync: fc.nat({ max: 3 }).map((draw) => draw === 0),
  burst: fc.integer({ min: 1, max: 600 }),
  bytes: fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 300 }), fc.nat({ max: 20_000 })),
})
const roundPlan = fc.array(producerPlan, { minLength: 1, maxLength: 2 })

/** Starts a ClickHouse, a consumer and an embedded log, runs the rounds on them, and removes all of it again. */
export async function runKillRounds({ rounds, seed, onRound }: KillOptions): Promise<KillReport> {
  const directory = mkdtempSync(join(tmpdir(), 'kill-test-'))
  try {
    await using dataDir = await openDataDir(directory)
    await using consumer = await startConsumer(dataDir)
    const places = { dataDir: dataDir.logDir, spoolDir: join(directory, 'spool') }
    const told = new Map<string, number>()
    for (const [round, plans] of fc.sample(roundPlan, { numRuns: rounds, seed }).entries()) {
      // In every second round a producer cannot know the number of partitions without asking the log.
      if (round % 2 === 0) forgetPartitions(places.spoolDir)
      await Promise.all(
        plans.map(async ({ delayMs, early, ...plan }, index) => {
          const order: ProducerOrder = { ...plan, ...places, sessionId: `killed-${round}-${index}` }
          told.set(order.sessionId, await runAndKill(order, { delayMs, early }))
        }),
      )
      consumer.check()
      onRound?.(round + 1)
    }
    await drainSpools(places)
    await untilAllIsWritten(dataDir, () => consumer.check())
    return await judge(dataDir, told)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function forgetPartitions(spoolDir: string): void {
  const directory = join(spoolDir, PLACE.topic)
  if (!existsSync(directory)) return
  for (const name of readdirSync(directory)) if (name.endsWith('.partitions')) rmSync(join(directory, name))
}

async function startConsumer(dataDir: DataDir): Promise<AsyncDisposable & { check(): void }> {
  const sourceId = makeEmbeddedTopic(dataDir.logDir, PLACE, PARTITIONS)
  await using admin = connectAnalytics(dataDir.admin)
  await registerLog(admin, { sourceId, topic: PLACE.topic, consumerGroup: PLACE.groupId })
  const { url, username, password } = dataDir.writer
  const environment = { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
  const consumer = createConsumer(
    readSettings({ ...environment, AUDIT_DATA_DIR: dataDir.logDir }),
    pino({ level: 'warn' }),
  )
  const drain = new AbortController()
  let failure: unknown
  const running = consumer.run(drain.signal).catch((error: unknown) => (failure = error))
  const check = (): void => {
    if (failure !== undefined) throw new Error('the consumer has stopped', { cause: failure })
  }
  return {
    check,
    async [Symbol.asyncDispose]() {
      drain.abort()
      await running
      check()
    },
  }
}

/** @returns How many decisions it said are stored. */
async function runAndKill(
  order: ProducerOrder,
  { delayMs, early }: { delayMs: number; early: boolean },
): Promise<number> {
  const args = ['--conditions=agent-audit-source', PRODUCER, JSON.stringify(order)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    const closed = once(child, 'close')
    let stored = 0
    const begun = Promise.withResolvers<void>()
    const lines = createInterface({ input: child.stdout })
    const read = once(lines, 'close')
    lines.on('line', (line) => {
      const [word, count] = line.split(' ')
      if (word === 'stored') stored = Number(count)
      if (early || word === 'stored') begun.resolve()
    })
    await Promise.race([begun.promise, closed])
    // Not a wait for anything: the moment of the kill is drawn.
    await sleep(delayMs)
    if (child.exitCode !== null) throw new Error(`a producer ended by itself with exit code ${child.exitCode}`)
    child.kill('SIGKILL')
    await Promise.all([closed, read])
    return stored
  } finally {
    child.kill('SIGKILL')
  }
}

/** The next start on the directory. */
async function drainSpools({ dataDir, spoolDir }: { dataDir: string; spoolDir: string }): Promise<void> {
  const trail = createAuditTrail({ agentId: 'next', dataDir, spoolDir, handleExit: false })
  const spools = (): string[] => readdirSync(join(spoolDir, PLACE.topic)).filter((name) => name.endsWith('.spool'))
  // Its own stays until it is closed.
  await until('the spools are drained', () => spools().length <= 1 || undefined, WAIT)
  await trail.close()
  if (spools().length > 0) throw new Error(`left behind: ${spools().join(', ')}`)
}

async function untilAllIsWritten(dataDir: DataDir, check: () => void): Promise<void> {
  await using analytics = connectAnalytics(dataDir.reader)
  const log = openEmbeddedLogReader({ directory: dataDir.logDir })
  const partitions = Array.from({ length: PARTITIONS }, (_, partition) => partition)
  const end = partitions.reduce((sum, partition) => sum + log.bounds(PLACE.topic, partition).end, 0)
  log.close()
  const isWritten = async (): Promise<true | undefined> => {
    check()
    const [row] = await analytics.rows<{ n: string }>(
      'SELECT (SELECT count() FROM audit.audit_events) + (SELECT count() FROM audit.audit_skipped) AS n',
    )
    return Number(row?.n) >= end || undefined
  }
  await until(`the consumer has written all ${end} offsets`, isWritten, WAIT)
}

async function judge(dataDir: DataDir, told: ReadonlyMap<string, number>): Promise<KillReport> {
  await using analytics = connectAnalytics(dataDir.reader)
  const number = `toUInt32(splitByChar(' ', assumeNotNull(reasoning))[1])`
  const rows = await analytics.rows<{ session_id: string; numbers: number[] }>(
    `SELECT session_id, groupArray(${number}) AS numbers FROM audit.audit_events
     WHERE event_type = 'decision' GROUP BY session_id`,
  )
  const stored = new Map(rows.map(({ session_id: id, numbers }) => [id, numbers.map(Number)]))
  let [missing, repeated] = [0, 0]
  for (const [id, count] of told) {
    const numbers = stored.get(id) ?? []
    const different = new Set(numbers)
    for (let index = 0; index < count; index++) if (!different.has(index)) missing++
    repeated += numbers.length - different.size
  }
  const { verdict, skipped } = await completeness(analytics)
  const total = [...told.values()].reduce((sum, count) => sum + count, 0)
  return { killed: told.size, stored: total, missing, repeated, duplicates: skipped.duplicate, verdict }
}
