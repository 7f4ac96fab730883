/** Batches of other clients are stored, whatever their codec. One that cannot be unpacked stops its partition, and no other. */
import { type CompressionAlgorithmValue, Producer } from '@platformatic/kafka'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  accountOf,
  countEvents,
  openOnKafka,
  openStore,
  patientEnvironmentOf,
  runConsumer,
  type TestLog,
} from '../consumer/support.ts'
import { FETCH, startProxiedKafka, whyNoOwnKafka } from '../support/kafka-proxy.ts'
import { readMetric } from '../support/metrics.ts'
import { encodeRecord, encodeRun, makeRecord } from '../support/records.ts'

const WAIT = { timeout: 60_000, interval: 50 }
const CODECS: readonly CompressionAlgorithmValue[] = ['lz4', 'snappy', 'gzip', 'zstd', 'none']
const reason = whyNoOwnKafka()

const send = (
  producer: Producer,
  { topic }: TestLog,
  batch: { partition: number; compression: CompressionAlgorithmValue; values: readonly Buffer[] },
): Promise<unknown> => {
  const { partition, compression, values } = batch
  const messages = values.map((value) => ({ topic, partition, key: Buffer.from('key'), value }))
  return producer.send({ messages, compression, acks: -1 })
}

describe.skipIf(reason !== '')(`batches on Kafka${reason}`, { timeout: 120_000 }, async () => {
  if (reason !== '') return
  const store = await openStore()
  const { cluster, proxy } = await startProxiedKafka()
  const openLog = openOnKafka(cluster.brokers)

  /** Another client than the trail's. */
  const openProducer = (): Producer => {
    const producer = new Producer({
      clientId: 'other',
      bootstrapBrokers: [...cluster.brokers],
      autocreateTopics: false,
    })
    onTestFinished(() => producer.close())
    return producer
  }
  /** Partition 0 is stopped, with all before the batch stored; partition 1 goes on. */
  const expectStopped = async (
    log: TestLog,
    { consumer }: ReturnType<typeof runConsumer>,
    want: { stored: number; why: RegExp },
  ): Promise<void> => {
    await vi.waitFor(() => expect(consumer.status.reason).toMatch(want.why), WAIT)
    expect(consumer.status.ready).toBe(false)
    await log.append(1, encodeRun('later', 0, 9))
    await expect.poll(() => countEvents(store, log), WAIT).toBe(want.stored + 10)
    const text = await consumer.metrics.registry.metrics()
    expect(readMetric(text, 'audit_partition_stopped', 'partition="0"')).toBe(1)
    expect(readMetric(text, 'audit_partition_stopped', 'partition="1"')).toBe(0)
  }

  it('stores batches of each codec from another client', async () => {
    const log = await openLog(store)
    const producer = openProducer()
    for (const compression of CODECS) {
      await send(producer, log, { partition: 0, compression, values: encodeRun(compression, 0, 19) })
    }
    runConsumer(patientEnvironmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 20 * CODECS.length, skipped: {} })
  })

  it('a decompression bomb stops its partition; what precedes it is stored', async () => {
    const log = await openLog(store, { partitions: 2 })
    const producer = openProducer()
    await log.append(0, encodeRun('before', 0, 4))
    await send(producer, log, { partition: 0, compression: 'zstd', values: [Buffer.alloc(65 * 2 ** 20)] })
    await send(producer, log, { partition: 0, compression: 'zstd', values: encodeRun('behind', 0, 4) })
    const running = runConsumer(patientEnvironmentOf(store, log))
    const why = new RegExp(
      `^${log.topic}/0 stopped: offsets 5 to 5 of ${log.topic}/0 cannot be unpacked: zstd: its content is above 67108864 bytes$`,
    )
    await expectStopped(log, running, { stored: 5, why })
    expect(await accountOf(store, log)).toEqual({ events: 5 + 10, skipped: {} })
  })

  it('a batch changed on its way stops its partition, also at the next owner, until it comes whole', async () => {
    const log = await openLog(store, { partitions: 2 })
    const producer = openProducer()
    const marked = encodeRecord(makeRecord('marked', 0, { reasoning: 'the bytes that the network changes' }))
    await send(producer, log, { partition: 0, compression: 'none', values: encodeRun('before', 0, 4) })
    await send(producer, log, { partition: 0, compression: 'none', values: [marked] })
    await send(producer, log, { partition: 0, compression: 'none', values: encodeRun('behind', 0, 4) })
    proxy.changeAnswers(FETCH, (answer) => {
      const at = answer.indexOf('the network')
      if (at >= 0) answer.write('THE', at)
    })
    const first = runConsumer(patientEnvironmentOf(store, log))
    const why = new RegExp(`^${log.topic}/0 stopped: offsets 5 to 5 of .*/0 cannot be unpacked: its CRC-32C is `)
    await expectStopped(log, first, { stored: 5, why })
    await first.stop()
    const second = runConsumer(patientEnvironmentOf(store, log))
    await vi.waitFor(() => expect(second.consumer.status.reason).toMatch(why), WAIT)
    await second.stop()
    proxy.changeAnswers(FETCH, undefined)
    const { consumer } = runConsumer(patientEnvironmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 5 + 1 + 5 + 10, skipped: {} })
    expect(consumer.status).toEqual({ ready: true, reason: 'consuming' })
  })
})
