/** Results of the benchmark: one JSON file for each run. docs/performance.md is written from the newest. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { DetectPart } from '../detect/detect-figures.ts'
import type { IntegrityPart } from '../integrity/figures.ts'
import type { QueriesPart } from '../queries/query-figures.ts'
import type { Environment } from './environment.ts'
import type { SizeMix } from './size-mix.ts'

export const CONSUMER_NAMES: readonly ['ours', 'obvious', 'Kafka engine'] = ['ours', 'obvious', 'Kafka engine']
export type ConsumerName = (typeof CONSUMER_NAMES)[number]

/** One measurement of one consumer. */
export interface ConsumerRound {
  readonly backlog: string
  readonly contender: ConsumerName
  readonly round: number
  /** From the first claimed partition until every row is in the table. */
  readonly seconds: number
  readonly eventsPerSecond: number
  /** The same, from the start of the process. */
  readonly secondsFromSpawn: number
  /** Usage of the consumer's process; the Kafka engine has none. */
  readonly node: ConsumerUsage | undefined
  /** CPU of the ClickHouse server in that time, by event, merges and polls included, microseconds. */
  readonly clickhouseCpuUsPerEvent: number
  /** Commits sent to Kafka, and batches written; only our consumer counts them. */
  readonly commits: CommitCount | undefined
  readonly rows: number
  readonly records: number
  readonly positions: number
}

export interface ConsumerUsage {
  /** CPU from the first claimed partition until every row is in the table, by event, microseconds. */
  readonly cpuUsPerEvent: number
  /** The same, from the start of the process. */
  readonly cpuUsPerEventFromSpawn: number
  readonly peakRssMb: number
}

export interface CommitCount {
  readonly sent: number
  readonly batches: number
}

/** One measurement of the time from `record()` to a query. */
export interface LatencyRound {
  readonly round: number
  readonly events: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  /** 99 of 100 gaps between two answers were at most as long: a latency is overstated by about this. */
  readonly pollGapMs: number
}

/** CPU in cores: seconds of CPU a second. */
export interface Cores {
  readonly node: number
  readonly clickhouse: number
  /** 0 for brokers that the benchmark did not start. */
  readonly kafka: number
}

/** One measurement of our consumer at an even rate of events. */
export interface EverydayRound {
  readonly round: number
  /** 0: idle. */
  readonly eventsPerSecond: number
  readonly partitions: number
  readonly cores: Cores
  /** The same before the consumer was started. */
  readonly baseCores: Cores
  readonly insertsPerSecond: number
  /** Parts that inserts have made. */
  readonly partsPerSecond: number
  readonly latency: Omit<LatencyRound, 'round'> | undefined
}

export interface EverydayPart {
  readonly settings: {
    /** Of each phase: CPU is measured in one, latency in the next. */
    readonly seconds: number
    readonly warmUpSeconds: number
    readonly sessions: number
  }
  readonly rounds: readonly EverydayRound[]
}

/** One measurement of one way to produce. */
export interface ProducerRound {
  readonly size: string
  readonly contender: string
  readonly round: number
  readonly events: number
  /** Mean size of the values given to the client, bytes. */
  readonly valueBytes: number
  /** From the first event until all are acknowledged. */
  readonly seconds: number
  readonly eventsPerSecond: number
  /** CPU of the recording thread in that time, by event, without its CPU when idle, microseconds. */
  readonly threadCpuUsPerEvent: number
  /** CPU of the whole process in that time, by event, microseconds. */
  readonly processCpuUsPerEvent: number
  readonly peakRssMb: number
}

export interface ConsumerPart {
  readonly backlogs: readonly {
    readonly name: string
    readonly events: number
    readonly recordBytes: number
    readonly source: string
  }[]
  readonly settings: Readonly<Record<'ours' | 'obvious' | 'engine' | 'log', string>>
  readonly rounds: readonly ConsumerRound[]
}

/** One measurement of how long the event loop was blocked at a stretch, at an even rate of events; milliseconds. */
export interface StallRound {
  readonly contender: string
  readonly round: number
  readonly longestMs: number
  /** 999 of 1000 stretches were at most as long. */
  readonly p999Ms: number
}

export interface LatencyPart {
  readonly settings: {
    readonly eventsPerSecond: number
    readonly seconds: number
    readonly warmUpSeconds: number
    readonly partitions: number
  }
  readonly rounds: readonly LatencyRound[]
}

export interface ProducerPart {
  readonly settings: {
    readonly partitions: number
    readonly stallEventsPerSecond: number
    readonly sizeMix: SizeMix['source']
  }
  readonly rounds: readonly ProducerRound[]
  readonly stalls: readonly StallRound[]
}

/** One check of completeness. */
export interface CompletenessRound {
  /** faulty: some rows are missing and some are stored twice, so that the check has to name them. */
  readonly state: 'complete' | 'faulty'
  readonly round: number
  readonly rows: number
  readonly seconds: number
}

export interface CompletenessPart {
  readonly partitions: number
  readonly runs: number
  readonly rounds: readonly CompletenessRound[]
}

/** Questions of the benchmark of large partitions that have a bound. */
export const WITHOUT_METADATA = 'offsets accounted for, without metadata'
export const WITH_METADATA = 'offsets accounted for, with metadata'
export const SUSPECTS_STORED = '1,000 suspects, all stored'

/** One query of the consumer about a partition, asked several times of each partition of a log. */
export interface ScaleRound {
  /** Rows of the log, in both tables. */
  readonly rows: number
  readonly question: string
  /** The first time since the server started. */
  readonly firstMs: number
  readonly medianMs: number
  readonly maxMs: number
  /** CPU of the server a time, the mean, milliseconds: on a busy machine it says more. */
  readonly cpuMs: number
}

export interface ScalePart {
  /** Of each log. */
  readonly partitions: number
  /** Active parts of all tables. */
  readonly parts: number
  readonly rounds: readonly ScaleRound[]
}

/** A producer while its broker is up, down, and up again. */
export interface OutagePhase {
  readonly phase: 'broker up' | 'broker down' | 'broker back, draining'
  readonly events: number
  readonly seconds: number
  /** CPU of the recording thread, by event, microseconds; undefined while it only waits. */
  readonly callerUs?: number | undefined
  readonly peakRssMb: number
}

export interface OutagePart {
  /** Events that are recorded and acknowledged before the process counts as idle, and its memory then, MiB. */
  readonly warmUp: number
  readonly idleMb: number
  readonly phases: readonly OutagePhase[]
  readonly spoolMb: number
  readonly recorded: number
  readonly stored: number
  readonly duplicates: number
  readonly outOfOrder: number
  readonly verdict: string
}

export interface Results {
  /** ISO 8601, UTC. */
  readonly startedAt: string
  readonly environment: Environment
  readonly consumer?: ConsumerPart | undefined
  readonly latency?: LatencyPart | undefined
  readonly everyday?: EverydayPart | undefined
  readonly producer?: ProducerPart | undefined
  readonly completeness?: CompletenessPart | undefined
  readonly outage?: OutagePart | undefined
  readonly scale?: ScalePart | undefined
  readonly queries?: QueriesPart | undefined
  readonly detect?: DetectPart | undefined
  readonly integrity?: IntegrityPart | undefined
}

const FOLDER = fileURLToPath(new URL('../results', import.meta.url))

/** @returns Path of the file, relative to the checkout. */
export function saveResults(results: Results): string {
  mkdirSync(FOLDER, { recursive: true })
  const name = `${results.startedAt.slice(0, 19).replaceAll(':', '-')}.json`
  writeFileSync(join(FOLDER, name), `${JSON.stringify(results, undefined, 2)}\n`)
  return `bench/results/${name}`
}

/** A part of the newest results that contain it, and their path. Names sort by time. */
export function newest<Part extends Exclude<keyof Results, 'startedAt' | 'environment'>>(
  part: Part,
): { file: string; results: Results; part: NonNullable<Results[Part]> } | undefined {
  mkdirSync(FOLDER, { recursive: true })
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.json'))
  for (const file of files.toSorted().toReversed()) {
    const results = JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as Results
    const found = results[part]
    if (found) return { file: `bench/results/${file}`, results, part: found }
  }
  return undefined
}

/** The middle value; of an even number, the lower of the two. */
export function median(values: readonly number[]): number {
  return percentile(values, 0.5)
}

/** The value that this share of all values does not exceed: 0.5 for the middle one, 1 for the highest. */
export function percentile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(values.length * share) - 1)] ?? Number.NaN
}

/** Rounded to this many digits after the point. */
export function rounded(value: number, digits = 0): number {
  return Number(value.toFixed(digits))
}
