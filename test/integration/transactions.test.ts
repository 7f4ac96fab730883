/** Records of aborted and committed transactions between records without one: every offset of the log is accounted for. */
import { completeness, connectAnalytics } from '@agent-audit/analytics'
import { kafkaAvailability } from '@agent-audit/stack'
import { describe, expect, it, onTestFinished } from 'vitest'
import { accountOf, environmentOf, openOnKafka, openStore, runConsumer } from '../consumer/support.ts'
import { connectKafka } from '../support/kafka-topic.ts'
import { encodeRun } from '../support/records.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

const kafka = kafkaAvailability()
const reason = kafka.available ? '' : ` (skipped: ${kafka.reason})`
const WAIT = { timeout: 30_000, interval: 50 }

describe.skipIf(!kafka.available)(`transactions on Kafka${reason}`, async () => {
  if (!kafka.available) return
  const store = await openStore()
  const { brokers } = await sharedKafka()

  it('stores records of committed transactions, and none of aborted ones', { timeout: 120_000 }, async () => {
    const log = await openOnKafka(brokers)(store)
    const producer = connectKafka(brokers).producer({
      transactionalId: log.topic,
      idempotent: true,
      maxInFlightRequests: 1,
    })
    await producer.connect()
    onTestFinished(() => producer.disconnect())
    const transact = async (run: string, end: 'commit' | 'abort'): Promise<void> => {
      const transaction = await producer.transaction()
      const messages = encodeRun(run, 0, 9).map((value) => ({ key: run, value, partition: 0 }))
      await transaction.send({ topic: log.topic, messages })
      // Between the transaction's records: an aborted stretch of the log belongs to a producer, not to a range of offsets.
      await log.append(0, encodeRun(`beside ${run}`, 0, 4))
      await transaction.send({
        topic: log.topic,
        messages: encodeRun(run, 10, 14).map((value) => ({ value, partition: 0 })),
      })
      await transaction[end]()
    }
    for (const [run, end] of [
      ['first', 'abort'],
      ['second', 'commit'],
      ['third', 'abort'],
      ['fourth', 'abort'],
      ['fifth', 'commit'],
    ] as const) {
      await transact(run, end)
    }
    await log.append(0, encodeRun('last', 0, 9))
    runConsumer(environmentOf(store, log))
    // Five control records, and three times fifteen aborted records.
    const expected = { events: 2 * 15 + 5 * 5 + 10, skipped: { hole: 5 + 3 * 15 } }
    await expect.poll(() => accountOf(store, log), WAIT).toEqual(expected)
    await using analytics = connectAnalytics(store.dataDir.reader)
    expect((await completeness(analytics)).verdict).toBe('complete')
  })
})
