/** Our consumer beside the obvious one: the same backlog on a real Kafka, into the same real ClickHouse, in turns. */
import { setTimeout as sleep } from 'node:timers/promises'
import { registerLog } from '@agent-audit/analytics'
import { markKafkaLogClean } from '@agent-audit/consumer'
import { EVENTS_TABLE } from '@agent-audit/schemas'
import type { DataDir } from '@agent-audit/stack'
import { type Backlog, fillTopic } from './backlog.ts'
import { connectKafka } from './kafka.ts'
import { type Mark, MeasuredProcess, type ProcessOptions } from './measured-process.ts'
import { type ConsumerPart, type ConsumerRound, rounded } from './results.ts'
import { makeSessions } from './sessions.ts'
import type { SizeMix } from './size-mix.ts'
import { type Store, TWIN_TABLE } from './store.ts'

export interface ConsumerBenchmark {
  readonly brokers: readonly string[]
  readonly dataDir: DataDir
  readonly store: Store
  readonly sizeMix: SizeMix
  readonly rounds: number
  /** Of the backlog of small events; that of the size mix has a tenth. */
  readonly events: number
  /** Folder for CPU profiles of our consumer; undefined: none are taken. */
  readonly profileDir: string | undefined
  readonly say: (line: string) => void
}

type Contender = ConsumerRound['contender']

const CONTENDERS: readonly Contender[] = ['ours', 'obvious']
/** Text in a made-up event that makes its record about 0.3 KB. */
const SMALL_TEXT_BYTES = 12
const POLL_MS = 25
const TIMEOUT_MS = 300_000

export async function benchmarkConsumers(benchmark: ConsumerBenchmark): Promise<ConsumerPart> {
  const { brokers, sizeMix, events, rounds, say } = benchmark
  const small = makeSessions(40, () => SMALL_TEXT_BYTES, 17)
  const backlogs = [
    { source: 'made up', ...(await fillTopic(brokers, { name: '0.3 KB', events, scripts: small })) },
    {
      source: sizeMix.source,
      ...(await fillTopic(brokers, {
        name: 'real size mix',
        events: Math.ceil(events / 10),
        scripts: sizeMix.sessions,
      })),
    },
  ]
  for (const { name, recordBytes } of backlogs) say(`backlog ${name}: ${recordBytes} B a record`)
  const measured: ConsumerRound[] = []
  for (let round = 1; round <= rounds; round++) {
    for (const backlog of backlogs) {
      for (const contender of CONTENDERS) {
        const result = await measure(benchmark, { backlog, contender, round })
        measured.push(result)
        say(describe(result))
      }
    }
  }
  const settings = {
    ours: 'defaults of consumer/src/settings.ts',
    obvious:
      'defaults of kafkajs (1 MiB a partition and fetch; 4 MiB was slower), four partitions at once, at most 50,000 rows an insert',
    log: '4 partitions, 8 runs, batches of 1000 records, zstd level 1',
  }
  return {
    backlogs: backlogs.map(({ name, events: count, recordBytes, source }) => ({
      name,
      events: count,
      recordBytes,
      source,
    })),
    settings,
    rounds: measured,
  }
}

function describe(round: ConsumerRound): string {
  const { backlog, contender, eventsPerSecond, cpuUsPerEvent, peakRssMb } = round
  return `${backlog}, ${contender}: ${eventsPerSecond} events/s, ${cpuUsPerEvent} us CPU an event, ${peakRssMb} MB`
}

interface Measurement {
  readonly backlog: Backlog
  readonly contender: Contender
  readonly round: number
}

async function measure(
  benchmark: ConsumerBenchmark,
  { backlog, contender, round }: Measurement,
): Promise<ConsumerRound> {
  const { store } = benchmark
  // A new group on the same log, and empty tables: each measurement reads everything from the start.
  const group = `bench-${contender}-${Date.now()}`
  await store.clear()
  if (contender === 'ours') await prepareLog(benchmark, backlog.topic, group)
  const table = contender === 'ours' ? EVENTS_TABLE : TWIN_TABLE
  const child = new MeasuredProcess(processOf(contender, benchmark, { topic: backlog.topic, group }))
  try {
    const claimed = await child.line(/partition claimed/)
    const stored = await waitForRows(child, () => store.count(table), backlog.events)
    await child.stop()
    const found = await store.check(table)
    const complete = found.records === backlog.events && found.places === backlog.events
    if (!complete || (contender === 'ours' && found.rows !== backlog.events)) {
      throw new Error(`${contender} stored ${JSON.stringify(found)} of ${backlog.events} events`)
    }
    return { backlog: backlog.name, contender, round, ...rates(child, { claimed, stored }, backlog.events), ...found }
  } finally {
    await child.stop()
  }
}

function rates(
  child: MeasuredProcess,
  { claimed, stored }: { claimed: Mark; stored: Mark },
  events: number,
): Omit<ConsumerRound, 'backlog' | 'contender' | 'round' | 'rows' | 'records' | 'places'> {
  const seconds = (stored.at - claimed.at) / 1000
  return {
    seconds: rounded(seconds, 3),
    eventsPerSecond: Math.round(events / seconds),
    secondsFromSpawn: rounded((stored.at - child.startedAt) / 1000, 3),
    cpuUsPerEvent: rounded((stored.cpuUs - claimed.cpuUs) / events, 2),
    cpuUsPerEventFromSpawn: rounded(stored.cpuUs / events, 2),
    peakRssMb: Math.round(stored.peakRssBytes / 1e6),
  }
}

/** What an operator's `agent-audit setup` does for a topic that was made a moment ago. */
async function prepareLog({ brokers, store }: ConsumerBenchmark, topic: string, groupId: string): Promise<void> {
  const admin = connectKafka(brokers).admin()
  await admin.connect()
  const { clusterId: sourceId } = await admin.describeCluster()
  await admin.disconnect()
  await registerLog(store.admin, { sourceId, topic, consumerGroup: groupId })
  await markKafkaLogClean({ brokers, ssl: false, sasl: undefined }, { topic, groupId })
}

function processOf(
  contender: Contender,
  { brokers, dataDir, profileDir }: ConsumerBenchmark,
  { topic, group }: { topic: string; group: string },
): ProcessOptions {
  const user = contender === 'ours' ? dataDir.writer : dataDir.admin
  const env = {
    KAFKA_BROKERS: brokers.join(','),
    AUDIT_TOPICS: topic,
    AUDIT_GROUP_ID: group,
    CLICKHOUSE_URL: user.url,
    CLICKHOUSE_USER: user.username,
    CLICKHOUSE_PASSWORD: user.password,
    CLICKHOUSE_DATABASE: user.database,
    HTTP_PORT: '0',
    BENCH_TABLE: TWIN_TABLE,
  }
  if (contender === 'obvious') return { script: 'bench/obvious-consumer.ts', env }
  const nodeOptions = profileDir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDir}`]
  return { script: 'consumer/src/main.ts', env, nodeOptions }
}

async function waitForRows(child: MeasuredProcess, count: () => Promise<number>, events: number): Promise<Mark> {
  const deadline = performance.now() + TIMEOUT_MS
  for (;;) {
    const rows = await count()
    if (!child.isAlive) throw new Error(`the consumer ended after ${rows} rows:\n${child.lastLines()}`)
    if (rows >= events) return child.mark()
    if (performance.now() > deadline) throw new Error(`only ${rows} of ${events} rows:\n${child.lastLines()}`)
    await sleep(POLL_MS)
  }
}
