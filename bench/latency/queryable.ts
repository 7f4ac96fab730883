/**
 * Finds the time of each event from `record()` until a query returns it.
 *
 * An event's timestamp is the producer's clock at `record()`. The table is asked repeatedly for the highest offset of each
 * partition, which its projection answers without reading rows. An event counts as queryable when the first
 * answer that covers its offset has arrived: this overstates a latency by at most the gap between two answers, and never
 * understates it by more than the clock's millisecond, since all processes share one clock.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { EVENTS_TABLE } from '@agent-audit/schemas'
import { connectKafka, createTopic } from '../support/kafka.ts'
import { MeasuredProcess } from '../support/measured-process.ts'
import { type LatencyRound, percentile, rounded } from '../support/results.ts'
import type { Store } from '../support/store.ts'
import type { LatencyLoad } from './latency-producer.ts'

const POLL_MS = 20
const TIMEOUT_MS = 60_000

export async function makeTopic(brokers: readonly string[], topic: string, partitions: number): Promise<void> {
  const admin = connectKafka(brokers).admin()
  await admin.connect()
  await createTopic(admin, topic, partitions)
  await admin.disconnect()
}

export function startLatencyProducer(load: LatencyLoad, env: Readonly<Record<string, string>> = {}): MeasuredProcess {
  return new MeasuredProcess({ script: 'bench/latency/latency-producer.ts', args: [JSON.stringify(load)], env })
}

/** The answers, in order. Times are those of Date.now(). */
export interface Sightings {
  /** For each partition: times at which an answer first covered its rows up to an offset. */
  readonly seen: ReadonlyMap<number, readonly { offset: number; at: number }[]>
  /** Times of all answers. */
  readonly answers: readonly number[]
}

/** Polls until all events of the load, which runs, are in the table. */
export async function watch(store: Store, producer: MeasuredProcess, events: number): Promise<Sightings> {
  const seen = new Map<number, { offset: number; at: number }[]>()
  const answers: number[] = []
  let late = Infinity
  for (let rows = 0; producer.isAlive || rows < events;) {
    if (!producer.isAlive && late === Infinity) late = performance.now() + TIMEOUT_MS
    if (performance.now() > late) throw new Error(`only ${rows} events were seen:\n${producer.lastLines()}`)
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
}

interface RecordedEvent {
  readonly partition: number
  readonly offset: number
  /** Time of recording, milliseconds since 1970. */
  readonly recordedAt: number
}

export function eventsOf(store: Store): Promise<RecordedEvent[]> {
  return store.admin.rows<RecordedEvent>(
    `SELECT log_partition AS partition, toFloat64(log_offset) AS offset,
       toUnixTimestamp64Micro(timestamp) / 1000 AS recordedAt
     FROM {database:Identifier}.${EVENTS_TABLE} ORDER BY log_partition, log_offset`,
  )
}

/**
 * @param events - In the order of partition and offset.
 * @param skipSeconds - Events of so long after the first one do not count.
 */
export function summarize(
  events: readonly RecordedEvent[],
  { seen, answers }: Sightings,
  skipSeconds: number,
): Omit<LatencyRound, 'round'> {
  const from = events.reduce((least, { recordedAt }) => Math.min(least, recordedAt), Infinity) + skipSeconds * 1000
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
