/**
 * Measures the time of an event from `record()` until a query returns it: our producer and our consumer with their default
 * settings, a real Kafka, a real ClickHouse.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { DataDir } from '@agent-audit/embedded'
import { prepareLog, startOurConsumer } from '../consumer/consumer-contenders.ts'
import type { LatencyPart, LatencyRound } from '../support/results.ts'
import type { Store } from '../support/store.ts'
import { eventsOf, makeTopic, startLatencyProducer, summarize, watch } from './queryable.ts'

export interface LatencyBenchmark {
  readonly brokers: readonly string[]
  readonly dataDir: DataDir
  readonly store: Store
  /** Folder for spools. */
  readonly directory: string
  readonly rounds: number
  /** Duration of a measurement. */
  readonly seconds: number
  readonly say: (line: string) => void
}

/** The default of `agent-audit setup`. */
const PARTITIONS = 12
const EVENTS_PER_SECOND = 5000
/** Time of recording before events count: the processes warm up. */
const WARM_UP_SECONDS = 10

export async function benchmarkLatency(benchmark: LatencyBenchmark): Promise<LatencyPart> {
  const rounds: LatencyRound[] = []
  for (let round = 1; round <= benchmark.rounds; round++) {
    const result = { round, ...(await measure(benchmark)) }
    rounds.push(result)
    benchmark.say(`round ${round} of ${benchmark.rounds}, latency: ${describe(result)}`)
  }
  const { seconds } = benchmark
  const settings = {
    eventsPerSecond: EVENTS_PER_SECOND,
    seconds,
    warmUpSeconds: WARM_UP_SECONDS,
    partitions: PARTITIONS,
  }
  return { settings, rounds }
}

function describe({ p50Ms, p99Ms, maxMs, pollGapMs }: LatencyRound): string {
  return `p50 ${p50Ms} ms, p99 ${p99Ms} ms, longest ${maxMs} ms; gap between polls ${pollGapMs} ms (p99)`
}

async function measure(benchmark: LatencyBenchmark): Promise<Omit<LatencyRound, 'round'>> {
  const { brokers, store, dataDir, seconds } = benchmark
  const topic = `bench.latency.${process.pid}.${Date.now()}`
  const spoolDir = await mkdtemp(join(benchmark.directory, 'spool-'))
  await store.clear()
  await makeTopic(brokers, topic, PARTITIONS)
  await prepareLog(benchmark, topic, topic)
  const { running } = startOurConsumer({ brokers, topic, group: topic, user: dataDir.writer })
  try {
    await running.claimed()
    const load = { brokers, topic, spoolDir, eventsPerSecond: EVENTS_PER_SECOND, seconds: WARM_UP_SECONDS + seconds }
    const producer = startLatencyProducer(load)
    try {
      const sightings = await watch(store, producer, load.eventsPerSecond * load.seconds)
      return summarize(await eventsOf(store), sightings, WARM_UP_SECONDS)
    } finally {
      await producer.stop()
    }
  } finally {
    await running.stop()
    await rm(spoolDir, { recursive: true, force: true })
  }
}
