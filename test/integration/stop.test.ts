/** A consumer that stops while its brokers do not do as they should. */
import { kafkaAvailability, startKafka } from '@agent-audit/stack'
import { afterAll, describe, expect, it } from 'vitest'
import { accountOf, environmentOf, openOnKafka, openStore } from '../consumer/support.ts'
import { type ConsumerProcess, startConsumerProcess } from '../support/consumer-process.ts'
import { type KafkaProxy, openKafkaProxy } from '../support/kafka-proxy.ts'
import { encodeRun } from '../support/records.ts'

const kafka = kafkaAvailability()
const named =
  process.env['KAFKA_BROKERS'] === undefined ? '' : ' (skipped: needs nodes of its own, unset KAFKA_BROKERS)'
const reason = kafka.available ? named : ` (skipped: ${kafka.reason})`

describe.skipIf(reason !== '')(`a consumer that stops${reason}`, async () => {
  if (reason !== '') return
  const store = await openStore()
  const proxies: KafkaProxy[] = []
  const cluster = await startKafka({
    advertise: async (address) => {
      const proxy = await openKafkaProxy(address, afterAll)
      proxies.push(proxy)
      return proxy.address
    },
  })
  afterAll(() => cluster.stop())

  /** One that has just stored something, so that its partition is not clean. */
  async function startWorking(...imported: URL[]): Promise<ConsumerProcess> {
    const log = await openOnKafka(cluster.brokers)(store, { partitions: 1 })
    const consumer = startConsumerProcess({ ...environmentOf(store, log), LOG_LEVEL: 'info' }, ...imported)
    await log.append(0, encodeRun('stopped', 0, 99))
    await expect.poll(() => accountOf(store, log), { timeout: 30_000 }).toEqual({ events: 100, skipped: {} })
    return consumer
  }

  it('ends while brokers come and go: its event loop goes on turning', { timeout: 60_000 }, async () => {
    const consumer = await startWorking(new URL('../support/stop-amid-fetchers.ts', import.meta.url))
    expect(await consumer.kill('SIGTERM')).toBe(0)
  })

  it('ends in its time though no broker answers any more', { timeout: 60_000 }, async () => {
    const consumer = await startWorking()
    for (const proxy of proxies) proxy.fallSilent()
    expect(await consumer.kill('SIGTERM')).toBe(0)
  })
})
