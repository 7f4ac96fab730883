/** `agent-audit setup` and the consumer name the settings of Kafka that keep less than docs/exactly-once.md assumes. */
import { randomUUID } from 'node:crypto'
import { runCli } from '@agent-audit/cli'
import { kafkaAvailability, startKafka } from '@agent-audit/stack'
import kafkajs from 'kafkajs'
import { afterAll, describe, expect, it } from 'vitest'
import { accountOf, environmentOf, openOnKafka, openStore } from '../consumer/support.ts'
import { startConsumerProcess } from '../support/consumer-process.ts'
import { connectKafka, makeTopic, withAdmin } from '../support/kafka-topic.ts'
import { endCluster } from '../support/own-kafka.ts'
import { encodeRun } from '../support/records.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

const kafka = kafkaAvailability()
const reason = kafka.available ? '' : ` (skipped: ${kafka.reason})`
/** A topic keeps no setting that is not named, and the consumer refuses one without this. */
const BROKERS_TIME = { name: 'message.timestamp.type', value: 'LogAppendTime' }
const WEAK = [
  BROKERS_TIME,
  { name: 'min.insync.replicas', value: '1' },
  { name: 'unclean.leader.election.enable', value: 'true' },
]
const WEAK_LINES = (topic: string): string[] => [
  `topic ${topic}: replication.factor is 2, not 3: fewer brokers hold each record`,
  `topic ${topic}: min.insync.replicas is 1, not 2: one broker alone may acknowledge a record, which is lost with that broker`,
  `topic ${topic}: unclean.leader.election.enable is true, not false: a broker that lacks acknowledged records may become the leader: they are lost`,
]
const ONE_BROKER = 'the cluster has one broker, not 3: an acknowledged record is lost with its disk'

interface Warning {
  readonly level: string | number
  readonly msg: string
  readonly setting?: string
  readonly value?: string
}

async function describeTopic(brokers: readonly string[], topic: string): Promise<Record<string, unknown>> {
  return withAdmin(connectKafka(brokers), async (admin) => {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    const resources = [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic }]
    const described = await admin.describeConfigs({ includeSynonyms: false, resources })
    const entries = described.resources[0]?.configEntries ?? []
    const values = new Map(entries.map((entry) => [entry.configName, entry.configValue]))
    return {
      replicas: topics[0]?.partitions.map(({ replicas }) => replicas.length),
      inSync: values.get('min.insync.replicas'),
      unclean: values.get('unclean.leader.election.enable'),
    }
  })
}

describe.skipIf(!kafka.available)(`the durability of topics${reason}`, async () => {
  if (!kafka.available) return
  const store = await openStore()
  const three = await startKafka({ brokers: 3 })
  afterAll(() => endCluster(three))

  /** The lines of a setup, without the checks of tables and logs. */
  async function setup(brokers: readonly string[], ...args: string[]): Promise<string[]> {
    let out = ''
    const { url, username, password } = store.dataDir.admin
    const code = await runCli(['setup', '--brokers', brokers.join(','), '--partitions', '2', ...args], {
      out: (text) => (out += text),
      err: (text) => (out += text),
      env: { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password },
      colors: false,
    })
    expect([code, out]).toEqual([0, expect.any(String)])
    return out.split('\n').filter((line) => /topic |durability|nothing to do/.test(line) && !/ log /.test(line))
  }

  /** What a consumer warns of before its first row. */
  async function warningsOf(brokers: readonly string[], configEntries?: typeof WEAK): Promise<Warning[]> {
    const log = await openOnKafka(brokers)(store, { partitions: 1 })
    if (configEntries !== undefined) {
      const resources = [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: log.topic, configEntries }]
      await withAdmin(connectKafka(brokers), (admin) => admin.alterConfigs({ validateOnly: false, resources }))
    }
    await log.append(0, encodeRun('durable', 0, 9))
    const running = startConsumerProcess({ ...environmentOf(store, log), LOG_LEVEL: 'info' })
    await expect.poll(() => accountOf(store, log), { timeout: 60_000 }).toEqual({ events: 10, skipped: {} })
    const lines = running.stdout.split('\n').filter((line) => line.includes('"setting"'))
    return lines.map((line) => JSON.parse(line) as Warning)
  }

  it('a new topic on three brokers has three copies of a record, of which two acknowledge it', async () => {
    const topic = `audit.${randomUUID()}`
    const lines = await setup(three.brokers, '--topic', topic)
    expect(lines).toEqual([
      `+ topic ${topic}: created with 2 partitions, LogAppendTime`,
      `+ topic ${topic}.seals: created with 1 partition, LogAppendTime`,
    ])
    expect(await describeTopic(three.brokers, topic)).toEqual({ replicas: [3, 3], inSync: '2', unclean: 'false' })
  })

  it('a new topic with two copies waits for both, and setup names the number of copies', async () => {
    const topic = `audit.${randomUUID()}`
    const lines = await setup(three.brokers, '--topic', topic, '--replication-factor', '2')
    const weak = [topic, `${topic}.seals`].map((each) => `! durability: ${WEAK_LINES(each)[0] ?? ''}`)
    expect(lines.slice(2)).toEqual(weak)
    expect(await describeTopic(three.brokers, topic)).toEqual({ replicas: [2, 2], inSync: '2', unclean: 'false' })
  })

  it('setup names each weak setting of an existing topic, and changes none of them', async () => {
    const topic = await makeTopic(connectKafka(three.brokers), {
      numPartitions: 2,
      replicationFactor: 2,
      configEntries: WEAK,
    })
    const first = await setup(three.brokers, '--topic', topic)
    const again = await setup(three.brokers, '--topic', topic)
    const named = WEAK_LINES(topic).map((line) => `! durability: ${line}`)
    expect(first.filter((line) => line.startsWith('!'))).toEqual(named)
    expect(again.slice(2)).toEqual([...named, 'nothing to do'])
    expect(await describeTopic(three.brokers, topic)).toEqual({ replicas: [2, 2], inSync: '1', unclean: 'true' })
  })

  it('setup says once that there is one broker, for all topics', async () => {
    const { brokers } = await sharedKafka()
    const [one, two] = [`audit.${randomUUID()}`, `audit.${randomUUID()}`]
    const lines = await setup(brokers, '--topic', one, '--topic', two)
    expect(lines.filter((line) => line.startsWith('!'))).toEqual([`! durability: ${ONE_BROKER}`])
    expect(await describeTopic(brokers, one)).toEqual({ replicas: [1, 1], inSync: '1', unclean: 'false' })
  })

  it('a consumer warns of each weak setting, with its value, and consumes', async () => {
    const warnings = await warningsOf(three.brokers, WEAK)
    expect(warnings.map(({ setting, value }) => [setting, value])).toEqual([
      ['min.insync.replicas', '1'],
      ['unclean.leader.election.enable', 'true'],
    ])
  })

  it('a consumer says once that there is one broker, and is silent where all is as assumed', async () => {
    const { brokers } = await sharedKafka()
    expect((await warningsOf(brokers)).map(({ msg }) => msg)).toEqual([ONE_BROKER])
    expect(await warningsOf(three.brokers, [BROKERS_TIME, { name: 'min.insync.replicas', value: '2' }])).toEqual([])
  })
})
