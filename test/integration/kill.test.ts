/** The consumer as a process: killed while it writes, drained, watched over HTTP. Every event is stored once all the same. */
import { completeness, connectAnalytics } from '@agent-audit/analytics'
import { kafkaAvailability } from '@agent-audit/stack'
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import {
  accountOf,
  countEvents,
  environmentOf,
  openEmbedded,
  openOnKafka,
  openStore,
  type OpenLog,
  patientEnvironmentOf,
} from '../consumer/support.ts'
import { startConsumerProcess } from '../support/consumer-process.ts'
import { openGate } from '../support/gate.ts'
import { readMetric } from '../support/metrics.ts'
import { encodeRecord, encodeRun, makeRecord } from '../support/records.ts'
import { draw, takeSeed } from '../support/seed.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

const WAIT = { timeout: 60_000, interval: 50 }
const EVENTS_OF_RUN = 3000
const RESENT = 50
/** Small batches are many inserts, and so many moments between two of them; short leases are soon waited out. */
const QUICK = {
  BATCH_MAX_EVENTS: '50',
  LEASE_MS: '1500',
  INSERT_TIMEOUT_MS: '1000',
  CLOCK_MARGIN_MS: '100',
}

interface Kind {
  readonly name: string
  readonly openLog: OpenLog
  readonly rounds: number
  readonly sessionTimeoutMs: string
}

const store = await openStore()
const kinds: Kind[] = [{ name: 'the embedded log', openLog: openEmbedded, rounds: 5, sessionTimeoutMs: '1200' }]
const kafka = kafkaAvailability()
if (kafka.available) {
  const { brokers, attached } = await sharedKafka()
  const sessionTimeoutMs = attached ? '6000' : '3000'
  kinds.push({ name: 'Kafka', openLog: openOnKafka(brokers), rounds: 2, sessionTimeoutMs })
} else it.skip(`on Kafka: ${kafka.reason}`)

/** A run with some of its records sent again, and a tombstone after every 40th: batches with rows for both tables. */
function messagesOf(run: string): (Buffer | null)[] {
  const once = encodeRun(run, 0, EVENTS_OF_RUN - 1).flatMap((record, index) =>
    index % 40 === 39 ? [record, null] : [record],
  )
  return once.toSpliced(EVENTS_OF_RUN / 2, 0, ...encodeRun(run, 500, 500 + RESENT - 1))
}

async function expectComplete(): Promise<void> {
  await using analytics = connectAnalytics(store.dataDir.reader)
  const { verdict, partitions, runs } = await completeness(analytics)
  const uneven = [...partitions, ...runs].filter(({ missing, repeated }) => missing > 0 || repeated > 0)
  // Nothing is on its way any more: what may still come elsewhere is lost here.
  const findings = [...uneven, ...runs.filter(({ pending }) => pending.length > 0)]
  expect({ verdict, findings }).toEqual({ verdict: 'complete', findings: [] })
}

describe.each(kinds)('on $name', ({ name, openLog, rounds, sessionTimeoutMs }) => {
  it(`stores every event once, though it is killed ${rounds} times while it writes`, { timeout: 150_000 }, async () => {
    const moment = fc.record({
      share: fc.double({ min: 0, max: 0.7, noNaN: true }),
      delayMs: fc.nat({ max: 60 }),
    })
    const moments = draw(moment, rounds, takeSeed(`kill on ${name}`))
    const log = await openLog(store, { partitions: 2 })
    const runs = [`${name} a`, `${name} b`]
    for (const [partition, run] of runs.entries()) await log.append(partition, messagesOf(run))
    const total = runs.length * EVENTS_OF_RUN
    const stored = (): Promise<number> => countEvents(store, log)
    const environment = { ...environmentOf(store, log), ...QUICK, SESSION_TIMEOUT_MS: sessionTimeoutMs }
    for (const [round, { share, delayMs }] of moments.entries()) {
      const consumer = startConsumerProcess(environment)
      const target = Math.max(1, (total * (round + share)) / (rounds + 1))
      await expect.poll(stored, { ...WAIT, interval: 10 }).toBeGreaterThanOrEqual(target)
      // Not a wait for anything: the moment of the kill is drawn.
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      expect(await consumer.kill('SIGKILL')).toBe('SIGKILL')
      // Else it was killed when all was over, and nothing is shown.
      expect(await stored()).toBeLessThan(total)
    }
    startConsumerProcess(environment)
    const skipped = { dead: (runs.length * EVENTS_OF_RUN) / 40, duplicate: runs.length * RESENT }
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: total, skipped })
    await expectComplete()
  })

  it('drains on SIGTERM with exit code 0, and the next one need not wait for its lease', async () => {
    const log = await openLog(store)
    // The lease outlasts the test. Inserts and heartbeats may take long: one late answer would be a wait for that lease.
    const environment = { ...patientEnvironmentOf(store, log), BATCH_MAX_EVENTS: '50', LOG_LEVEL: 'info' }
    const run = `${name} drained`
    await log.append(0, encodeRun(run, 0, 299))
    const first = startConsumerProcess(environment)
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 300, skipped: {} })
    expect(await first.kill('SIGTERM')).toBe(0)
    expect(first.stdout).toContain('"msg":"drained"')
    await log.append(0, encodeRun(run, 300, 399))
    startConsumerProcess(environment)
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 400, skipped: {} })
    await expectComplete()
  })

  it('tells its health and its totals over HTTP, and nothing of the events in its log', async () => {
    const MARKER = `content-of-${name.replace(/\W/g, '-')}`
    const log = await openLog(store, { partitions: 2 })
    const fields = { reasoning: MARKER, user_id: MARKER, tool_input: JSON.stringify({ text: MARKER }) }
    const records = Array.from({ length: 150 }, (_, seq) => encodeRecord(makeRecord(`${name} seen`, seq, fields)))
    const broken = encodeRecord(makeRecord(`${name} broken`, 0, { ...fields, reason: 'findme' }))
    broken[broken.indexOf('findme')] = 0xff
    await log.append(0, [...records.slice(0, 100), broken, ...records.slice(90, 100)])
    await log.append(1, [...records.slice(100), Buffer.from(MARKER), null])
    const gate = await openGate(store.dataDir.writer.url)
    const consumer = startConsumerProcess({
      ...patientEnvironmentOf(store, log),
      CLICKHOUSE_URL: gate.url,
      LOG_LEVEL: 'trace',
    })
    const url = await consumer.url()
    const ask = async (path: string): Promise<[status: number, body: string]> => {
      const response = await fetch(`${url}${path}`)
      return [response.status, await response.text()]
    }
    expect(await ask('/healthz')).toEqual([200, 'ok\n'])
    await expect.poll(() => ask('/readyz'), WAIT).toEqual([503, expect.stringContaining(new URL(gate.url).host)])
    gate.open()
    await expect.poll(() => ask('/readyz'), WAIT).toEqual([200, 'consuming\n'])
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 150, skipped: { dead: 3, duplicate: 10 } })
    await vi.waitFor(async () => {
      const [, text] = await ask('/metrics')
      expect({
        stored: readMetric(text, 'audit_events_stored_total'),
        dead: readMetric(text, 'audit_records_skipped_total', 'kind="dead"'),
        duplicates: readMetric(text, 'audit_records_skipped_total', 'kind="duplicate"'),
        lag: readMetric(text, 'audit_lag_records'),
        batchEvents: readMetric(text, 'audit_batch_events_sum'),
        failed: readMetric(text, 'audit_inserts_not_stored_total'),
      }).toEqual({ stored: 150, dead: 3, duplicates: 10, lag: 0, batchEvents: 150, failed: 0 })
      // One insert may store both partitions' rows.
      expect(readMetric(text, 'audit_insert_seconds_count', 'table="audit_events"')).toBeGreaterThanOrEqual(1)
      expect(readMetric(text, 'audit_insert_partitions_sum', 'table="audit_events"')).toBeGreaterThanOrEqual(2)
      // One lease a partition.
      expect(readMetric(text, 'audit_commits_total', 'answer="acknowledged"')).toBeGreaterThanOrEqual(2)
    }, WAIT)
    expect(await consumer.kill('SIGTERM')).toBe(0)
    expect(consumer.stdout).toContain('"msg":"dead letters"')
    expect(consumer.stdout).toContain('"msg":"batch stored"')
    expect(`${consumer.stdout}${consumer.stderr}`).not.toContain(MARKER)
    await expectComplete()
  })
})

it('ends with exit code 64 for wrong settings, and names every one', async () => {
  const wrong = { KAFKA_BROKERS: 'kafka', CLICKHOUSE_URL: 'here', BATCH_MAX_EVENTS: 'many', LOG_LEVEL: 'loud' }
  const consumer = startConsumerProcess(wrong)
  expect(await consumer.exited).toBe(64)
  for (const setting of Object.keys(wrong)) expect(consumer.stderr).toContain(`${setting}: `)
  expect(consumer.stderr).not.toContain('    at ')
  expect(consumer.stdout).toBe('')
})
