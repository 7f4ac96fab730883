/** Consumers are deployed one after the other on three brokers, while events come in. No consumer waits for another one's lease. */
import { completeness, connectAnalytics } from '@agent-audit/analytics'
import { kafkaAvailability, startKafka } from '@agent-audit/stack'
import { afterAll, describe, expect, it } from 'vitest'
import { accountOf, environmentOf, openOnKafka, openStore } from '../consumer/support.ts'
import { type ConsumerProcess, startConsumerProcess } from '../support/consumer-process.ts'
import { connectKafka, withAdmin } from '../support/kafka-topic.ts'
import { endCluster } from '../support/own-kafka.ts'
import { encodeRun } from '../support/records.ts'

const kafka = kafkaAvailability()
const reason = kafka.available ? '' : ` (skipped: ${kafka.reason})`
const WAIT = { timeout: 60_000, interval: 50 }
const PARTITIONS = 4
const DEPLOYS = 3
/** SHUTDOWN_TIMEOUT_MS of the consumer is as long. */
const DRAIN_MS = 10_000
/**
 * It takes 3 s on a machine with no other load; here the consumers share a machine with the brokers and other tests. A consumer
 * that waits for the lease or the session of its predecessor takes far longer.
 */
const FLOW_MS = 10_000
const SLOW_TO_FORGET = { LEASE_MS: '120000', SESSION_TIMEOUT_MS: '60000', INSERT_TIMEOUT_MS: '10000' }

describe.skipIf(!kafka.available)(`a rolling deploy${reason}`, async () => {
  if (!kafka.available) return
  const store = await openStore()
  const cluster = await startKafka({ brokers: 3 })
  afterAll(() => endCluster(cluster))

  it(
    'SIGTERM drains, commits and leaves the group within 10 s; the successor flows at once',
    { timeout: 180_000 },
    async () => {
      const log = await openOnKafka(cluster.brokers)(store, { partitions: PARTITIONS })
      const environment = { ...environmentOf(store, log), ...SLOW_TO_FORGET, LOG_LEVEL: 'info' }
      const members = async (): Promise<number> => {
        const { groups } = await withAdmin(connectKafka(cluster.brokers), (admin) => admin.describeGroups([log.group]))
        return groups[0]?.state === 'Stable' ? groups[0].members.length : 0
      }
      let appended = 0
      const append = async (): Promise<void> => {
        for (let partition = 0; partition < PARTITIONS; partition++) {
          await log.append(partition, encodeRun(`rolled ${partition}`, appended, appended + 99))
        }
        appended += 100
      }
      const expectStored = async (timeout: number): Promise<void> => {
        const expected = { events: appended * PARTITIONS, skipped: {} }
        await expect.poll(() => accountOf(store, log), { timeout, interval: 50 }).toEqual(expected)
      }
      let running: ConsumerProcess = startConsumerProcess(environment)
      await append()
      await expectStored(WAIT.timeout)
      for (let deploy = 0; deploy < DEPLOYS; deploy++) {
        const successor = startConsumerProcess(environment)
        await expect.poll(members, WAIT).toBe(2)
        await append()
        const told = performance.now()
        expect(await running.kill('SIGTERM')).toBe(0)
        const left = performance.now()
        await append()
        await expectStored(FLOW_MS)
        const flowing = performance.now()
        process.stdout.write(
          `drained in ${Math.round(left - told)} ms, flowing ${Math.round(flowing - left)} ms later\n`,
        )
        expect(left - told).toBeLessThan(DRAIN_MS)
        // The drained consumer has left the group itself: its session would last a minute.
        expect(await members()).toBe(1)
        expect(running.stdout).toContain('"msg":"drained"')
        running = successor
      }
      await using analytics = connectAnalytics(store.dataDir.reader)
      expect((await completeness(analytics)).verdict).toBe('complete')
    },
  )
})
