/** A server that cannot run here is reported in one line that says what to do. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  clickHouseAvailability,
  kafkaAvailability,
  SERVER_KINDS,
  startClickHouse,
  startKafka,
} from '@agent-audit/stack'
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest'

const { platform } = process

beforeEach(() => {
  vi.stubEnv('AUDIT_SERVERS', 'local')
  for (const kind of SERVER_KINDS) vi.stubEnv(`AUDIT_SERVERS_${kind.toUpperCase()}`, undefined)
  vi.stubEnv('CLICKHOUSE_URL', undefined)
  vi.stubEnv('KAFKA_BROKERS', undefined)
})

afterEach(() => {
  vi.unstubAllEnvs()
  Object.defineProperty(process, 'platform', { value: platform })
})

it('names the platform that the embedded ClickHouse needs, and what to do on others', async () => {
  Object.defineProperty(process, 'platform', { value: 'darwin' })
  expect(clickHouseAvailability()).toEqual({
    available: false,
    reason: expect.stringMatching(
      /Linux x64, not on darwin .*; start Docker, or set CLICKHOUSE_URL and KAFKA_BROKERS to use other servers/,
    ),
  })
  await expect(startClickHouse({ users: [] })).rejects.toMatchObject({ code: 'PART_UNAVAILABLE', retryable: true })
})

it('needs nothing of the machine for servers that run elsewhere', async () => {
  Object.defineProperty(process, 'platform', { value: 'darwin' })
  vi.stubEnv('CLICKHOUSE_URL', 'http://clickhouse:8123')
  vi.stubEnv('KAFKA_BROKERS', 'one:9092, two:9092')
  expect([clickHouseAvailability(), kafkaAvailability()]).toEqual([{ available: true }, { available: true }])
  expect(await startKafka()).toMatchObject({ brokers: ['one:9092', 'two:9092'], attached: true, nodes: [] })
})

it('says that Java is missing, and names the alternative', async () => {
  const empty = await mkdtemp(join(tmpdir(), 'agent-audit-test-'))
  onTestFinished(() => rm(empty, { recursive: true, force: true }))
  vi.stubEnv('PATH', empty)
  vi.stubEnv('JAVA_HOME', undefined)
  expect(kafkaAvailability()).toEqual({
    available: false,
    reason: expect.stringMatching(/no Java was found: install Java and Maven, start Docker, or set KAFKA_BROKERS/),
  })
  await expect(startKafka()).rejects.toMatchObject({ code: 'PART_UNAVAILABLE' })
})
