/** The project's performance bounds, and whether a run met them. A missed bound is shown; it fails nothing. */
import type { DetectPart } from '../detect/detect-figures.ts'
import {
  AGENT_ACTIVITY,
  EVENT_BY_ID,
  LATEST_SESSIONS,
  type QueriesPart,
  SESSION_TRAIL,
  TEXT_OF_A_DAY,
  TOKENS_OF_A_MONTH,
} from '../queries/query-figures.ts'
import {
  type CompletenessPart,
  type ConsumerPart,
  type ConsumerRound,
  type EverydayPart,
  type EverydayRound,
  type LatencyPart,
  median,
  type OutagePart,
  type ProducerPart,
  type ScalePart,
  SUSPECTS_STORED,
  WITH_METADATA,
  WITHOUT_METADATA,
} from '../support/results.ts'

export interface Bound {
  readonly what: string
  readonly wanted: string
  readonly measured: string
  readonly met: boolean
}

const SMALL = '0.3 KB'
const CONSUMER = { toObvious: 1.8, toEngine: 3, cpuUsPerEvent: 5, commitsPerBatch: 1, peakRssMb: 350 }
const LATENCY_P99_MS = 1500
const EVERYDAY = [
  { eventsPerSecond: 5000, partitions: 12, p99Ms: 800, clickhouse: 0.25, node: 0.12 },
  { eventsPerSecond: 5000, partitions: 64, p99Ms: 1000, clickhouse: 0.3 },
  { eventsPerSecond: 100, partitions: 64, p99Ms: 1000, clickhouse: 0.15 },
]
/** Of an idle consumer: cores beyond the server's own. */
const IDLE_CORES = 0.02
const COMPLETENESS_SECONDS = 10
const DISK = { eventsPerSecond: 65_000, processCpuUsPerEvent: 18 }
const BROKER = { eventsPerSecond: 100_000, processCpuUsPerEvent: 14 }
const PRODUCER = {
  'ours, disk': { ...DISK, threadCpuUsPerEvent: 8 },
  'ours, disk, no redaction': { ...DISK, threadCpuUsPerEvent: 5 },
  'ours, broker': { ...BROKER, threadCpuUsPerEvent: 8 },
  'ours, broker, no redaction': { ...BROKER, threadCpuUsPerEvent: 5 },
}
const STALL_MS = 3
/** Milliseconds at the largest size; and how much longer than at the smallest size, but for what reads a whole partition. */
const SCALE = { [WITHOUT_METADATA]: 1000, [WITH_METADATA]: 200, [SUSPECTS_STORED]: 100 }
const SCALE_GROWTH_MS = 50
/** Milliseconds at the largest size, p95. */
export const QUERY_MS: Readonly<Record<string, number>> = {
  [SESSION_TRAIL]: 60,
  [EVENT_BY_ID]: 30,
  [AGENT_ACTIVITY]: 40,
  [TOKENS_OF_A_MONTH]: 40,
  [LATEST_SESSIONS]: 150,
  [TEXT_OF_A_DAY]: 200,
}
const QUERY_COSTS = { bytesAnEvent: 60, insertUs: 1.5 }
const DETECT = { seconds: 60, peakMb: 500, lagSeconds: 10 }
const OUTAGE = { aboveIdleMb: 64, callerUs: 8 }

export function consumerBounds({ backlogs, rounds }: ConsumerPart): Bound[] {
  const ours = rounds.filter(({ contender }) => contender === 'ours')
  const of = (value: (round: ConsumerRound) => number | undefined): number =>
    median(ours.filter(({ backlog }) => backlog === SMALL).map((round) => value(round) ?? Number.NaN))
  const ratios = backlogs.flatMap(({ name }) => {
    const speed = (wanted: string): number =>
      median(
        rounds
          .filter(({ backlog, contender }) => backlog === name && contender === wanted)
          .map(({ eventsPerSecond }) => eventsPerSecond),
      )
    const ratio = (other: string): number => Number((speed('ours') / speed(other)).toFixed(2))
    return [
      atLeast(`events/s at ${name}, ours to Kafka engine`, CONSUMER.toEngine, ratio('Kafka engine')),
      atLeast(`events/s at ${name}, ours to obvious`, CONSUMER.toObvious, ratio('obvious')),
    ]
  })
  const commits = Math.max(
    ...ours.map((round) => (round.commits ? round.commits.sent / round.commits.batches : Infinity)),
  )
  return [
    ...ratios,
    atMost(
      `node CPU us/event at ${SMALL}`,
      CONSUMER.cpuUsPerEvent,
      of(({ node }) => node?.cpuUsPerEvent),
    ),
    atMost('Kafka commits a batch, in any round', CONSUMER.commitsPerBatch, Number(commits.toFixed(2))),
    atMost(
      `peak RSS MB at ${SMALL}`,
      CONSUMER.peakRssMb,
      of(({ node }) => node?.peakRssMb),
    ),
  ]
}

export function latencyBounds({ settings, rounds }: LatencyPart): Bound[] {
  const what = `ms from record() to queryable, p99, at ${settings.eventsPerSecond} events/s`
  return [atMost(what, LATENCY_P99_MS, median(rounds.map(({ p99Ms }) => p99Ms)))]
}

export function everydayBounds({ rounds }: EverydayPart): Bound[] {
  const loads = EVERYDAY.flatMap((load) => {
    const { eventsPerSecond, partitions, p99Ms, clickhouse, node = Infinity } = load
    const of = medianOf(rounds, load)
    const where = `at ${eventsPerSecond} events/s, ${partitions} partitions`
    const bounds = [
      atMost(
        `ms from record() to queryable, p99, ${where}`,
        p99Ms,
        of(({ latency }) => latency?.p99Ms),
      ),
      atMost(
        `cores of ClickHouse ${where}`,
        clickhouse,
        of(({ cores }) => cores.clickhouse),
      ),
      atMost(
        `cores of node ${where}`,
        node,
        of(({ cores }) => cores.node),
      ),
    ]
    return node === Infinity ? bounds.slice(0, 2) : bounds
  })
  const idle = medianOf(rounds, { eventsPerSecond: 0, partitions: 64 })
  const beyond = idle(({ cores, baseCores }) => cores.clickhouse - baseCores.clickhouse)
  return [
    ...loads,
    atMost(
      'cores of node, idle, 64 partitions',
      IDLE_CORES,
      idle(({ cores }) => cores.node),
    ),
    atMost("cores of ClickHouse beyond the server's own, idle, 64 partitions", IDLE_CORES, beyond),
  ]
}

function medianOf(
  rounds: readonly EverydayRound[],
  load: Pick<EverydayRound, 'eventsPerSecond' | 'partitions'>,
): (value: (round: EverydayRound) => number | undefined) => number {
  const own = rounds.filter(
    ({ eventsPerSecond, partitions }) => eventsPerSecond === load.eventsPerSecond && partitions === load.partitions,
  )
  return (value) => Number(median(own.map((round) => value(round) ?? Number.NaN)).toFixed(3))
}

export function producerBounds({ rounds, stalls }: ProducerPart): Bound[] {
  const costs = Object.entries(PRODUCER).flatMap(([contender, bound]) => {
    const own = rounds.filter((round) => round.size === SMALL && round.contender === contender)
    const thread = median(own.map(({ threadCpuUsPerEvent }) => threadCpuUsPerEvent))
    const whole = median(own.map(({ processCpuUsPerEvent }) => processCpuUsPerEvent))
    const speed = median(own.map(({ eventsPerSecond }) => eventsPerSecond))
    return [
      atMost(`CPU us/event of the caller's thread at ${SMALL}, ${contender}`, bound.threadCpuUsPerEvent, thread),
      atMost(`CPU us/event of the process at ${SMALL}, ${contender}`, bound.processCpuUsPerEvent, whole),
      atLeast(`events/s at ${SMALL}, ${contender}`, bound.eventsPerSecond, speed),
    ]
  })
  const longest = (wanted: string): number =>
    median(stalls.filter(({ contender }) => contender === wanted).map(({ longestMs }) => longestMs))
  const more = Number((longest('ours, disk') - longest('array in memory')).toFixed(2))
  return [...costs, atMost('ms the event loop is blocked longer than with an array', STALL_MS, more)]
}

export function completenessBounds({ rounds }: CompletenessPart): Bound[] {
  const slowest = (state: string): number =>
    Math.max(...rounds.filter((round) => round.state === state).map(({ seconds }) => seconds))
  return [
    atMost('seconds for 10 M complete rows, slowest round', COMPLETENESS_SECONDS, slowest('complete')),
    atMost('seconds for 10 M rows with faults, slowest round', COMPLETENESS_SECONDS, slowest('faulty')),
  ]
}

export function scaleBounds({ rounds }: ScalePart): Bound[] {
  const sizes = rounds.map(({ rows }) => rows)
  const [smallest, largest] = [Math.min(...sizes), Math.max(...sizes)]
  const at = (size: number, wanted: string): number =>
    rounds.find(({ rows, question }) => rows === size && question === wanted)?.medianMs ?? Number.NaN
  const questions = [...new Set(rounds.map(({ question }) => question))].filter((name) => name !== WITHOUT_METADATA)
  const growth = Math.max(...questions.map((question) => at(largest, question) - at(smallest, question)))
  return [
    ...Object.entries(SCALE).map(([question, bound]) => atMost(`ms, ${question}`, bound, at(largest, question))),
    atMost('ms longer than at the smallest size, any other question', SCALE_GROWTH_MS, Number(growth.toFixed(1))),
  ]
}

export function queriesBounds({ figures, stored, inserts }: QueriesPart): Bound[] {
  const largest = Math.max(...figures.map(({ rows }) => rows))
  const times = Object.entries(QUERY_MS).map(([question, bound]) => {
    const found = figures.find((figure) => figure.rows === largest && figure.question === question)
    return atMost(`ms, ${question}, p95`, bound, found?.p95Ms ?? Number.NaN)
  })
  const bytes = stored.find(({ rows }) => rows === largest)?.bytesAnEvent ?? Number.NaN
  const more = Number((inserts.with.insertUs - inserts.without.insertUs).toFixed(2))
  return [
    ...times,
    atMost('bytes an event on disk, all included', QUERY_COSTS.bytesAnEvent, bytes),
    atMost('us of CPU an event more to insert', QUERY_COSTS.insertUs, more),
  ]
}

export function detectBounds({ run, watch }: DetectPart): Bound[] {
  return [
    atMost('seconds for the day', DETECT.seconds, run.seconds),
    atMost('MiB of memory of its own', DETECT.peakMb, Math.max(run.peakMb, watch.peakMb)),
    atMost(
      'seconds behind, at 5,000 events/s',
      DETECT.lagSeconds,
      Math.max(watch.sessionLagSeconds, watch.queryLagSeconds),
    ),
  ]
}

export function outageBounds({ idleMb, phases, recorded, stored, outOfOrder }: OutagePart): Bound[] {
  const peak = Math.max(...phases.map(({ peakRssMb }) => peakRssMb))
  const down = phases.find(({ phase }) => phase === 'broker down')?.callerUs ?? Number.NaN
  return [
    atMost('MiB above idle, in any phase', OUTAGE.aboveIdleMb, Number((peak - idleMb).toFixed(0))),
    atMost("CPU us/event of the caller's thread, broker down", OUTAGE.callerUs, Number(down.toFixed(2))),
    atMost('events that are missing or out of order', 0, recorded - stored + outOfOrder),
  ]
}

function atLeast(what: string, bound: number, measured: number): Bound {
  return { what, wanted: `at least ${bound}`, measured: String(measured), met: measured >= bound }
}

function atMost(what: string, bound: number, measured: number): Bound {
  return { what, wanted: `at most ${bound}`, measured: String(measured), met: measured <= bound }
}
