/** Lag and age of the oldest record that is not stored: known without a batch being stored, and only of owned partitions. */
import type { ConsumerParts } from '@agent-audit/consumer/pipeline'
import { describe, expect, it } from 'vitest'
import { openGate } from '../support/gate.ts'
import { readMetric } from '../support/metrics.ts'
import { encodeRun } from '../support/records.ts'
import { accountOf, environmentOf, openLogKinds, openStore, type Running, runConsumer } from './support.ts'

const store = await openStore()
const WAIT = { timeout: 40_000, interval: 100 }
const UNKNOWN = Buffer.from('c301aaaaaaaaaaaaaaaa', 'hex')

interface Lag {
  /** Sums over the partitions; undefined: there is no series. */
  readonly lag: number | undefined
  readonly age: number | undefined
}

async function lagOf({ consumer }: Running, partition?: number): Promise<Lag> {
  const text = await consumer.metrics.registry.metrics()
  const label = partition === undefined ? '' : `partition="${partition}"`
  return {
    lag: readMetric(text, 'audit_lag_records', label),
    age: readMetric(text, 'audit_oldest_record_age_seconds', label),
  }
}

const NOTHING_WAITS = { lag: 0, age: 0 }

/** A store that refuses every insert, for a reason other than its data. */
function refusing({ sink }: ConsumerParts): Partial<ConsumerParts> {
  return { sink: { ...sink, insert: () => Promise.resolve({ kind: 'refused', reason: 'too many parts' }) } }
}

describe.each(await openLogKinds())('on %s', (name, openLog) => {
  it(
    'rises while the store is out of reach and records arrive; is 0 once they are stored',
    { timeout: 120_000 },
    async () => {
      const log = await openLog(store)
      const gate = await openGate(store.dataDir.writer.url)
      gate.open()
      const running = runConsumer({ ...environmentOf(store, log), CLICKHOUSE_URL: gate.url })
      await log.append(0, encodeRun('a', 0, 9))
      await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 10, skipped: {} })
      await expect.poll(() => lagOf(running), WAIT).toEqual(NOTHING_WAITS)
      gate.shut()
      await log.append(0, encodeRun('a', 10, 14))
      await expect.poll(async () => (await lagOf(running)).lag, WAIT).toBe(5)
      await expect.poll(() => running.consumer.status.ready, WAIT).toBe(false)
      // By now it has left the group.
      await log.append(0, encodeRun('a', 15, 17))
      await expect.poll(async () => (await lagOf(running)).lag, WAIT).toBe(8)
      const { age = 0 } = await lagOf(running)
      await expect.poll(async () => (await lagOf(running)).age, WAIT).toBeGreaterThan(age + 1)
      gate.open()
      await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 18, skipped: {} })
      await expect.poll(() => lagOf(running), WAIT).toEqual(NOTHING_WAITS)
      await running.stop()
      expect(await lagOf(running)).toEqual({ lag: undefined, age: undefined })
    },
  )

  it('counts the age from the append of the oldest record, not from when the consumer saw it', async () => {
    const log = await openLog(store)
    const appendingAt = Date.now()
    await log.append(0, encodeRun('a', 0, 9))
    // The record must be old when the consumer starts.
    await expect.poll(() => Date.now() - appendingAt, WAIT).toBeGreaterThan(3000)
    const startedAt = Date.now()
    const running = runConsumer(environmentOf(store, log), refusing)
    // Age of the record when the consumer started. Counted from a poll, it would be 0 or less.
    const ageAtStart = async (): Promise<number> => ((await lagOf(running)).age ?? 0) * 1000 - (Date.now() - startedAt)
    await expect.poll(ageAtStart, WAIT).toBeGreaterThan(2500)
    expect(await ageAtStart()).toBeLessThan(startedAt - appendingAt + 100)
    expect((await lagOf(running)).lag).toBe(10)
  })

  it('counts what waits in a stopped partition', async () => {
    const log = await openLog(store)
    const unknown = encodeRun('b', 0, 4).map((value) => Buffer.concat([UNKNOWN, value.subarray(UNKNOWN.length)]))
    await log.append(0, [...encodeRun('a', 0, 4), ...unknown])
    const running = runConsumer({ ...environmentOf(store, log), DEAD_LETTER_MAX_CONSECUTIVE: '2' })
    await expect.poll(() => running.consumer.status.reason, WAIT).toContain('stopped')
    await log.append(0, encodeRun('a', 5, 10))
    await expect.poll(async () => (await lagOf(running)).lag, WAIT).toBe(9)
    expect((await lagOf(running)).age).toBeGreaterThan(0)
  })

  it('ends when another consumer stores what one that lost its store has left', { timeout: 90_000 }, async () => {
    const log = await openLog(store)
    const gate = await openGate(store.dataDir.writer.url)
    gate.open()
    const first = runConsumer({ ...environmentOf(store, log), CLICKHOUSE_URL: gate.url })
    await log.append(0, encodeRun('a', 0, 9))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 10, skipped: {} })
    gate.shut()
    await log.append(0, encodeRun('a', 10, 14))
    await expect.poll(() => first.consumer.status.ready, WAIT).toBe(false)
    await expect.poll(async () => (await lagOf(first)).lag, WAIT).toBe(5)
    const second = runConsumer(environmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 15, skipped: {} })
    await expect.poll(() => lagOf(second), WAIT).toEqual(NOTHING_WAITS)
    await expect.poll(() => lagOf(first), WAIT).toEqual({ lag: undefined, age: undefined })
  })

  if (name !== 'Kafka') return
  it('ends its series with the ownership of a partition', { timeout: 90_000 }, async () => {
    const log = await openLog(store, { partitions: 2 })
    const first = runConsumer(environmentOf(store, log))
    const seen = async (running: Running): Promise<boolean[]> =>
      [(await lagOf(running, 0)).lag, (await lagOf(running, 1)).lag].map((lag) => lag === 0)
    await expect.poll(() => seen(first), WAIT).toEqual([true, true])
    const second = runConsumer(environmentOf(store, log))
    await expect.poll(async () => (await seen(first)).filter(Boolean).length, WAIT).toBe(1)
    const [zero, one] = await seen(first)
    await expect.poll(() => seen(second), WAIT).toEqual([!zero, !one])
    await second.stop()
    await expect.poll(() => seen(first), WAIT).toEqual([true, true])
    expect(await lagOf(second)).toEqual({ lag: undefined, age: undefined })
  })
})
