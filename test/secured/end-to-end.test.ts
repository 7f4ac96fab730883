/** The whole way with client certificates: producer, SASL_SSL Kafka, consumer, ClickHouse behind TLS, and `verify`. */
import { runCli } from '@agent-audit/cli'
import { createAuditTrail } from '@agent-audit/producer'
import { expect, it, onTestFinished, vi } from 'vitest'
import { openStore } from '../consumer/support.ts'
import { startConsumerProcess } from '../support/consumer-process.ts'
import { PLAIN_USER, startSecuredKafka, whyNoSecuredKafka } from '../support/secured-kafka.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { terminateTls } from '../support/tls-terminator.ts'

const missing = whyNoSecuredKafka()
const kafka = missing === '' ? await startSecuredKafka() : undefined
const store = await openStore()
const WRONG = 'wr0ng-s3cret'

async function run(
  args: readonly string[],
  env: Record<string, string>,
): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', '']
  const terminal = { out: (text: string) => (out += text), err: (text: string) => (err += text), env, colors: false }
  const code = await runCli(args, terminal)
  return { code, out, err }
}

it.skipIf(kafka === undefined)(`every event arrives, over TLS alone${missing}`, { timeout: 120_000 }, async () => {
  if (kafka === undefined) return
  const { authority } = kafka
  const { admin, writer, reader } = store.dataDir
  const client = authority.sign('client-1')
  const clickHouse = await terminateTls(admin.url, { own: authority.sign('localhost'), clients: authority })
  const ofKafka = {
    KAFKA_BROKERS: kafka.at('SASL'),
    KAFKA_SSL_CA_FILE: authority.certFile,
    KAFKA_SSL_CERT_FILE: client.certFile,
    KAFKA_SSL_KEY_FILE: client.keyFile,
    KAFKA_SASL_MECHANISM: 'plain',
    KAFKA_SASL_USERNAME: PLAIN_USER.username,
    KAFKA_SASL_PASSWORD: PLAIN_USER.password,
  }
  const ofClickHouse = ({ username, password }: { username: string; password: string }): Record<string, string> => ({
    CLICKHOUSE_URL: clickHouse.url,
    CLICKHOUSE_USER: username,
    CLICKHOUSE_PASSWORD: password,
    CLICKHOUSE_SSL_CA_FILE: authority.certFile,
    CLICKHOUSE_SSL_CERT_FILE: client.certFile,
    CLICKHOUSE_SSL_KEY_FILE: client.keyFile,
  })

  const wrong = await run(['setup'], { ...ofKafka, ...ofClickHouse(admin), KAFKA_SASL_PASSWORD: WRONG })
  expect(wrong).toMatchObject({
    code: 3,
    err: expect.stringMatching(/^agent-audit: Kafka at .*KAFKA_SASL_PASSWORD\)\n$/),
  })
  expect(wrong.out + wrong.err).not.toContain(WRONG)
  expect(await run(['setup'], { ...ofKafka, ...ofClickHouse(admin) })).toMatchObject({ code: 0, err: '' })

  for (const [name, value] of Object.entries(ofKafka)) vi.stubEnv(name, value)
  onTestFinished(() => void vi.unstubAllEnvs())
  const trail = createAuditTrail({ agentId: 'agent-1', spoolDir: makeTempDirectory(), handleExit: false })
  const receipts = Array.from({ length: 200 }, (_, index) =>
    trail.startSession().decision({ reasoning: `because ${index}` }),
  )
  await Promise.all(receipts.map(({ acked }) => acked))
  expect(await trail.close()).toMatchObject({ pending: 0, refused: 0 })

  const consumer = startConsumerProcess({ ...ofKafka, ...ofClickHouse(writer), LOG_LEVEL: 'info' })
  const complete = async (): Promise<unknown> => {
    const { code, out } = await run(['verify', '--completeness', '--json'], ofClickHouse(reader))
    return { code, events: (await store.rows<{ n: number }>('SELECT count() AS n FROM audit_events'))[0]?.n, out }
  }
  await expect.poll(complete, { timeout: 60_000, interval: 500 }).toMatchObject({ code: 0, events: 402 })
  expect(await consumer.kill('SIGTERM')).toBe(0)
  expect(new Set(clickHouse.clients)).toEqual(new Set(['client-1']))
})
