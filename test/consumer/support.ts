/** Shared by the tests of the consumer: a store with its tables, logs to fill, and consumers to run. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAnalytics, registerLog } from '@agent-audit/analytics'
import {
  type Consumer,
  createConsumer,
  makeEmbeddedTopic,
  markKafkaLogClean,
  readSettings,
} from '@agent-audit/consumer'
import { composeParts, type ConsumerParts } from '@agent-audit/consumer/pipeline'
import { logIdOf } from '@agent-audit/schemas'
import { openEmbeddedLog } from '@agent-audit/spool'
import { type DataDir, openDataDir } from '@agent-audit/embedded'
import { kafkaAvailability } from '@agent-audit/stack'
import kafkajs from 'kafkajs'
import { type DestinationStream, pino } from 'pino'
import { afterAll, it, onTestFinished } from 'vitest'
import { makeTopic } from '../support/kafka-topic.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

/** A ClickHouse with the trail's tables, for all tests of a file. */
export interface Store {
  readonly dataDir: DataDir
  /** Rows of a query, asked as the admin. */
  rows<Row = Record<string, unknown>>(query: string, settings?: Record<string, string>): Promise<Row[]>
  /** The answer to a statement of that user: an error text, or the body. */
  send(
    statement: string,
    user: { username: string; password: string },
    settings?: Record<string, string>,
  ): Promise<string>
}

/** Opens a store that is stopped and removed after the last test of the file. */
export async function openStore(): Promise<Store> {
  const directory = mkdtempSync(join(tmpdir(), 'consumer-test-'))
  const dataDir = await openDataDir(directory)
  afterAll(async () => {
    await dataDir.close()
    rmSync(directory, { recursive: true, force: true })
  })
  const send: Store['send'] = async (statement, user, settings = {}) => {
    const parameters = new URLSearchParams({ database: 'audit', ...settings })
    const headers = { 'X-ClickHouse-User': user.username, 'X-ClickHouse-Key': user.password }
    const response = await fetch(`${dataDir.admin.url}/?${parameters.toString()}`, {
      method: 'POST',
      body: statement,
      headers,
    })
    return response.text()
  }
  return {
    dataDir,
    send,
    async rows<Row>(query: string, settings: Record<string, string> = {}) {
      const text = await send(`${query} FORMAT JSONEachRow`, dataDir.admin, {
        output_format_json_quote_64bit_integers: '0',
        ...settings,
      })
      if (/^Code: \d+/.test(text)) throw new Error(text)
      return text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Row)
    },
  }
}

/** A log with its own topic and group, registered with the store and, by default, marked clean. */
export interface TestLog {
  readonly topic: string
  readonly group: string
  readonly sourceId: string
  /** The consumer's settings for this log. */
  readonly environment: Record<string, string>
  append(partition: number, values: readonly (Buffer | null)[]): Promise<void>
}

export interface LogOptions {
  /** @defaultValue 1 */
  readonly partitions?: number
  /** @defaultValue true */
  readonly clean?: boolean
  /** Of the topic's name, such as `.pci`: its records may have that class, or `default`. @defaultValue none */
  readonly ending?: string
  /** Of the embedded log. @defaultValue `audit.events`, or one with that ending */
  readonly topic?: string
  /** Consumer group. @defaultValue one of its own on Kafka */
  readonly group?: string
}

/** Makes logs of one kind: the consumer's promises hold on all kinds. */
export type OpenLog = (store: Store, options?: LogOptions) => Promise<TestLog>

export async function openEmbedded(store: Store, options: LogOptions = {}): Promise<TestLog> {
  const directory = mkdtempSync(join(tmpdir(), 'consumer-log-'))
  const partitions = options.partitions ?? 1
  const topic = options.topic ?? (options.ending === undefined ? 'audit.events' : `other${options.ending}`)
  const names = { topic, group: options.group ?? 'audit-writer' }
  if (options.clean !== false) makeEmbeddedTopic(directory, { topic: names.topic, groupId: names.group }, partitions)
  const log = openEmbeddedLog({ directory })
  log.createTopic(names.topic, partitions)
  onTestFinished(() => {
    log.close()
    rmSync(directory, { recursive: true, force: true })
  })
  await register(store, { ...names, sourceId: log.id })
  return {
    ...names,
    sourceId: log.id,
    environment: { AUDIT_DATA_DIR: directory },
    append: async (partition, values) => {
      log.append(
        names.topic,
        partition,
        values.map((value) => ({ key: Buffer.from('key'), value })),
      )
    },
  }
}

let topics = 0
let sends = 0

/** Logs on a real Kafka. */
export function openOnKafka(brokers: readonly string[]): OpenLog {
  return async (store, options = {}) => {
    const retry = { retries: 10, initialRetryTime: 100 }
    const kafka = new kafkajs.Kafka({ brokers: [...brokers], logLevel: kafkajs.logLevel.NOTHING, retry })
    const name = `${process.pid}-${Date.now()}-${topics++}`
    const names = { topic: `audit-${name}${options.ending ?? ''}`, group: options.group ?? `writer-${name}` }
    const [admin, producer] = [kafka.admin(), kafka.producer({ allowAutoTopicCreation: false })]
    await Promise.all([admin.connect(), producer.connect()])
    onTestFinished(async () => {
      await Promise.all([admin.disconnect(), producer.disconnect()])
    })
    await makeTopic(kafka, { topic: names.topic, numPartitions: options.partitions ?? 1 })
    const sourceId = (await admin.describeCluster()).clusterId
    await register(store, { ...names, sourceId })
    if (options.clean !== false) {
      await markKafkaLogClean(
        { brokers, ssl: false, sasl: undefined, clientId: 'test' },
        { topic: names.topic, groupId: names.group },
      )
    }
    return {
      ...names,
      sourceId,
      environment: { KAFKA_BROKERS: brokers.join(',') },
      append: async (partition, values) => {
        const messages = values.map((value) => ({ key: 'key', value, partition }))
        // Compressed and plain batches in turns: every promise holds for both.
        const compression = sends++ % 2 === 0 ? kafkajs.CompressionTypes.GZIP : kafkajs.CompressionTypes.None
        await producer.send({ topic: names.topic, messages, compression })
      },
    }
  }
}

async function register(store: Store, log: { sourceId: string; topic: string; group: string }): Promise<void> {
  await using admin = connectAnalytics(store.dataDir.admin)
  await registerLog(admin, { ...log, consumerGroup: log.group })
}

/** Settings of a consumer of this log: quick batches, and leases that are short enough for tests to wait them out. */
export function environmentOf(store: Store, log: TestLog): Record<string, string> {
  const { url, username, password } = store.dataDir.writer
  return {
    ...log.environment,
    AUDIT_TOPICS: log.topic,
    AUDIT_GROUP_ID: log.group,
    CLICKHOUSE_URL: url,
    CLICKHOUSE_USER: username,
    CLICKHOUSE_PASSWORD: password,
    BATCH_MAX_AGE_MS: '50',
    INSERT_TIMEOUT_MS: '1500',
    LEASE_MS: '2000',
    CLOCK_MARGIN_MS: '100',
    SESSION_TIMEOUT_MS: '6000',
    LOG_LEVEL: 'silent',
  }
}

/**
 * The same with a lease so long that a consumer which waits for its end fails the test. An insert may take long too: on a busy
 * machine one without an answer would cause such a wait.
 */
export function patientEnvironmentOf(store: Store, log: TestLog): Record<string, string> {
  const patience = { LEASE_MS: '1000000', INSERT_TIMEOUT_MS: '20000', SESSION_TIMEOUT_MS: '30000' }
  return { ...environmentOf(store, log), ...patience }
}

export interface Running {
  readonly consumer: Consumer
  /** Drains it and waits; rejects with the consumer's error. */
  stop(): Promise<void>
  /** Resolves with the error that it stops with by itself. */
  readonly failure: Promise<unknown>
}

/**
 * Runs a consumer in this process; drained after the test.
 * @param change - Replaces some of its real parts.
 * @param log - Takes the lines of its log.
 */
export function runConsumer(
  environment: Record<string, string>,
  change: (parts: ConsumerParts) => Partial<ConsumerParts> = () => ({}),
  log?: DestinationStream,
): Running {
  const settings = readSettings(environment)
  const consumer = createConsumer(settings, pino({ level: settings.LOG_LEVEL }, log), (given) => {
    const parts = composeParts(given)
    return { ...parts, ...change(parts) }
  })
  const drain = new AbortController()
  const running = consumer.run(drain.signal)
  const failure = running.then(
    () => undefined,
    (error: unknown) => error,
  )
  const stop = (): Promise<void> => {
    drain.abort()
    return running
  }
  onTestFinished(async () => {
    await stop().catch(() => undefined)
  })
  return { consumer, stop, failure }
}

/** Copies rows of one log to another, as an earlier owner left them there; `filter` selects them. */
export async function copyRows(store: Store, from: TestLog, to: TestLog, filter: string): Promise<void> {
  const now = Date.now()
  const answer = await store.send(
    `INSERT INTO audit_events SELECT * REPLACE (${logIdSql(to)} AS log_id)
     FROM (SELECT * FROM audit_events WHERE log_id = ${logIdSql(from)} AND ${filter})`,
    store.dataDir.admin,
    { log_comment: `${now} ${now + 60_000}` },
  )
  if (answer !== '') throw new Error(answer)
}

function logIdSql(log: TestLog): string {
  return `unhex('${logIdOf(log.sourceId, log.topic).toString('hex')}')`
}

/** How many events of a log are in the table. */
export async function countEvents(store: Store, log: TestLog): Promise<number> {
  const [events] = await store.rows<{ n: number }>(
    `SELECT count() AS n FROM audit_events WHERE log_id = ${logIdSql(log)}`,
  )
  return events?.n ?? 0
}

/** The rows of both tables that account for a log's offsets, by partition. */
export async function accountOf(
  store: Store,
  log: TestLog,
): Promise<{ events: number; skipped: Record<string, number> }> {
  const where = `log_id = ${logIdSql(log)}`
  const events = await countEvents(store, log)
  const skipped = await store.rows<{ kind: string; n: number }>(
    `SELECT kind, count() AS n FROM audit_skipped WHERE ${where} GROUP BY kind ORDER BY kind`,
  )
  return { events, skipped: Object.fromEntries(skipped.map(({ kind, n }) => [kind, n])) }
}

/** Rows of one log, in order. */
export function rowsOf<Row>(store: Store, log: TestLog, table: string, columns: string): Promise<Row[]> {
  const where = `log_id = ${logIdSql(log)}`
  return store.rows<Row>(`SELECT ${columns} FROM ${table} WHERE ${where} ORDER BY log_partition, log_offset`)
}

/** The kinds of logs on this machine. Without Kafka a skipped test says why. */
export async function openLogKinds(): Promise<[name: string, openLog: OpenLog][]> {
  const kafka = kafkaAvailability()
  if (!kafka.available) {
    it.skip(`on Kafka: ${kafka.reason}`)
    return [['the embedded log', openEmbedded]]
  }
  const { brokers } = await sharedKafka()
  return [
    ['the embedded log', openEmbedded],
    ['Kafka', openOnKafka(brokers)],
  ]
}
