/** Times that a producer chooses: a topic that takes them is refused, and none of them stops a partition. */
import { runCli } from '@agent-audit/cli'
import { kafkaAvailability } from '@agent-audit/stack'
import kafkajs from 'kafkajs'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  accountOf,
  environmentOf,
  openOnKafka,
  openStore,
  rowsOf,
  runConsumer,
  type TestLog,
} from '../consumer/support.ts'
import { connectKafka, withAdmin } from '../support/kafka-topic.ts'
import { encodeRun } from '../support/records.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

const kafka = kafkaAvailability()
const reason = kafka.available ? '' : ` (skipped: ${kafka.reason})`
const WAIT = { timeout: 30_000, interval: 50 }
const ANY_TIME = { 'message.timestamp.type': 'CreateTime', 'message.timestamp.after.max.ms': '9223372036854775807' }
const LAST = Date.UTC(2300, 0) - 1

describe.skipIf(!kafka.available)(`a topic that takes the time of its producers${reason}`, async () => {
  if (!kafka.available) return
  const store = await openStore()
  const { brokers } = await sharedKafka()

  async function alter(log: TestLog, settings: Record<string, string>): Promise<void> {
    const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }))
    const resources = [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: log.topic, configEntries }]
    await withAdmin(connectKafka(brokers), (admin) => admin.alterConfigs({ validateOnly: false, resources }))
  }

  it('is refused at the start of the consumer, by name, until setup has set it right', async () => {
    const log = await openOnKafka(brokers)(store)
    await alter(log, ANY_TIME)
    await log.append(0, encodeRun('early', 0, 4))
    expect(await runConsumer(environmentOf(store, log)).failure).toMatchObject({
      code: 'LOG_UNFIT',
      message: expect.stringMatching(
        new RegExp(`topic ${log.topic}: message.timestamp.type is CreateTime, not LogAppendTime: .*agent-audit setup`),
      ),
    })
    const { url, username, password } = store.dataDir.admin
    const env = { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
    const terminal = { out: () => undefined, err: () => undefined, env, colors: false }
    const args = ['setup', '--brokers', brokers.join(','), '--topic', log.topic, '--group', log.group]
    expect(await runCli(args, terminal)).toBe(0)
    runConsumer(environmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 5, skipped: {} })
  })

  it('stores each record once, those whose time no column holds with the nearest one, when altered while the consumer runs', async () => {
    const log = await openOnKafka(brokers)(store)
    const { consumer } = runConsumer(environmentOf(store, log))
    await log.append(0, encodeRun('before', 0, 0))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 1, skipped: {} })
    await alter(log, ANY_TIME)
    const producer = connectKafka(brokers).producer({ allowAutoTopicCreation: false })
    await producer.connect()
    onTestFinished(() => producer.disconnect())
    const times = ['0', '1000', '253402300799000', '8640000000000001', String(2n ** 53n), String(2n ** 62n)]
    const values = encodeRun('hostile', 0, times.length)
    // One batch each, then all in one: their months differ.
    for (const [index, timestamp] of times.entries()) {
      await producer.send({ topic: log.topic, messages: [{ value: values[index] ?? null, timestamp }] })
    }
    const mixed = encodeRun('mixed', 0, 9).map((value, index) => ({ value, timestamp: String(index * 1e10) }))
    await producer.send({ topic: log.topic, messages: mixed })
    const events = 1 + times.length + mixed.length
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events, skipped: {} })
    const rows = await rowsOf<{ t: number }>(store, log, 'audit_events', 'toUnixTimestamp64Milli(log_time) AS t')
    const stored = rows.slice(1).map(({ t }) => t)
    expect(stored).toEqual([0, 1000, LAST, LAST, LAST, LAST, ...mixed.map((_, index) => index * 1e10)])
    expect(consumer.status).toEqual({ ready: true, reason: 'consuming' })
  })
})
