/**
 * Measures the time of an event from `record()` until a query returns it: our producer and our consumer with their default
 * settings, a real Kafka, a real ClickHouse.
 *
 * An event's timestamp is the producer's clock at `record()`. The benchmark asks the table repeatedly for the highest offset
 * of each partition, which its projection answers without reading rows. An event counts as queryable when the first
 * answer that covers its offset has arrived: this overstates a latency by at most the gap between two answers, and never
 * understates it by more than the clock's millisecond, since all processes share one clock.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EVENTS_TABLE } from '@agent-audit/schemas'
import type { DataDir } from '@agent-audit/embedded'
import { prepareLog, startOurConsumer } from '../consumer/consumer-contenders.ts'
import { connectKafka, createTopic } from '../support/kafka.ts'
import type { LatencyLoad } from './latency-producer.ts'
import { MeasuredProcess } from '../support/measured-process.ts'
import { type LatencyPart, type LatencyRound, percentile, rounded } from '../support/results.ts'
import type { Store } from '../support/store.ts'

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
const POLL_MS = 20
const TIMEOUT_MS = 60_000

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
  await makeTopic(brokers, topic)
  await prepareLog(benchmark, topic, topic)
  const { running } = startOurConsumer({ brokers, topic, group: topic, user: dataDir.writer })
  try {
    await running.claimed()
    const load = { brokers, topic, spoolDir, eventsPerSecond: EVENTS_PER_SECOND, seconds: WARM_UP_SECONDS + seconds }
    const sightings = await watch(store, load)
    return summarize(await eventsOf(store), sightings)
  } finally {
    await running.stop()
    await rm(spoolDir, { recursive: true, force: true })
  }
}

async function makeTopic(brokers: readonly string[], topic: string): Promise<void> {
  const admin = connectKafka(brokers).admin()
  await admin.connect()
  await createTopic(admin, topic, PARTITIONS)
  await admin.disconnect()
}

/** The answers, in order. Times are those of Date.now(). */
interface Sightings {
  /** For each partition: times at which an answer first covered its rows up to an offset. */
  readonly seen: ReadonlyMap<number, readonly { offset: number; at: number }[]>
  /** Times of all answers. */
  readonly answers: readonly number[]
}

/** Runs the load, and polls until all of it is in the table. */
async function watch(store: Store, load: LatencyLoad): Promise<Sightings> {
  const seen = new Map<number, { offset: number; at: number }[]>()
  const answers: number[] = []
  const producer = new MeasuredProcess({ script: 'bench/latency/latency-producer.ts', args: [JSON.stringify(load)] })
  const deadline = performance.now() + load.seconds * 1000 + TIMEOUT_MS
  let rows = 0
  try {
    while (producer.isAlive || rows < load.eventsPerSecond * load.seconds) {
      if (performance.now() > deadline) throw new Error(`only ${rows} events were seen:\n${producer.lastLines()}`)
      const partitions = await store.admin.rows<{ partition: number; offset: number; count: number }>(
        `SELECT log_partition AS partition, toFloat64(max(log_offset)) AS offset, toFloat64(count()) AS count
         FROM {database:Identifier}.${EVENTS_TABLE} GROUP BY log_partition SETTINGS max_threads = 1`,
      )
      const at = Date.now()
      answers.push(at)
      rows = 0
      for (const { partition, offset, count } of partitions) {
        rows += count
        const sightings = seen.get(partition) ?? []
        if (offset > (sightings.at(-1)?.offset ?? -1)) sightings.push({ offset, at })
        seen.set(partition, sightings)
      }
      await sleep(POLL_MS)
    }
    await producer.ended()
    return { seen, answers }
  } finally {
    await producer.stop()
  }
}

interface RecordedEvent {
  readonly partition: number
  readonly offset: number
  /** Time of recording, milliseconds since 1970. */
  readonly recordedAt: number
}

function eventsOf(store: Store): Promise<RecordedEvent[]> {
  return store.admin.rows<RecordedEvent>(
    `SELECT log_partition AS partition, toFloat64(log_offset) AS offset,
       toUnixTimestamp64Micro(timestamp) / 1000 AS recordedAt
     FROM {database:Identifier}.${EVENTS_TABLE} ORDER BY log_partition, log_offset`,
  )
}

/** @param events - In the order of partition and offset. */
function summarize(events: readonly RecordedEvent[], { seen, answers }: Sightings): Omit<LatencyRound, 'round'> {
  const from = events.reduce((least, { recordedAt }) => Math.min(least, recordedAt), Infinity) + WARM_UP_SECONDS * 1000
  const next = new Map<number, number>()
  const latencies: number[] = []
  for (const { partition, offset, recordedAt } of events) {
    const sightings = seen.get(partition) ?? []
    let index = next.get(partition) ?? 0
    while ((sightings[index]?.offset ?? Infinity) < offset) index++
    next.set(partition, index)
    if (recordedAt >= from) latencies.push((sightings[index]?.at ?? Number.NaN) - recordedAt)
  }
  const gaps = answers.slice(1).map((at, index) => at - (answers[index] ?? 0))
  return {
    events: latencies.length,
    p50Ms: rounded(percentile(latencies, 0.5)),
    p99Ms: rounded(percentile(latencies, 0.99)),
    maxMs: rounded(percentile(latencies, 1)),
    pollGapMs: percentile(gaps, 0.99),
  }
}
