/** A consumer that stops while its brokers change or do not answer. */
import { describe, expect, it } from 'vitest'
import { accountOf, environmentOf, openOnKafka, openStore } from '../consumer/support.ts'
import { type ConsumerProcess, startConsumerProcess } from '../support/consumer-process.ts'
import { startProxiedKafka, whyNoOwnKafka } from '../support/kafka-proxy.ts'
import { encodeRun } from '../support/records.ts'

const reason = whyNoOwnKafka()

describe.skipIf(reason !== '')(`a consumer that stops${reason}`, async () => {
  if (reason !== '') return
  const store = await openStore()
  const { cluster, proxy } = await startProxiedKafka()

  /** A consumer that has just stored an event, so that its partition is not clean. */
  async function startWorking(...imported: URL[]): Promise<ConsumerProcess> {
    const log = await openOnKafka(cluster.brokers)(store, { partitions: 1 })
    const consumer = startConsumerProcess({ ...environmentOf(store, log), LOG_LEVEL: 'info' }, ...imported)
    await log.append(0, encodeRun('stopped', 0, 99))
    await expect.poll(() => accountOf(store, log), { timeout: 30_000 }).toEqual({ events: 100, skipped: {} })
    return consumer
  }

  it('ends while brokers come and go: its event loop keeps turning', { timeout: 60_000 }, async () => {
    const consumer = await startWorking(new URL('../support/stop-amid-fetchers.ts', import.meta.url))
    expect(await consumer.kill('SIGTERM')).toBe(0)
  })

  it('ends in time though no broker answers any more', { timeout: 60_000 }, async () => {
    const consumer = await startWorking()
    proxy.fallSilent()
    expect(await consumer.kill('SIGTERM')).toBe(0)
  })
})
