/** The question whether a topic is still the same, while a broker of the cluster is gone: any other one answers it. */
import { readSettings } from '@agent-audit/consumer'
import { type Assignment, composeParts } from '@agent-audit/consumer/pipeline'
import { startKafka } from '@agent-audit/stack'
import { afterAll, describe, expect, it } from 'vitest'
import { environmentOf, openOnKafka, openStore, type TestLog } from '../consumer/support.ts'
import { whyNoOwnKafka } from '../support/kafka-proxy.ts'
import { connectKafka, withAdmin } from '../support/kafka-topic.ts'
import { endCluster, SOON_BACK } from '../support/own-kafka.ts'

const reason = whyNoOwnKafka()
/** kafkajs asks a random broker: so many questions choose each one of three. */
const QUESTIONS = 50

describe.skipIf(reason !== '')(`a broker that is gone${reason}`, async () => {
  if (reason !== '') return
  const store = await openStore()
  const cluster = await startKafka({ brokers: 3, properties: SOON_BACK })
  afterAll(() => endCluster(cluster))

  async function coordinatorOf({ group }: TestLog): Promise<string> {
    let address = ''
    await withAdmin(connectKafka(cluster.brokers), async (admin) => {
      admin.on(admin.events.REQUEST, ({ payload }) => {
        if (payload.apiName === 'DescribeGroups') address = payload.broker
      })
      await admin.describeGroups([group])
    })
    return address
  }

  it('ends no membership: another broker tells whether a topic is still the same', { timeout: 120_000 }, async () => {
    const log = await openOnKafka(cluster.brokers)(store)
    const { source } = composeParts(readSettings({ ...environmentOf(store, log), SESSION_TIMEOUT_MS: '30000' }))
    await source.topicIds?.()
    const drain = new AbortController()
    const held = Promise.withResolvers<Assignment>()
    const running = source.run((assignment) => {
      held.resolve(assignment)
      return new Promise((resolve) => assignment.draining.addEventListener('abort', () => resolve()))
    }, drain.signal)
    const assignment = await held.promise
    const coordinator = await coordinatorOf(log)
    const gone = cluster.nodes.find(({ address }) => address !== coordinator)
    for (let asked = 0; asked < QUESTIONS; asked++) await assignment.expectSameLog?.()
    await gone?.kill()
    for (let asked = 0; asked < QUESTIONS; asked++) await assignment.expectSameLog?.()
    expect(assignment.ended.aborted).toBe(false)
    drain.abort()
    await running
  })
})
