/** A ClickHouse that takes no insert costs a consumer on Kafka time, and not its membership of the group. */
import { setTimeout as sleep } from 'node:timers/promises'
import { kafkaAvailability } from '@agent-audit/stack'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startCuttingProxy } from '../support/cutting-proxy.ts'
import { addSetting, holdInserts } from '../support/insert-rules.ts'
import { connectKafka, withAdmin } from '../support/kafka-topic.ts'
import { encodeRun } from '../support/records.ts'
import { sharedKafka } from '../support/shared-kafka.ts'
import { accountOf, environmentOf, openOnKafka, openStore, runConsumer } from './support.ts'

const kafka = kafkaAvailability()
const reason = kafka.available ? '' : ` (skipped: ${kafka.reason})`
const WAIT = { timeout: 45_000, interval: 50 }
/** Many batches of one fetch: all but the first wait while its insert does. */
const BATCH_EVENTS = 50
const EVENTS = 500

describe.skipIf(!kafka.available)(`a consumer on Kafka${reason}`, async () => {
  if (!kafka.available) return
  const store = await openStore()
  const { brokers, attached } = await sharedKafka()
  // The least that a broker with default settings accepts is 6 s.
  const sessionMs = attached ? 6000 : 4000

  // A refused insert is sent again and again, so that one batch waits all the time. An unanswered one is read back: its reader
  // begins anew.
  it.each([
    ['not answered', holdInserts()],
    ['refused', addSetting('readonly=2')],
  ])(
    'stays a member while its inserts are %s for longer than a session, then stores each record once',
    async (_how, rule) => {
      const log = await openOnKafka(brokers)(store)
      const proxy = await startCuttingProxy(Number(new URL(store.dataDir.writer.url).port))
      onTestFinished(() => proxy[Symbol.asyncDispose]())
      let assignments = 0
      const environment = {
        ...environmentOf(store, log),
        CLICKHOUSE_URL: `http://127.0.0.1:${proxy.port}`,
        SESSION_TIMEOUT_MS: String(sessionMs),
        BATCH_MAX_EVENTS: String(BATCH_EVENTS),
      }
      runConsumer(environment, ({ source }) => ({
        source: {
          ...source,
          run: (work, drain) =>
            source.run((assignment) => {
              assignments++
              return work(assignment)
            }, drain),
        },
      }))
      const members = async (): Promise<string[]> => {
        const { groups } = await withAdmin(connectKafka(brokers), (admin) => admin.describeGroups([log.group]))
        return groups[0]?.members.map(({ memberId }) => memberId) ?? []
      }
      await log.append(0, encodeRun('soon', 0, 9))
      await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 10, skipped: {} })
      const [before, joins] = [await members(), assignments]
      expect(before).toHaveLength(1)

      proxy.rules.add(rule)
      await log.append(0, encodeRun('late', 0, EVENTS - 1))
      await sleep(1.75 * sessionMs)
      expect(await accountOf(store, log)).toEqual({ events: 10, skipped: {} })
      expect(await members()).toEqual(before)

      // The inserts that are held end by INSERT_TIMEOUT_MS. A query that is cut would end the membership, rightly.
      proxy.rules.clear()
      await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 10 + EVENTS, skipped: {} })
      expect(await members()).toEqual(before)
      // Each rebalance would have ended the assignment and given another one.
      expect(assignments).toBe(joins)
    },
  )
})
