/** `agent-audit setup` on brokers that have a compression of their own: the topic keeps the producer's, and setup says so. */
import { runCli } from '@agent-audit/cli'
import kafkajs from 'kafkajs'
import { describe, expect, it } from 'vitest'
import { NO_CLICKHOUSE, startTestServer } from '../analytics/support.ts'
import { startProxiedKafka, whyNoOwnKafka } from '../support/kafka-proxy.ts'
import { connectKafka, makeTopic, withAdmin } from '../support/kafka-topic.ts'

const DESCRIBE_CONFIGS = 32
const MISSING = NO_CLICKHOUSE ?? whyNoOwnKafka()

describe.skipIf(MISSING !== '')(`setup on brokers that compress ${MISSING}`, { timeout: 120_000 }, async () => {
  if (MISSING !== '') return
  const tests = await startTestServer()
  const { cluster, proxy } = await startProxiedKafka({ properties: { 'compression.type': 'gzip' } })
  const kafka = connectKafka(cluster.brokers)

  const setup = async (topic: string): Promise<string> => {
    let out = ''
    const { url, username, password, database } = tests.server()
    const env = {
      CLICKHOUSE_URL: url,
      CLICKHOUSE_USER: username,
      CLICKHOUSE_PASSWORD: password,
      CLICKHOUSE_DATABASE: database,
    }
    const terminal = { out: (text: string) => (out += text), err: (text: string) => (out += text), env, colors: false }
    await runCli(['setup', '--brokers', cluster.brokers.join(','), '--topic', topic], terminal)
    return out
  }
  const compressionOf = (topic: string): Promise<string | undefined> =>
    withAdmin(kafka, async (admin) => {
      const resources = [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic }]
      const described = await admin.describeConfigs({ includeSynonyms: false, resources })
      return described.resources[0]?.configEntries.find(({ configName }) => configName === 'compression.type')
        ?.configValue
    })

  it("overrides the brokers' compression.type on a new topic and on an existing one, and names it", async () => {
    const note = "the brokers' own compression.type is gzip: the topic overrides it"
    expect(await setup('new')).toContain(`topic new: created with 12 partitions, LogAppendTime; ${note}`)
    const existing = await makeTopic(kafka, { topic: 'existing', numPartitions: 1 })
    expect(await compressionOf(existing)).toBe('gzip')
    const out = await setup(existing)
    expect(out).toContain('compression.type from gzip to producer')
    expect(out).toContain(note)
    expect([await compressionOf('new'), await compressionOf(existing)]).toEqual(['producer', 'producer'])
    expect(await setup('new')).toMatch(new RegExp(`settings correct; ${note}\\n[^]*nothing to do\\n$`))
  })

  it('says where the brokers keep another compression.type, though they accepted the setting', async () => {
    await setup('forced')
    proxy.changeAnswers(DESCRIBE_CONFIGS, (answer) => {
      for (let at = answer.indexOf('producer'); at >= 0; at = answer.indexOf('producer')) answer.write('zstd-own', at)
    })
    const out = await setup('forced')
    proxy.changeAnswers(DESCRIBE_CONFIGS, undefined)
    expect(out).toContain('the brokers force compression.type zstd-own, not producer')
  })
})
