/** The consumers that are measured: each knows its table and starts itself on a backlog. */
import { registerLog } from '@agent-audit/analytics'
import { markKafkaLogClean } from '@agent-audit/consumer'
import { EVENTS_TABLE } from '@agent-audit/schemas'
import type { DataDir, DataDirUser } from '@agent-audit/embedded'
import { readMetric } from '../../test/support/metrics.ts'
import type { Backlog } from './backlog.ts'
import { connectKafka } from '../support/kafka.ts'
import { startKafkaEngine } from './kafka-engine.ts'
import { MeasuredProcess } from '../support/measured-process.ts'
import type { Usage } from '../support/process-usage.ts'
import type { CommitCount, ConsumerName } from '../support/results.ts'
import { environmentOf, HEX_TWIN_TABLE, type Store, TWIN_TABLE } from '../support/store.ts'

export interface ConsumerParts {
  readonly brokers: readonly string[]
  /** Undefined: no backlog has a topic for the Kafka engine. */
  readonly registryUrl: string | undefined
  readonly dataDir: DataDir
  readonly store: Store
  /** Folder for CPU profiles of our consumer; undefined: takes none. */
  readonly profileDir: string | undefined
}

/** A running consumer. Times are those of performance.now(). */
export interface RunningConsumer {
  readonly startedAt: number
  /** Time at which it owned its first partition, and the usage of its process until then. */
  claimed(): Promise<{ at: number; usage: Usage | undefined }>
  /** Usage of its process; undefined if it has none. */
  usage(): Usage | undefined
  /** Why it has failed; undefined while it runs. */
  failure(): Promise<string | undefined>
  /** Commits so far; undefined if it does not count them. */
  commits(): Promise<CommitCount | undefined>
  stop(): Promise<void>
}

export interface ContenderKind {
  readonly name: ConsumerName
  readonly table: string
  /** @param group - Name of a new consumer group. */
  start(parts: ConsumerParts, backlog: Backlog, group: string): Promise<RunningConsumer>
}

export const CONSUMERS: readonly ContenderKind[] = [
  { name: 'ours', table: EVENTS_TABLE, start: startOurs },
  { name: 'obvious', table: HEX_TWIN_TABLE, start: (...order) => Promise.resolve(startObvious(...order)) },
  {
    name: 'Kafka engine',
    table: TWIN_TABLE,
    start: ({ brokers, registryUrl = '', store }, backlog, group) =>
      startKafkaEngine({ admin: store.admin, brokers, registryUrl, backlog, group }),
  },
]

async function startOurs(parts: ConsumerParts, backlog: Backlog, group: string): Promise<RunningConsumer> {
  return startSealing(undefined, parts, backlog, group)
}

/** @param keyFile - undefined: seals nothing */
export async function startSealing(
  keyFile: string | undefined,
  parts: ConsumerParts,
  { topic }: Backlog,
  group: string,
): Promise<RunningConsumer> {
  await prepareLog(parts, topic, group)
  const { brokers, dataDir, profileDir } = parts
  const consumer = startOurConsumer({ brokers, topic, group, user: dataDir.writer, profileDir, keyFile })
  return { ...consumer.running, commits: async () => countCommits(await consumer.url) }
}

export interface OurOrder {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly group: string
  readonly user: DataDirUser
  readonly profileDir?: string | undefined
  /** Key of its seals. @defaultValue it seals nothing */
  readonly keyFile?: string | undefined
}

/** Our consumer's process with its default settings. `url` is the URL of its metrics. */
export function startOurConsumer(order: OurOrder): {
  readonly url: Promise<string>
  readonly running: Omit<RunningConsumer, 'commits'>
} {
  const { profileDir } = order
  const profiling = profileDir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`]
  // The same option as in `npm run consumer`.
  const nodeOptions = ['--max-semi-space-size=4', ...profiling]
  const env = { ...consumerEnvironment(order), HTTP_PORT: '0', AUDIT_SIGNING_KEY_FILE: order.keyFile ?? '' }
  const child = new MeasuredProcess({ script: 'consumer/src/main.ts', env, nodeOptions })
  const url = child.line(/"msg":"started"/).then(({ line }) => (JSON.parse(line) as { url: string }).url)
  // If the process ends before it has started, the awaited claim rejects with the reason.
  url.catch(() => undefined)
  return { url, running: runningOf(child) }
}

function startObvious({ brokers, dataDir }: ConsumerParts, { topic }: Backlog, group: string): RunningConsumer {
  const env = { ...consumerEnvironment({ brokers, topic, group, user: dataDir.admin }), BENCH_TABLE: HEX_TWIN_TABLE }
  const child = new MeasuredProcess({ script: 'bench/consumer/obvious-consumer.ts', env })
  return { ...runningOf(child), commits: () => Promise.resolve(undefined) }
}

function consumerEnvironment({ brokers, topic, group, user }: OurOrder): Record<string, string> {
  const kafka = { KAFKA_BROKERS: brokers.join(','), AUDIT_TOPICS: topic, AUDIT_GROUP_ID: group }
  return { ...kafka, ...environmentOf(user) }
}

function runningOf(child: MeasuredProcess): Omit<RunningConsumer, 'commits'> {
  const claimed = child.line(/partition (?:claimed|assigned)/)
  claimed.catch(() => undefined)
  return {
    startedAt: child.startedAt,
    claimed: async () => {
      const mark = await claimed
      return { at: mark.at, usage: mark }
    },
    usage: () => child.mark(),
    failure: () => Promise.resolve(child.isAlive ? undefined : `it ended:\n${child.lastLines()}`),
    stop: () => child.stop(),
  }
}

/** Does what `agent-audit setup` does for a new topic. */
export async function prepareLog(
  { brokers, store }: { brokers: readonly string[]; store: Store },
  topic: string,
  groupId: string,
): Promise<void> {
  const admin = connectKafka(brokers).admin()
  await admin.connect()
  const { clusterId: sourceId } = await admin.describeCluster()
  await admin.disconnect()
  await registerLog(store.admin, { sourceId, topic, consumerGroup: groupId })
  await markKafkaLogClean({ brokers, ssl: false, sasl: undefined, clientId: 'bench' }, { topic, groupId })
}

async function countCommits(url: string): Promise<CommitCount> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const sum = (name: string): number => readMetric(text, name) ?? 0
  return { sent: sum('audit_commits_total'), batches: sum('audit_batch_events_count') }
}
