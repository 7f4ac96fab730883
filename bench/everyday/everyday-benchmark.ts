/**
 * Measures what our consumer costs on an ordinary day: few events, spread over many partitions, and none at all. All of it with
 * default settings, a real Kafka, a real ClickHouse.
 *
 * A load has two phases of the same length: the CPU of each process is measured in the first one, in which the benchmark asks
 * ClickHouse nothing, and the time from `record()` to a query in the second one (queryable.ts), whose questions cost CPU.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DataDir } from '@agent-audit/embedded'
import type { KafkaCluster } from '@agent-audit/stack'
import { prepareLog, startOurConsumer } from '../consumer/consumer-contenders.ts'
import { eventsOf, makeTopic, startLatencyProducer, summarize, watch } from '../latency/queryable.ts'
import { readUsage, type Usage } from '../support/process-usage.ts'
import { type EverydayPart, type EverydayRound, rounded } from '../support/results.ts'
import type { Store } from '../support/store.ts'

export interface EverydayBenchmark {
  readonly kafka: KafkaCluster
  readonly dataDir: DataDir
  readonly store: Store
  /** Folder for spools. */
  readonly directory: string
  readonly rounds: number
  /** Duration of each phase. */
  readonly seconds: number
  /** Folder for CPU profiles of our consumer; undefined: takes none. */
  readonly profileDir: string | undefined
  readonly say: (line: string) => void
}

interface Load {
  readonly eventsPerSecond: number
  readonly partitions: number
}

export const EVERYDAY_LOADS: readonly Load[] = [
  { eventsPerSecond: 5000, partitions: 12 },
  { eventsPerSecond: 5000, partitions: 64 },
  { eventsPerSecond: 100, partitions: 64 },
  { eventsPerSecond: 0, partitions: 64 },
]
/** Sessions that record side by side. */
const SESSIONS = 64
/** The processes warm up, and the server merges what came before. */
const WARM_UP_SECONDS = 10
/** An idle consumer does little, and not often: it is measured for so many phases. */
const IDLE_PHASES = 3
/** After the last event: until the leases have been given up. */
const IDLE_AFTER_SECONDS = 15

export async function benchmarkEveryday(benchmark: EverydayBenchmark): Promise<EverydayPart> {
  const { seconds, rounds: count, say } = benchmark
  const rounds: EverydayRound[] = []
  for (let round = 1; round <= count; round++) {
    for (const load of EVERYDAY_LOADS) {
      const result = { round, ...load, ...(await measure(benchmark, load)) }
      rounds.push(result)
      say(`round ${round} of ${count}, ${describe(result)}`)
    }
  }
  return { settings: { seconds, warmUpSeconds: WARM_UP_SECONDS, sessions: SESSIONS }, rounds }
}

function describe(round: EverydayRound): string {
  const { eventsPerSecond, partitions, cores, baseCores, insertsPerSecond, partsPerSecond, latency } = round
  const of = `${eventsPerSecond} events/s, ${partitions} partitions`
  const cpu = `cores: node ${cores.node}, ClickHouse ${cores.clickhouse} (without a consumer ${baseCores.clickhouse}), Kafka ${cores.kafka}`
  const times = latency === undefined ? '' : `; p50 ${latency.p50Ms} ms, p99 ${latency.p99Ms} ms`
  return `${of}: ${cpu}; ${insertsPerSecond} inserts/s, ${partsPerSecond} parts/s${times}`
}

async function measure(benchmark: EverydayBenchmark, load: Load): Promise<Omit<EverydayRound, 'round' | keyof Load>> {
  const { kafka, store, dataDir, seconds, profileDir } = benchmark
  const { brokers } = kafka
  const topic = `bench.everyday.${process.pid}.${Date.now()}`
  const spoolDir = await mkdtemp(join(benchmark.directory, 'spool-'))
  await store.clear()
  await makeTopic(brokers, topic, load.partitions)
  await prepareLog({ brokers, store }, topic, topic)
  const base = await perSecond(benchmark, undefined, Math.min(seconds, 10))
  const { running } = startOurConsumer({ brokers, topic, group: topic, user: dataDir.writer, profileDir })
  // An idle consumer was not always idle: it has stored a little before.
  const { eventsPerSecond } = load
  const idle = eventsPerSecond === 0
  const recordSeconds = idle ? 2 : WARM_UP_SECONDS + 2 * seconds
  try {
    await running.claimed()
    const order = { brokers, topic, spoolDir, eventsPerSecond: eventsPerSecond || 100, seconds: recordSeconds }
    const producer = startLatencyProducer({ ...order, sessions: SESSIONS })
    try {
      await producer.line(/^recording$/)
      await sleep(1000 * (idle ? recordSeconds + IDLE_AFTER_SECONDS : WARM_UP_SECONDS))
      const own = await perSecond(benchmark, () => running.usage(), idle ? IDLE_PHASES * seconds : seconds)
      const sightings = await watch(store, producer, order.eventsPerSecond * order.seconds)
      const latency = idle ? undefined : summarize(await eventsOf(store), sightings, WARM_UP_SECONDS + seconds)
      return { ...own, baseCores: base.cores, latency }
    } finally {
      await producer.stop()
    }
  } finally {
    await running.stop()
    await rm(spoolDir, { recursive: true, force: true })
  }
}

type Rates = Pick<EverydayRound, 'cores' | 'insertsPerSecond' | 'partsPerSecond'>

async function perSecond(
  { kafka, dataDir, store }: EverydayBenchmark,
  consumer: (() => Usage | undefined) | undefined,
  seconds: number,
): Promise<Rates> {
  const read = async (): Promise<Record<string, number>> => ({
    ...(await countersOf(store)),
    at: performance.now(),
    node: consumer?.()?.cpuUs ?? 0,
    clickhouse: readUsage(dataDir.clickhouse.pid).cpuUs,
    kafka: kafka.nodes.reduce((sum, { pid }) => sum + readUsage(pid).cpuUs, 0),
  })
  const before = await read()
  await sleep(1000 * seconds)
  const after = await read()
  const grown = (name: string): number => (after[name] ?? 0) - (before[name] ?? 0)
  const lasted = grown('at') / 1000
  const cores = (name: string): number => rounded(grown(name) / 1e6 / lasted, 3)
  return {
    cores: { node: cores('node'), clickhouse: cores('clickhouse'), kafka: cores('kafka') },
    insertsPerSecond: rounded(grown('InsertQuery') / lasted, 2),
    partsPerSecond: rounded(grown('MergeTreeDataWriterBlocks') / lasted, 2),
  }
}

async function countersOf({ admin }: Store): Promise<Record<string, number>> {
  const rows = await admin.rows<{ event: string; value: number }>(
    `SELECT event, toFloat64(value) AS value FROM system.events WHERE event IN ('InsertQuery', 'MergeTreeDataWriterBlocks')`,
  )
  return Object.fromEntries(rows.map(({ event, value }) => [event, value]))
}
