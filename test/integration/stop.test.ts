/** A consumer that stops in the moment in which kafkajs makes its fetchers anew, since brokers came or went. */
import { kafkaAvailability, startKafka } from '@agent-audit/stack'
import { afterAll, describe, expect, it } from 'vitest'
import { accountOf, environmentOf, openOnKafka, openStore } from '../consumer/support.ts'
import { startConsumerProcess } from '../support/consumer-process.ts'
import { encodeRun } from '../support/records.ts'

const kafka = kafkaAvailability()
const reason = kafka.available ? '' : ` (skipped: ${kafka.reason})`

describe.skipIf(!kafka.available)(`a consumer that stops while brokers change${reason}`, async () => {
  if (!kafka.available) return
  const store = await openStore()
  const cluster = await startKafka()
  afterAll(() => cluster.stop())

  it('drains and ends: its event loop goes on turning', { timeout: 60_000 }, async () => {
    const log = await openOnKafka(cluster.brokers)(store, { partitions: 1 })
    const amid = new URL('../support/stop-amid-fetchers.ts', import.meta.url)
    const consumer = startConsumerProcess(environmentOf(store, log), amid)
    await log.append(0, encodeRun('stopped', 0, 99))
    await expect.poll(() => accountOf(store, log), { timeout: 30_000 }).toEqual({ events: 100, skipped: {} })
    expect(await consumer.kill('SIGTERM')).toBe(0)
  })
})
