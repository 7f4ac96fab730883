/** A store that stops answering stops the flow: it does not fill the consumer's memory. */
import { readFileSync } from 'node:fs'
import { completeness, connectAnalytics } from '@agent-audit/analytics'
import { kafkaAvailability } from '@agent-audit/stack'
import { expect, it } from 'vitest'
import { accountOf, environmentOf, openOnKafka, openStore } from '../consumer/support.ts'
import { startConsumerProcess } from '../support/consumer-process.ts'
import { openGate } from '../support/gate.ts'
import { readMetric } from '../support/metrics.ts'
import { encodeRecord, makeRecord } from '../support/records.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

const PARTITIONS = 64
const EVENTS_EACH = 5000
const MAX_RSS_MB = 350
const WAIT = { timeout: 120_000, interval: 200 }

/** The most memory a process has held, millions of bytes. */
function peakRssMb(pid: number): number {
  return (Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024) / 1e6
}

const store = await openStore()
const kafka = kafkaAvailability()
if (kafka.available) {
  const { brokers } = await sharedKafka()

  it(`holds at most ${MAX_RSS_MB} MB with ${PARTITIONS} partitions, and catches up`, { timeout: 240_000 }, async () => {
    const log = await openOnKafka(brokers)(store, { partitions: PARTITIONS })
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const text = { output_text: 'w'.repeat(200) }
      const record = (_: unknown, seq: number): Buffer => encodeRecord(makeRecord(`run ${partition}`, seq, text))
      await log.append(partition, Array.from({ length: EVENTS_EACH }, record))
    }
    const gate = await openGate(store.dataDir.writer.url)
    gate.open()
    const consumer = startConsumerProcess({
      ...environmentOf(store, log),
      CLICKHOUSE_URL: gate.url,
      // Blocks that are cut young stay small, and memory is never tight.
      BATCH_MAX_AGE_MS: '5000',
      LOG_LEVEL: 'info',
      // The server answers again before an insert is given up, or a query, after 30 s. Where a busy machine loses an answer all
      // the same, its partitions rest for the lease and the margin.
      INSERT_TIMEOUT_MS: '30000',
      LEASE_MS: '40000',
      SESSION_TIMEOUT_MS: '40000',
    })
    const url = await consumer.url()
    const metric = async (name: string): Promise<number | undefined> =>
      readMetric(await (await fetch(`${url}/metrics`)).text(), name)
    await expect.poll(async () => (await accountOf(store, log)).events, { ...WAIT, interval: 1 }).toBeGreaterThan(0)
    gate.stall()
    await expect.poll(() => metric('audit_fetching_paused'), WAIT).toBe(1)
    expect(await metric('audit_buffered_bytes')).toBeLessThan(80 * 2 ** 20)
    expect((await accountOf(store, log)).events).toBeLessThan(PARTITIONS * EVENTS_EACH)
    gate.open()
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: PARTITIONS * EVENTS_EACH, skipped: {} })
    expect(peakRssMb(consumer.pid)).toBeLessThan(MAX_RSS_MB)
    await using analytics = connectAnalytics(store.dataDir.reader)
    expect((await completeness(analytics)).verdict).toBe('complete')
  })
} else it.skip(`back-pressure on Kafka: ${kafka.reason}`)
