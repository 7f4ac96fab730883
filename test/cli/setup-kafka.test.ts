/** `agent-audit setup` with a real Kafka: it creates the topics that the trail needs, and leaves correct ones unchanged. */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { runCli } from '@agent-audit/cli'
import { commitStartMark } from '@agent-audit/kafka/topics'
import { kafkaAvailability } from '@agent-audit/stack'
import kafkajs, { type Admin, type Kafka } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../analytics/support.ts'
import { makeTopic } from '../support/kafka-topic.ts'
import { sharedKafka } from '../support/shared-kafka.ts'
import { startSetup } from './setup-process.ts'

const SHIM = fileURLToPath(new URL('../../cli/bin/agent-audit.js', import.meta.url))
const kafka = kafkaAvailability()
const MISSING = NO_CLICKHOUSE ?? (kafka.available ? undefined : kafka.reason)

const ignore = (): void => undefined

describe.skipIf(MISSING !== undefined)(`setup with Kafka ${MISSING ?? ''}`, () => {
  let tests: TestServer
  let brokers: readonly string[]
  let client: Kafka
  let admin: Admin

  beforeAll(async () => {
    tests = await startTestServer()
    brokers = (await sharedKafka()).brokers
    // A broker that has just started may still be choosing leaders.
    const retry = { retries: 10, initialRetryTime: 100 }
    const { NOTHING: logLevel } = kafkajs.logLevel
    client = new kafkajs.Kafka({ brokers: [...brokers], logLevel, retry })
    admin = client.admin()
    await admin.connect()
    afterAll(() => admin.disconnect())
  })

  const newGroup = (): string => {
    const group = `writer-${randomBytes(4).toString('hex')}`
    onTestFinished(() => admin.deleteGroups([group]).then(ignore, ignore))
    return group
  }
  const newTopic = (): string => {
    const topic = `audit.test-${randomBytes(4).toString('hex')}`
    for (const made of [topic, `${topic}.seals`]) {
      onTestFinished(() => admin.deleteTopics({ topics: [made] }).catch(() => undefined))
    }
    return topic
  }
  const setup = async (...args: string[]): Promise<{ code: number; out: string; err: string }> => {
    let out = ''
    let err = ''
    const { url, username, password, database } = tests.server()
    const code = await runCli(['setup', '--brokers', brokers.join(','), ...args], {
      out: (text) => (out += text),
      err: (text) => (err += text),
      env: {
        CLICKHOUSE_URL: url,
        CLICKHOUSE_USER: username,
        CLICKHOUSE_PASSWORD: password,
        CLICKHOUSE_DATABASE: database,
      },
      colors: false,
    })
    return { code, out, err }
  }
  const settingsOf = async (topic: string): Promise<Record<string, string>> => {
    const resources = [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic }]
    const described = await admin.describeConfigs({ includeSynonyms: false, resources })
    const entries = described.resources[0]?.configEntries ?? []
    return Object.fromEntries(entries.map((entry) => [entry.configName, entry.configValue]))
  }
  const partitionsOf = async (topic: string): Promise<number> =>
    (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0]?.partitions.length ?? 0

  /** The group's commits by partition, as "offset metadata"; -1 is no commit. */
  const commitsOf = async (groupId: string, topic: string): Promise<string[]> => {
    const [found] = await admin.fetchOffsets({ groupId, topics: [topic] })
    const sorted = (found?.partitions ?? []).toSorted((one, other) => one.partition - other.partition)
    return sorted.map(({ offset, metadata }) => `${offset} ${metadata ?? ''}`.trim())
  }

  it('creates the topic, registers its log, and has nothing to do the second time', async () => {
    const topic = newTopic()
    const first = await setup('--topic', topic, '--partitions', '3', '--retention-days', '2')
    expect([first.code, first.err]).toEqual([0, ''])
    expect(first.out).toMatch(new RegExp(`\\+ topic ${topic}: created with 3 partitions, LogAppendTime`))
    expect(first.out).toMatch(/\+ log [0-9a-f]{16}: .*registered for consumer group audit-writer/)
    expect(await partitionsOf(topic)).toBe(3)
    expect(await settingsOf(topic)).toMatchObject({
      'message.timestamp.type': 'LogAppendTime',
      'retention.ms': String(2 * 86_400_000),
      'max.message.bytes': '10485760',
      'cleanup.policy': 'delete',
      'compression.type': 'producer',
    })
    expect(first.out).toMatch(new RegExp(`\\+ topic ${topic}.seals: created with 1 partition, LogAppendTime`))
    expect(await partitionsOf(`${topic}.seals`)).toBe(1)
    expect(await settingsOf(`${topic}.seals`)).toMatchObject({
      'retention.ms': '-1',
      'retention.bytes': '-1',
      'cleanup.policy': 'delete',
    })
    const second = await setup('--topic', topic, '--partitions', '3', '--retention-days', '2')
    expect(second.out).toMatch(/nothing to do\n$/)
  })

  it('makes no topic on brokers of another cluster than --cluster-id names', async () => {
    const topic = newTopic()
    const { clusterId } = await admin.describeCluster()
    const refused = await setup('--topic', topic, '--cluster-id', 'MDAwMDAwMDAwMDAwMDAwMQ')
    expect(refused).toMatchObject({ code: 1, out: '' })
    expect(refused.err).toMatch(
      new RegExp(`^agent-audit: the brokers are of cluster ${clusterId}, and not of MDAw.*\\n$`),
    )
    expect(await admin.listTopics()).not.toContain(topic)
    expect((await setup('--topic', topic, '--cluster-id', clusterId)).code).toBe(0)
  })

  it('corrects the settings of an existing topic, keeps its other settings, and only reports its partitions', async () => {
    const topic = newTopic()
    const configEntries = [
      { name: 'message.timestamp.type', value: 'CreateTime' },
      { name: 'segment.ms', value: '123456789' },
      { name: 'compression.type', value: 'snappy' },
    ]
    await makeTopic(client, { topic, numPartitions: 2, configEntries })
    const { out } = await setup('--topic', topic, '--partitions', '6')
    expect(out).toContain(`2 partitions, not 6: left unchanged`)
    expect(out).toContain('message.timestamp.type from CreateTime to LogAppendTime')
    expect(out).toContain('compression.type from snappy to producer')
    expect(await partitionsOf(topic)).toBe(2)
    expect(await settingsOf(topic)).toMatchObject({
      'message.timestamp.type': 'LogAppendTime',
      'compression.type': 'producer',
      'segment.ms': '123456789',
    })
    expect((await setup('--topic', topic, '--partitions', '2')).out).toMatch(/nothing to do\n$/)
  })

  it('as a process it writes nothing to standard error', async () => {
    const topic = newTopic()
    const { url, username, password, database } = tests.server()
    const env = {
      ...process.env,
      KAFKA_BROKERS: brokers.join(','),
      CLICKHOUSE_URL: url,
      CLICKHOUSE_USER: username,
      CLICKHOUSE_PASSWORD: password,
      CLICKHOUSE_DATABASE: database,
    }
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [SHIM, 'setup', '--topic', topic], { env })
    expect(stderr).toBe('')
    expect(stdout).toContain('created with 12 partitions')
  })

  it('marks a log clean when it registers it, and does not mark it again once the offsets of its group are lost', async () => {
    const [topic, group] = [newTopic(), newGroup()]
    await setup('--topic', topic, '--group', group, '--partitions', '2')
    expect(await commitsOf(group, topic)).toEqual(['0 clean', '0 clean'])
    await admin.deleteGroups([group])
    expect(await commitsOf(group, topic)).toEqual(['-1', '-1'])
    // A consumer may have written since, and its last insert may be under way: the next owner has to wait for it.
    const again = await setup('--topic', topic, '--group', group, '--partitions', '2')
    expect([again.code, again.out]).toEqual([0, expect.stringMatching(/nothing to do\n$/)])
    expect(await commitsOf(group, topic)).toEqual(['-1', '-1'])
  })

  it('killed when it registers a log, and run again: the log is registered and marked clean', async () => {
    const [topic, group] = [newTopic(), newGroup()]
    const args = ['--brokers', brokers.join(','), '--topic', topic, '--group', group, '--partitions', '2']
    const registered = Promise.withResolvers<void>()
    const killed = await startSetup(tests.server(), {
      args,
      rule: async (statement, send) => {
        const answer = await send()
        if (!/INSERT INTO \S+audit_logs/.test(statement)) return answer
        registered.resolve()
        return undefined
      },
    })
    await registered.promise
    expect(await killed.kill()).toBe('SIGKILL')
    expect((await setup(...args)).out).toMatch(/nothing to do\n$/)
    expect(await commitsOf(group, topic)).toEqual(['0 clean', '0 clean'])
  })

  it('two at once make one topic, and both succeed', async () => {
    const [topic, group] = [newTopic(), newGroup()]
    const args = ['--topic', topic, '--group', group, '--partitions', '2']
    const both = await Promise.all([setup(...args), setup(...args)])
    expect(both.map(({ code, err }) => [code, err])).toEqual([
      [0, ''],
      [0, ''],
    ])
    expect(await partitionsOf(topic)).toBe(2)
    expect(await commitsOf(group, topic)).toEqual(['0 clean', '0 clean'])
  })

  it('leaves what a consumer has committed, though the tables do not know the log', async () => {
    const [topic, groupId] = [newTopic(), newGroup()]
    await makeTopic(client, { topic, numPartitions: 1 })
    const connection = { brokers, ssl: false, sasl: undefined, clientId: 'test' } as const
    await commitStartMark(connection, { topic, groupId, metadata: 'busy 17' })
    await admin.createPartitions({ topicPartitions: [{ topic, count: 2 }] })
    const { out } = await setup('--topic', topic, '--group', groupId)
    expect(out).toContain(`registered for consumer group ${groupId}`)
    expect(await commitsOf(groupId, topic)).toEqual(['0 busy 17', '0 clean'])
  })

  it('refuses a second consumer group for a log', async () => {
    const topic = newTopic()
    await setup('--topic', topic)
    const refused = await setup('--topic', topic, '--group', 'second')
    expect([refused.code, refused.out]).toEqual([64, ''])
    expect(refused.err).toMatch(/^agent-audit: [^\n]*consumer group "audit-writer", not "second"[^\n]*\n$/)
  })

  it('unreachable brokers: one line that names them, exit 3; a malformed broker: exit 64', async () => {
    const away = await setup('--brokers', '127.0.0.1:1')
    expect([away.code, away.out]).toEqual([3, ''])
    expect(away.err).toMatch(/^agent-audit: Kafka at 127\.0\.0\.1:1[^\n]*ECONNREFUSED[^\n]*\n$/)
    const malformed = await setup('--brokers', 'kafka')
    expect([malformed.code, malformed.err]).toEqual([64, expect.stringMatching(/expected host:port/)])
  })
})
