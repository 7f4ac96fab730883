/** A group that is about to rebalance when its coordinator changes: the new one does not know of the rebalance. */
import { describe, expect, it } from 'vitest'
import { accountOf, environmentOf, openOnKafka, openStore } from '../consumer/support.ts'
import { startConsumerProcess } from '../support/consumer-process.ts'
import { HEARTBEAT, JOIN_GROUP, startProxiedKafka, whyNoOwnKafka } from '../support/kafka-proxy.ts'
import { encodeRun } from '../support/records.ts'

const reason = whyNoOwnKafka()
const WAIT = { timeout: 30_000, interval: 20 }

const COORDINATOR_NOT_AVAILABLE = 15
const REBALANCE_IN_PROGRESS = 27

describe.skipIf(reason !== '')(`a member whose rejoin fails${reason}`, async () => {
  if (reason !== '') return
  const store = await openStore()
  const { cluster, proxy } = await startProxiedKafka()

  it(
    'stores events again: it does not stay a member of the old generation without partitions',
    { timeout: 120_000 },
    async () => {
      const log = await openOnKafka(cluster.brokers)(store, { partitions: 1 })
      const consumer = startConsumerProcess({ ...environmentOf(store, log), LOG_LEVEL: 'info' })
      let events = 0
      const expectFlow = async (): Promise<void> => {
        await log.append(0, encodeRun('rejoined', events, events + 99))
        events += 100
        await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events, skipped: {} })
      }
      await expectFlow()
      // Both answers come from the proxy: the broker's group stays as it is, and accepts heartbeats of its generation.
      proxy.answerNext(JOIN_GROUP, joinGroupRefused(COORDINATOR_NOT_AVAILABLE))
      proxy.answerNext(HEARTBEAT, heartbeatRefused(REBALANCE_IN_PROGRESS))
      await expect.poll(() => consumer.stdout, WAIT).toContain('BROKER_UNAVAILABLE')
      await expectFlow()
      expect(await consumer.kill('SIGTERM')).toBe(0)
    },
  )
})

/** Heartbeat response, version 3: throttle time, error. */
function heartbeatRefused(error: number): Buffer {
  const body = Buffer.alloc(6)
  body.writeInt16BE(error, 4)
  return body
}

/** JoinGroup response, version 5: throttle time, error, generation, three empty strings, no members. */
function joinGroupRefused(error: number): Buffer {
  const body = Buffer.alloc(20)
  body.writeInt16BE(error, 4)
  body.writeInt32BE(-1, 6)
  return body
}
