/**
 * Measures our producer beside other ways to record: events from one process into a real Kafka. Each contender runs in its
 * own process (producer-contender.ts), which measures itself.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { connectKafka, createTopic } from '../support/kafka.ts'
import { MeasuredProcess } from '../support/measured-process.ts'
import type { ContenderOrder, CostReport, StallReport } from './producer-contender.ts'
import type { RecorderName } from './recorders/recorders.ts'
import { type ProducerPart, type ProducerRound, rounded, type StallRound } from '../support/results.ts'
import type { SizeMix } from '../support/size-mix.ts'

export interface ProducerBenchmark {
  readonly brokers: readonly string[]
  readonly sizeMix: SizeMix
  readonly rounds: number
  /** Factor of the default counts of events. */
  readonly scale: number
  /** Folder for spools. */
  readonly directory: string
  readonly say: (line: string) => void
}

type Case = Omit<ContenderOrder, 'brokers' | 'topic' | 'directory'>

const PARTITIONS = 4
const OURS: readonly RecorderName[] = [
  'ours, disk',
  'ours, disk, no redaction',
  'ours, broker',
  'ours, broker, no redaction',
]
const SIZES = [
  { size: '0.3 KB', events: 300_000 },
  { size: '4 KB', events: 25_000 },
  { size: '32 KB', events: 4000 },
  { size: 'real size mix', events: 80_000 },
]
/** The other contenders run at the smallest size, where the cost of a call shows most. */
const PEERS: readonly Case[] = [
  { size: '0.3 KB', contender: '@platformatic/kafka, 1000 a send', events: 200_000 },
  { size: '0.3 KB', contender: 'kafkajs, 1000 a send', events: 200_000 },
  { size: '0.3 KB', contender: 'kafkajs, a send each, not awaited', events: 20_000 },
  { size: '0.3 KB', contender: 'kafkajs, a send each, awaited', events: 2000 },
  { size: '0.3 KB', contender: 'SQLite, a connection each', events: 2000 },
  { size: '0.3 KB', contender: 'OpenTelemetry spans, not exported', events: 200_000 },
]
const CASES: readonly Case[] = [
  ...SIZES.flatMap(({ size, events }): Case[] => OURS.map((contender) => ({ size, contender, events }))),
  ...PEERS,
]
const STALL = { size: '0.3 KB', eventsPerSecond: 10_000, events: 100_000 }
const STALL_CONTENDERS: readonly RecorderName[] = ['ours, disk', 'array in memory']

export async function benchmarkProducers(benchmark: ProducerBenchmark): Promise<ProducerPart> {
  const { sizeMix, say } = benchmark
  const rounds: ProducerRound[] = []
  const stalls: StallRound[] = []
  for (let round = 1; round <= benchmark.rounds; round++) {
    const tell = (line: string): void => say(`round ${round} of ${benchmark.rounds}, ${line}`)
    for (const one of CASES) {
      const result = costOf((await measure(benchmark, one)) as CostReport, one, round)
      rounds.push(result)
      tell(describe(result))
    }
    for (const contender of STALL_CONTENDERS) {
      const { longestMs, p999Ms } = (await measure(benchmark, { ...STALL, contender })) as StallReport
      stalls.push({ contender, round, longestMs: rounded(longestMs, 2), p999Ms: rounded(p999Ms, 2) })
      tell(
        `${STALL.eventsPerSecond} events/s, ${contender}: event loop blocked for at most ${rounded(longestMs, 2)} ms`,
      )
    }
  }
  const settings = { partitions: PARTITIONS, stallEventsPerSecond: STALL.eventsPerSecond, sizeMix: sizeMix.source }
  return { settings, rounds, stalls }
}

function describe(round: ProducerRound): string {
  const { size, contender, eventsPerSecond, threadCpuUsPerEvent, processCpuUsPerEvent } = round
  const cpu = `${threadCpuUsPerEvent} us of the thread, ${processCpuUsPerEvent} us of the process an event`
  return `${size}, ${contender}: ${eventsPerSecond} events/s, ${cpu}`
}

async function measure(benchmark: ProducerBenchmark, one: Case): Promise<unknown> {
  const { brokers, scale } = benchmark
  const events = Math.max(20, Math.round(one.events * scale))
  const topic = `bench.${process.pid}.${Date.now()}`
  const directory = await mkdtemp(join(benchmark.directory, 'spool-'))
  const admin = connectKafka(brokers).admin()
  await admin.connect()
  await createTopic(admin, topic, PARTITIONS)
  const order: ContenderOrder = { ...one, brokers, topic, directory, events }
  const child = new MeasuredProcess({ script: 'bench/producer/producer-contender.ts', args: [JSON.stringify(order)] })
  try {
    const { line } = await child.line(/^\{/)
    await child.ended()
    return JSON.parse(line)
  } finally {
    await child.stop()
    await admin.deleteTopics({ topics: [topic] })
    await admin.disconnect()
    await rm(directory, { recursive: true, force: true })
  }
}

function costOf(report: CostReport, { size, contender }: Case, round: number): ProducerRound {
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
