/** The servers of a run: a ClickHouse with the trail's tables, and a log that the producer writes and the consumer reads. */
import { join } from 'node:path'
import { type Analytics, connectAnalytics, registerLog } from '@agent-audit/analytics'
import { makeEmbeddedTopic } from '@agent-audit/consumer'
import type { DataDir, DataDirUser } from '@agent-audit/embedded'
import { openDataDirOn, TRAIL_USERS } from '@agent-audit/embedded/internal'
import { readKafkaEnvironment } from '@agent-audit/kafka'
import type { AuditTrailOptions } from '@agent-audit/producer'
import { AuditUnavailableError, DEFAULT_CONSUMER_GROUP, DEFAULT_TOPIC } from '@agent-audit/schemas'
import { startClickHouse, startKafka } from '@agent-audit/stack'
import { runCommand } from '../agent-audit-command.ts'

/** The log, and the settings to reach it. */
interface Log {
  /** 16 hex digits. */
  readonly logId: string
  /** For people: `embedded log` or `Kafka at 127.0.0.1:9092`. */
  readonly name: string
  readonly producer: Pick<AuditTrailOptions, 'brokers' | 'ssl' | 'sasl' | 'dataDir' | 'spoolDir'>
  readonly consumer: Readonly<Record<string, string>>
}

export interface Deployment extends AsyncDisposable {
  readonly log: Log
  /** For people: `ClickHouse at 127.0.0.1:23456`. */
  readonly store: string
  readonly reader: Analytics
  /** The consumer's settings. Its ClickHouse user may only insert and read the consumer's bookkeeping. */
  readonly consumerSettings: Readonly<Record<string, string>>
  /** Arguments of `agent-audit` that name this trail: `--data-dir D`, or none where variables name it. */
  readonly trailArguments: readonly string[]
  /** Variables with which `agent-audit` finds this trail, where this environment lacks them: that of a container. */
  readonly trailEnvironment: Readonly<Record<string, string>>
}

export interface DeploymentOptions {
  readonly dataDir: string
  readonly kafka: boolean
}

/** As many as two cores can use. */
const PARTITIONS = 4
const NEW_LOG = { topic: DEFAULT_TOPIC, groupId: DEFAULT_CONSUMER_GROUP }

/**
 * Opens the servers. `stopAll` of the stack stops those that this starts.
 * @throws AuditUnavailableError `PART_UNAVAILABLE` if this machine cannot run them, saying what to do instead.
 */
export async function openDeployment(options: DeploymentOptions): Promise<Deployment> {
  const [dataDir, brokers] = await Promise.all([
    openTrail(options.dataDir),
    options.kafka ? startKafka({ dataDir: join(options.dataDir, 'kafka') }).then((kafka) => kafka.brokers) : undefined,
  ])
  const log = await (brokers === undefined
    ? openEmbeddedLog(options, dataDir)
    : openKafkaLog(options, dataDir, brokers))
  const reader = connectAnalytics(dataDir.reader)
  return {
    log,
    store: `ClickHouse at ${reader.address}`,
    reader,
    consumerSettings: {
      ...log.consumer,
      ...environmentOf(dataDir.writer),
      BATCH_MAX_AGE_MS: '200',
      HTTP_PORT: '0',
      LOG_LEVEL: 'warn',
    },
    trailArguments: dataDir.clickhouse.dataDir === '' ? [] : ['--data-dir', options.dataDir],
    trailEnvironment: isContained(dataDir) ? environmentOf(dataDir.reader) : {},
    [Symbol.asyncDispose]: () => reader.close(),
  }
}

/** A server in a container has no directory, as a named one; but this process started it. */
function isContained({ clickhouse }: DataDir): boolean {
  return clickhouse.dataDir === '' && !clickhouse.attached
}

function environmentOf({ url, username, password, database }: DataDirUser): Record<string, string> {
  return {
    CLICKHOUSE_URL: url,
    CLICKHOUSE_USER: username,
    CLICKHOUSE_PASSWORD: password,
    CLICKHOUSE_DATABASE: database,
  }
}

/** The trail on the server that CLICKHOUSE_URL names, else on the data directory's own server. */
async function openTrail(dataDir: string): Promise<DataDir> {
  return openDataDirOn(await startClickHouse({ dataDir, users: TRAIL_USERS }), dataDir)
}

async function openEmbeddedLog(options: DeploymentOptions, dataDir: DataDir): Promise<Log> {
  const sourceId = makeEmbeddedTopic(dataDir.logDir, NEW_LOG, PARTITIONS)
  await using admin = connectAnalytics(dataDir.admin)
  const { logId } = await registerLog(admin, { sourceId, topic: NEW_LOG.topic, consumerGroup: NEW_LOG.groupId })
  return {
    logId,
    name: 'embedded log',
    producer: { dataDir: dataDir.logDir, spoolDir: join(options.dataDir, 'spool', logId) },
    consumer: { AUDIT_DATA_DIR: dataDir.logDir },
  }
}

/** Creates the topic with `agent-audit setup`, as an operator does. */
async function openKafkaLog(options: DeploymentOptions, dataDir: DataDir, brokers: readonly string[]): Promise<Log> {
  const list = brokers.join(',')
  const setup = await runCommand(['setup', '--brokers', list, '--partitions', String(PARTITIONS), '--json'], {
    capture: true,
    env: environmentOf(dataDir.admin),
  })
  const { steps = [] } =
    setup.exitCode === 0 ? (JSON.parse(setup.output) as { steps: { what: string; changed: boolean }[] }) : {}
  const registered = steps.find(({ what }) => what.startsWith('log '))
  if (registered === undefined) {
    throw new AuditUnavailableError('PART_UNAVAILABLE', `the topic could not be set up on Kafka at ${list}`)
  }
  // Setup has read the same variables, and would have refused them.
  const { connection } = readKafkaEnvironment(process.env, { brokers: list, clientId: 'agent-audit-start' })
  const logId = registered.what.slice('log '.length)
  const access = Object.entries(process.env).filter(([name]) => /^KAFKA_(SSL|SASL_)/.test(name))
  return {
    logId,
    name: `Kafka at ${list}`,
    producer: {
      brokers,
      ssl: connection?.ssl,
      sasl: connection?.sasl,
      spoolDir: join(options.dataDir, 'spool', logId),
    },
    consumer: { ...(Object.fromEntries(access) as Record<string, string>), KAFKA_BROKERS: list },
  }
}
