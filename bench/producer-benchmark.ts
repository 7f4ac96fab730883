/**
 * Our producer beside kafkajs used as it comes: events into a real Kafka, from one process. Each contender runs in a
 * process of its own (producer-contender.ts), which measures itself.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createTopic, connectKafka } from './kafka.ts'
import { MeasuredProcess } from './measured-process.ts'
import type { ContenderReport, ProducerContender } from './producer-contender.ts'
import { type ProducerPart, type ProducerRound, rounded } from './results.ts'
import type { SizeMix } from './size-mix.ts'

export interface ProducerBenchmark {
  readonly brokers: readonly string[]
  readonly sizeMix: SizeMix
  readonly rounds: number
  /** 1 for the default counts of events. */
  readonly scale: number
  /** Folder for spools. */
  readonly directory: string
  readonly say: (line: string) => void
}

interface Case {
  readonly size: string
  readonly contender: ProducerContender
  readonly events: number
}

const PARTITIONS = 4
const SIZES = [
  { size: '0.3 KB', events: 300_000 },
  { size: '4 KB', events: 25_000 },
  { size: '32 KB', events: 4000 },
  { size: 'real size mix', events: 80_000 },
]
/** What one would write first, at the smallest size: where the cost of a call shows most. */
const OBVIOUS: readonly Case[] = [
  { size: '0.3 KB', contender: 'kafkajs, 1000 a send', events: 200_000 },
  { size: '0.3 KB', contender: 'kafkajs, a send each, not awaited', events: 20_000 },
  { size: '0.3 KB', contender: 'kafkajs, a send each, awaited', events: 2000 },
]
const CASES: readonly Case[] = [
  ...SIZES.flatMap(({ size, events }): Case[] => [
    { size, contender: 'ours, durability disk', events },
    { size, contender: 'ours, durability broker', events },
  ]),
  ...OBVIOUS,
]

export async function benchmarkProducers(benchmark: ProducerBenchmark): Promise<ProducerPart> {
  const rounds: ProducerRound[] = []
  for (let round = 1; round <= benchmark.rounds; round++) {
    for (const one of CASES) {
      const result = await measure(benchmark, one, round)
      rounds.push(result)
      benchmark.say(describe(result))
    }
  }
  const settings = {
    ours: 'defaults of createAuditTrail; a system prompt hash and a model id on every event; sessions of some 20 events',
    kafkajs: 'defaults, acks all; the event as JSON; zstd level 1 where 1000 events go in one send',
    topic: '4 partitions, one broker',
    warmUp: 'a tenth of the events, recorded and acknowledged before the measurement begins',
    sizeMix: benchmark.sizeMix.source,
  }
  return { settings, rounds }
}

function describe({
  size,
  contender,
  eventsPerSecond,
  threadCpuUsPerEvent,
  processCpuUsPerEvent,
}: ProducerRound): string {
  const cpu = `${threadCpuUsPerEvent} us of the thread, ${processCpuUsPerEvent} us of the process an event`
  return `${size}, ${contender}: ${eventsPerSecond} events/s, ${cpu}`
}

async function measure(benchmark: ProducerBenchmark, one: Case, round: number): Promise<ProducerRound> {
  const { brokers, directory, scale } = benchmark
  const events = Math.max(20, Math.round(one.events * scale))
  const topic = `bench.${process.pid}.${Date.now()}`
  const spoolDir = await mkdtemp(join(directory, 'spool-'))
  const admin = connectKafka(brokers).admin()
  await admin.connect()
  await createTopic(admin, topic, PARTITIONS)
  const order = { brokers, topic, spoolDir, ...one, events }
  const child = new MeasuredProcess({ script: 'bench/producer-contender.ts', args: [JSON.stringify(order)] })
  try {
    const { line } = await child.line(/^\{/)
    await child.ended()
    return toRound(JSON.parse(line) as ContenderReport, one, round)
  } finally {
    await child.stop()
    await admin.deleteTopics({ topics: [topic] })
    await admin.disconnect()
    await rm(spoolDir, { recursive: true, force: true })
  }
}

function toRound(report: ContenderReport, { size, contender }: Case, round: number): ProducerRound {
  const { events } = report
  return {
    size,
    contender,
    round,
    events,
    valueBytes: Math.round(report.bytes / events),
    seconds: rounded(report.ms / 1000, 3),
    eventsPerSecond: Math.round((events / report.ms) * 1000),
    threadCpuUsPerEvent: rounded((report.threadCpuUs - report.idleThreadCpuUs) / events, 2),
    processCpuUsPerEvent: rounded((report.processCpuUs - report.idleProcessCpuUs) / events, 2),
    peakRssMb: Math.round(report.peakRssBytes / 1e6),
  }
}
