/** Consumers of one group that read different topics, as in a rolling deploy that adds a topic. */
import { kafkaAvailability } from '@agent-audit/stack'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  accountOf,
  environmentOf,
  openOnKafka,
  openStore,
  runConsumer,
  type Running,
  type TestLog,
} from '../consumer/support.ts'
import { connectKafka, withAdmin } from '../support/kafka-topic.ts'
import { encodeRun } from '../support/records.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

const kafka = kafkaAvailability()
const reason = kafka.available ? '' : ` (skipped: ${kafka.reason})`
const WAIT = { timeout: 45_000, interval: 50 }
const PARTITIONS = 2

describe.skipIf(!kafka.available)(`consumers of one group with different topics${reason}`, async () => {
  if (!kafka.available) return
  const store = await openStore()
  const { brokers } = await sharedKafka()

  async function openTopics(): Promise<{ first: TestLog; second: TestLog }> {
    const first = await openOnKafka(brokers)(store, { partitions: PARTITIONS })
    const second = await openOnKafka(brokers)(store, { partitions: PARTITIONS, group: first.group })
    return { first, second }
  }

  const start = (log: TestLog, topics: readonly TestLog[]): Running =>
    runConsumer({ ...environmentOf(store, log), AUDIT_TOPICS: topics.map(({ topic }) => topic).join(',') })

  async function expectMembers(group: string, count: number): Promise<void> {
    const members = async (): Promise<number> => {
      const { groups } = await withAdmin(connectKafka(brokers), (admin) => admin.describeGroups([group]))
      return groups[0]?.state === 'Stable' ? groups[0].members.length : 0
    }
    await expect.poll(members, WAIT).toBe(count)
  }

  async function fill(log: TestLog): Promise<void> {
    for (let partition = 0; partition < PARTITIONS; partition++) {
      await log.append(partition, encodeRun(`${log.topic} ${partition}`, 0, 4))
    }
  }

  const all = { events: 5 * PARTITIONS, skipped: {} }

  it.each(['with fewer topics', 'with more topics'])(
    'store all topics, whichever member leads: the one %s joins first',
    { timeout: 90_000 },
    async (joins) => {
      const { first, second } = await openTopics()
      const subscriptions = [[first], [first, second]]
      if (joins === 'with more topics') subscriptions.reverse()
      for (const [index, topics] of subscriptions.entries()) {
        start(first, topics)
        await expectMembers(first.group, index + 1)
      }
      await fill(first)
      await fill(second)
      await expect.poll(() => accountOf(store, second), WAIT).toEqual(all)
      await expect.poll(() => accountOf(store, first), WAIT).toEqual(all)
    },
  )

  it(
    'say that they are not ready while an older consumer leads and assigns them a foreign topic, and take no partition of it',
    { timeout: 90_000 },
    async () => {
      const { first, second } = await openTopics()
      // kafkajs's own assigner, as of consumers before this release.
      const old = connectKafka(brokers).consumer({ groupId: first.group, maxWaitTimeInMs: 100, heartbeatInterval: 300 })
      onTestFinished(() => old.disconnect())
      await old.connect()
      await old.subscribe({ topics: [first.topic, second.topic] })
      await old.run({ autoCommit: false, eachMessage: () => Promise.resolve() })
      await expectMembers(first.group, 1)
      const { consumer } = start(first, [first])
      await expect.poll(() => consumer.status.reason, WAIT).toContain(`assigned topic ${second.topic}`)
      expect(consumer.status.ready).toBe(false)
      // With the older consumer goes its assignment.
      await old.disconnect()
      await fill(first)
      await expect.poll(() => accountOf(store, first), WAIT).toEqual(all)
      expect(consumer.status).toEqual({ ready: true, reason: 'consuming' })
      expect(await accountOf(store, second)).toEqual({ events: 0, skipped: {} })
    },
  )
})
