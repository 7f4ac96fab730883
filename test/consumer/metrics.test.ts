/** What the consumer counts for an operator: each count is there from the first look on, at zero. */
import { describe, expect, it } from 'vitest'
import { serveHttp } from '@agent-audit/consumer'
import { readMetric } from '../support/metrics.ts'
import { encodeRecord, encodeRun, makeRecord } from '../support/records.ts'
import { openGate } from '../support/gate.ts'
import { accountOf, environmentOf, openLogKinds, openStore, type Running, runConsumer } from './support.ts'

const store = await openStore()
const WAIT = { timeout: 40_000, interval: 100 }

async function metric({ consumer }: Running, name: string, label?: string): Promise<number | undefined> {
  return readMetric(await consumer.metrics.registry.metrics(), name, label)
}

describe.each(await openLogKinds())('on %s', (name, openLog) => {
  it('counts stored reports of lost events, and no other event', async () => {
    const log = await openLog(store)
    const running = runConsumer(environmentOf(store, log))
    await expect.poll(() => metric(running, 'audit_loss_reports_total'), WAIT).toBe(0)
    const lost = encodeRecord(makeRecord('a', 10, { event_type: 'events_lost' }))
    const alike = encodeRecord(makeRecord('a', 11, { event_type: 'tool_result' }))
    await log.append(0, [...encodeRun('a', 0, 9), lost, alike])
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 12, skipped: {} })
    await expect.poll(() => metric(running, 'audit_loss_reports_total'), WAIT).toBe(1)
    expect(await metric(running, 'audit_events_stored_total')).toBe(12)
  })

  it('shows each kind of count of a partition at zero before anything was counted', async () => {
    const log = await openLog(store)
    const running = runConsumer(environmentOf(store, log))
    const counts = [
      ...['duplicate', 'dead', 'hole'].map((kind) => ['audit_records_skipped_total', `kind="${kind}"`]),
      ...['refused', 'bad-data', 'unclear', 'missing'].map((kind) => ['audit_inserts_not_stored_total', `"${kind}"`]),
      ...['audit_conflicts_total', 'audit_events_stored_total'].map((counter) => [counter, log.topic]),
    ]
    for (const [counter = '', label] of counts) await expect.poll(() => metric(running, counter, label), WAIT).toBe(0)
  })

  it('says as a metric what /readyz says', { timeout: 90_000 }, async () => {
    const log = await openLog(store)
    const gate = await openGate(store.dataDir.writer.url)
    gate.open()
    const running = runConsumer({ ...environmentOf(store, log), CLICKHOUSE_URL: gate.url })
    const http = await serveHttp(running.consumer, '127.0.0.1', 0)
    const both = async (): Promise<unknown[]> => {
      const { status } = await fetch(`${http.url}/readyz`)
      const text = await (await fetch(`${http.url}/metrics`)).text()
      return [status, readMetric(text, 'audit_ready')]
    }
    await expect.poll(both, WAIT).toEqual([200, 1])
    await log.append(0, encodeRun('a', 0, 9))
    gate.shut()
    await expect.poll(both, WAIT).toEqual([503, 0])
    http.close()
  })

  it('counts the times that it joined its group', { timeout: 90_000 }, async () => {
    const log = await openLog(store, { partitions: 2 })
    const first = runConsumer(environmentOf(store, log))
    await expect.poll(() => metric(first, 'audit_group_joins_total'), WAIT).toBe(1)
    if (name !== 'Kafka') return
    const second = runConsumer(environmentOf(store, log))
    await expect.poll(() => metric(second, 'audit_group_joins_total'), WAIT).toBeGreaterThan(0)
    await expect.poll(() => metric(first, 'audit_group_joins_total'), WAIT).toBeGreaterThan(1)
  })
})

it('tells what the process uses, CPU time as a counter that never falls', async () => {
  const { createConsumer, readSettings } = await import('@agent-audit/consumer')
  const { pino } = await import('pino')
  const consumer = createConsumer(readSettings({ AUDIT_DATA_DIR: 'none' }), pino({ level: 'silent' }))
  const read = async (of: string): Promise<number> => readMetric(await consumer.metrics.registry.metrics(), of) ?? -1
  const before = await read('process_cpu_seconds_total')
  const { user, system } = process.cpuUsage()
  expect(before).toBeGreaterThan(0)
  expect(before).toBeLessThanOrEqual((user + system) / 1e6)
  expect(await read('process_cpu_seconds_total')).toBeGreaterThanOrEqual(before)
  expect(await read('process_resident_memory_bytes')).toBeGreaterThan(2 ** 20)
  expect(await read('process_start_time_seconds')).toBeLessThan(Date.now() / 1000)
})
