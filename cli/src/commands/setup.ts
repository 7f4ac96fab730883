/** `agent-audit setup`: creates the topics, tables and registrations that the first event needs. Idempotent. */
import {
  type Analytics,
  checkGrants,
  connectAnalytics,
  migrate,
  type MigrationReport,
  registerLog,
} from '@agent-audit/analytics'
import type { KafkaConnection } from '@agent-audit/kafka'
import type { TopicReport } from '@agent-audit/kafka/topics'
import { DEFAULT_CONSUMER_GROUP, DEFAULT_TOPIC, SEALS_SUFFIX } from '@agent-audit/schemas'
import type { Command } from 'commander'
import { collect, parseCount } from '../arguments.ts'
import type { Terminal } from '../terminal.ts'
import {
  clickHouseTls,
  connectable,
  type ConnectionOptions,
  connectServer,
  importEmbedded,
  secretOf,
} from '../connect.ts'
import { KAFKA_HELP, kafkaOf } from '../kafka-connection.ts'
import { asJson, counted, painter } from '../render/text.ts'

interface Options extends ConnectionOptions {
  readonly brokers?: string
  readonly topic?: string[]
  readonly group: string
  readonly partitions: number
  readonly replicationFactor?: number
  readonly retentionDays: number
  readonly maxMessageBytes: number
  readonly clusterId?: string
  readonly json?: boolean
}

/** One checked item. */
interface Step {
  readonly what: string
  readonly changed: boolean
  readonly detail: string
  /** The detail is a warning: setup leaves the setting as it is. */
  readonly warning?: true
}

const DAY_MS = 86_400_000

export function addSetup(program: Command, terminal: Terminal): void {
  const command = program
    .command('setup')
    .description('create or check topics, tables and grants; leaves correct ones unchanged')
    .option(
      '--brokers <list>',
      'Kafka, host:port separated by commas (default: KAFKA_BROKERS; without both: no topics)',
    )
    .option('--topic <name>', `topic (default: ${DEFAULT_TOPIC}; repeatable)`, collect)
    .option('--group <id>', 'the only consumer group that may write the topic', DEFAULT_CONSUMER_GROUP)
    .option('--partitions <n>', 'of a new topic: at most so many consumers share it', parseCount(1, 10_000), 12)
    .option('--replication-factor <n>', 'of a new topic (default: 3, or one a broker)', parseCount(1, 100))
    .option('--retention-days <n>', 'how long Kafka keeps records', parseCount(1, 36_500), 7)
    .option('--max-message-bytes <n>', 'largest batch of records', parseCount(65_536, 1_000_000_000), 10_485_760)
    .option('--cluster-id <id>', 'refuse brokers of another Kafka cluster, such as one whose data was made anew')
    .option('--json', 'one JSON object')
    .addHelpText('after', SETUP_HELP)
  connectable(command).action(async (options: Options) => {
    const steps =
      options.dataDir === undefined ? await setUpServers(options, terminal) : await setUpDataDir(options.dataDir)
    if (options.json === true) terminal.out(`${asJson({ changed: steps.some(({ changed }) => changed), steps })}\n`)
    else terminal.out(report(steps, terminal))
  })
}

const SETUP_HELP = `
CLICKHOUSE_USER must be an admin for this command. With CLICKHOUSE_WRITER_USER and CLICKHOUSE_WRITER_PASSWORD, it also checks
the grants of the consumer's user: to insert, and to read its bookkeeping, and no others. With CLICKHOUSE_DETECTOR_USER and
CLICKHOUSE_DETECTOR_PASSWORD those of the detectors' user: to read the trail, and to insert findings. With CLICKHOUSE_NOTARY_USER
and CLICKHOUSE_NOTARY_PASSWORD those of the notary's user: to read and insert seals and checkpoints.
${KAFKA_HELP}`

async function setUpDataDir(dataDir: string): Promise<Step[]> {
  const { openDataDir } = await importEmbedded()
  await using opened = await openDataDir(dataDir)
  return [tablesStep(`data directory ${dataDir}`, opened.migrations)]
}

async function setUpServers(options: Options, terminal: Terminal): Promise<Step[]> {
  const kafka = kafkaOf(options.brokers, terminal.env)
  const topics = options.topic ?? [DEFAULT_TOPIC]
  await using admin = await connectServer(terminal.env)
  const steps: Step[] = [tablesStep(`ClickHouse ${admin.address}, database ${admin.database}`, await migrate(admin))]
  if (kafka !== undefined) {
    for (const topic of topics) steps.push(...(await setUpLog(kafka, topic, options, admin)))
    const all = topics.flatMap((topic) => [topic, topic + SEALS_SUFFIX])
    steps.push(...(await checkDurability(kafka, all)))
  }
  return [...steps, ...(await checkRoles(admin, terminal.env))]
}

async function setUpLog(kafka: KafkaConnection, topic: string, options: Options, admin: Analytics): Promise<Step[]> {
  // Loaded only here: the other commands need no Kafka client, and start sooner without.
  const { ensureTopic } = await import('@agent-audit/kafka/topics')
  const { markKafkaLogClean } = await import('@agent-audit/consumer')
  const retentionMs = options.retentionDays * DAY_MS
  const found = await ensureTopic(kafka, { ...options, topic, retentionMs })
  const seals = await setUpSeals(kafka, topic, options)
  const { clusterId: sourceId, topicId } = found
  const { group } = options
  const { logId, added } = await registerLog(admin, {
    sourceId,
    topic,
    topicId,
    consumerGroup: group,
    // The log is not registered: no consumer can have written it, since none starts on an unregistered log.
    prepare: () => markKafkaLogClean(kafka, { topic, groupId: group }),
  })
  const registered = `${added ? 'registered for' : 'is held by'} consumer group ${group}`
  const detail = `topic ${topic} of cluster ${sourceId} ${registered}`
  return [topicStep(topic, options.partitions, found), seals, { what: `log ${logId}`, changed: added, detail }]
}

/** The topic of the seals of a topic's records. Their order is that of its one partition, and a seal proves as long as it is kept. */
async function setUpSeals(kafka: KafkaConnection, topic: string, options: Options): Promise<Step> {
  const { ensureTopic } = await import('@agent-audit/kafka/topics')
  const seals = topic + SEALS_SUFFIX
  const found = await ensureTopic(kafka, { ...options, topic: seals, partitions: 1, retentionMs: -1 })
  return topicStep(seals, 1, found)
}

/** Names what promises less than docs/exactly-once.md assumes: a warning, since setup changes no copies of existing topics. */
async function checkDurability(kafka: KafkaConnection, topics: readonly string[]): Promise<Step[]> {
  const { findWeakDurability } = await import('@agent-audit/kafka/topics')
  const found = await findWeakDurability(kafka, topics)
  return found.map(({ message }) => ({ what: 'durability', changed: false, detail: message, warning: true }))
}

const ROLES = [
  { role: 'writer', variable: 'CLICKHOUSE_WRITER', may: 'may insert and read its bookkeeping' },
  { role: 'detector', variable: 'CLICKHOUSE_DETECTOR', may: 'may read the trail and insert findings' },
  { role: 'notary', variable: 'CLICKHOUSE_NOTARY', may: 'may read and insert seals and checkpoints' },
] as const

async function checkRoles(admin: { database: string }, env: Terminal['env']): Promise<Step[]> {
  const steps: Step[] = []
  for (const { role, variable, may } of ROLES) {
    const username = env[`${variable}_USER`]
    if (username === undefined) continue
    const password = secretOf(env, `${variable}_PASSWORD`) ?? ''
    const url = env['CLICKHOUSE_URL'] ?? ''
    const ssl = clickHouseTls(env)
    await using user = connectAnalytics({ url, username, password, database: admin.database, ssl })
    await checkGrants(user, role)
    steps.push({ what: `${role} ${username}`, changed: false, detail: `${may}, and has no other grants` })
  }
  return steps
}

function tablesStep(what: string, { applied, present }: MigrationReport): Step {
  if (applied.length > 0) return { what, changed: true, detail: `applied ${applied.join(', ')}` }
  return { what, changed: false, detail: `all ${counted(present, 'migration')} were applied before` }
}

function topicStep(topic: string, wanted: number, found: TopicReport): Step {
  const what = `topic ${topic}`
  const notes = found.notes.map((note) => `; ${note}`).join('')
  if (found.created)
    return {
      what,
      changed: true,
      detail: `created with ${counted(found.partitions, 'partition')}, LogAppendTime${notes}`,
    }
  const partitions =
    found.partitions === wanted
      ? counted(found.partitions, 'partition')
      : `${counted(found.partitions, 'partition')}, not ${wanted}: left unchanged (new partitions would move sessions)`
  const settings = found.altered.length === 0 ? 'settings correct' : `set ${found.altered.join(', ')}`
  return { what, changed: found.altered.length > 0, detail: `${partitions}; ${settings}${notes}` }
}

function report(steps: readonly Step[], terminal: Terminal): string {
  const paint = painter(terminal.colors)
  const markOf = ({ changed, warning }: Step): string =>
    changed ? paint('green', '+') : warning ? paint('yellow', '!') : ' '
  const lines = steps.map((step) => `${markOf(step)} ${step.what}: ${step.detail}\n`)
  return `${lines.join('')}${steps.some(({ changed }) => changed) ? '' : 'nothing to do\n'}`
}
