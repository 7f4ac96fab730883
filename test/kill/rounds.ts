/**
 * Kills producers at random moments under load, in rounds on one spool directory; each round adopts the spools that the
 * round before has left. Every event whose receipt was `stored` must be in ClickHouse afterwards, once.
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
import { type AuditTrailOptions, createAuditTrail } from '@agent-audit/producer'
import { openEmbeddedLogReader } from '@agent-audit/spool'
import { type DataDir, openDataDir } from '@agent-audit/embedded'
import * as fc from 'fast-check'
import { pino } from 'pino'
import { until } from '../support/wait.ts'

/** The order of a producer, as JSON in its argument. */
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
  /** Called after each round with the number of rounds so far. */
  readonly onRound?: (round: number) => void
}

export interface KillReport {
  readonly killed: number
  /** Decisions whose `stored` had resolved, of all producers. */
  readonly stored: number
  /** Of these: the decisions that ClickHouse does not have, and the copies that it has more than once. */
  readonly missing: number
  readonly repeated: number
  /** Copies that resends have made in the log, and that the consumer dropped. */
  readonly duplicates: number
  /** The verdict of the check of completeness on all rows. */
  readonly verdict: string
}

export const LOG = { topic: 'audit.events', groupId: 'audit-writer' }
export const PARTITIONS = 4
const PRODUCER = fileURLToPath(new URL('producer.ts', import.meta.url))
const WAIT = { timeoutMs: 120_000, pollMs: 50 }

/** A producer of a round, and the time of its kill: milliseconds after its first answer, or after its start if `early`. */
export const producerPlan = fc.record({
  delayMs: fc.nat({ max: 250 }),
  early: fc.boolean().chain((often) => (often ? fc.boolean() : fc.constant(false))),
  offline: fc.nat({ max: 3 }).map((draw) => draw === 0),
  fsync: fc.nat({ max: 3 }).map((draw) => draw === 0),
  burst: fc.integer({ min: 1, max: 600 }),
  bytes: fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 300 }), fc.nat({ max: 20_000 })),
})
const roundPlan = fc.array(producerPlan, { minLength: 1, maxLength: 2 })

/** Starts a ClickHouse, a consumer and an embedded log, runs the rounds on them, and removes all of them. */
export async function runKillRounds({ rounds, seed, onRound }: KillOptions): Promise<KillReport> {
  const directory = mkdtempSync(join(tmpdir(), 'kill-test-'))
  try {
    await using dataDir = await openDataDir(directory)
    await using consumer = await startConsumer(dataDir)
    const directories = { dataDir: dataDir.logDir, spoolDir: join(directory, 'spool') }
    const storedCounts = new Map<string, number>()
    for (const [round, plans] of fc.sample(roundPlan, { numRuns: rounds, seed }).entries()) {
      // In every second round a producer cannot know the number of partitions without asking the log.
      if (round % 2 === 0) forgetPartitions(directories.spoolDir)
      await Promise.all(
        plans.map(async ({ delayMs, early, ...plan }, index) => {
          const order: ProducerOrder = { ...plan, ...directories, sessionId: `killed-${round}-${index}` }
          const { stored } = await runAndKill(order, { delayMs, early, env: process.env })
          storedCounts.set(order.sessionId, stored)
        }),
      )
      consumer.check()
      onRound?.(round + 1)
    }
    await drainSpools(directories)
    await untilAllIsWritten(dataDir, () => consumer.check())
    return await judge(dataDir, storedCounts)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function forgetPartitions(spoolDir: string): void {
  const directory = join(spoolDir, LOG.topic)
  if (!existsSync(directory)) return
  for (const name of readdirSync(directory)) if (name.endsWith('.partitions')) rmSync(join(directory, name))
}

async function startConsumer(dataDir: DataDir): Promise<AsyncDisposable & { check(): void }> {
  const sourceId = makeEmbeddedTopic(dataDir.logDir, LOG, PARTITIONS)
  await using admin = connectAnalytics(dataDir.admin)
  await registerLog(admin, { sourceId, topic: LOG.topic, consumerGroup: LOG.groupId })
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

/** @returns The number of decisions that it reported as stored, and its run, if it began. */
export async function runAndKill(
  order: ProducerOrder,
  { delayMs, early, env }: { delayMs: number; early: boolean; env: NodeJS.ProcessEnv },
): Promise<{ stored: number; runId: string | undefined }> {
  const args = ['--conditions=agent-audit-source', PRODUCER, JSON.stringify(order)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], env })
  try {
    const closed = once(child, 'close')
    let stored = 0
    let runId: string | undefined
    const begun = Promise.withResolvers<void>()
    const lines = createInterface({ input: child.stdout })
    const read = once(lines, 'close')
    lines.on('line', (line) => {
      const [word, count] = line.split(' ')
      if (word === 'stored') stored = Number(count)
      else runId = count
      if (early || word === 'stored') begun.resolve()
    })
    await Promise.race([begun.promise, closed])
    // Not a wait for an event: the seed draws the moment of the kill.
    await sleep(delayMs)
    if (child.exitCode !== null) throw new Error(`a producer ended by itself with exit code ${child.exitCode}`)
    child.kill('SIGKILL')
    await Promise.all([closed, read])
    return { stored, runId }
  } finally {
    child.kill('SIGKILL')
  }
}

/** Starts the next producer on the directory, and waits until it has sent all spools. */
export async function drainSpools(options: Partial<AuditTrailOptions> & { spoolDir: string }): Promise<void> {
  const { spoolDir } = options
  const trail = createAuditTrail({ agentId: 'next', ...options, handleExit: false })
  const spools = (): string[] => readdirSync(join(spoolDir, LOG.topic)).filter((name) => name.endsWith('.spool'))
  // Its own spool stays until it is closed.
  await until('the spools are drained', () => spools().length <= 1 || undefined, WAIT)
  await trail.close()
  if (spools().length > 0) throw new Error(`left behind: ${spools().join(', ')}`)
}

async function untilAllIsWritten(dataDir: DataDir, check: () => void): Promise<void> {
  await using analytics = connectAnalytics(dataDir.reader)
  const log = openEmbeddedLogReader({ directory: dataDir.logDir })
  const partitions = Array.from({ length: PARTITIONS }, (_, partition) => partition)
  const end = partitions.reduce((sum, partition) => sum + log.bounds(LOG.topic, partition).end, 0)
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

async function judge(dataDir: DataDir, storedCounts: ReadonlyMap<string, number>): Promise<KillReport> {
  await using analytics = connectAnalytics(dataDir.reader)
  const number = `toUInt32(splitByChar(' ', assumeNotNull(reasoning))[1])`
  const rows = await analytics.rows<{ session_id: string; numbers: number[] }>(
    `SELECT session_id, groupArray(${number}) AS numbers FROM audit.audit_events
     WHERE event_type = 'decision' GROUP BY session_id`,
  )
  const stored = new Map(rows.map(({ session_id: id, numbers }) => [id, numbers.map(Number)]))
  let [missing, repeated] = [0, 0]
  for (const [id, count] of storedCounts) {
    const numbers = stored.get(id) ?? []
    const different = new Set(numbers)
    for (let index = 0; index < count; index++) if (!different.has(index)) missing++
    repeated += numbers.length - different.size
  }
  const { verdict, skipped } = await completeness(analytics)
  const total = [...storedCounts.values()].reduce((sum, count) => sum + count, 0)
  return { killed: storedCounts.size, stored: total, missing, repeated, duplicates: skipped.duplicate, verdict }
}
