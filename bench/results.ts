/** What a run of the benchmark leaves behind, one JSON file a run; docs/performance.md is written from the newest. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Environment } from './environment.ts'

/** One measurement of one consumer. */
export interface ConsumerRound {
  readonly backlog: string
  readonly contender: 'ours' | 'obvious'
  readonly round: number
  /** From the first claimed partition until every row is in the table. */
  readonly seconds: number
  readonly eventsPerSecond: number
  /** The same, from the start of the process. */
  readonly secondsFromSpawn: number
  /** CPU of the consumer's process between the two, by event, microseconds. */
  readonly cpuUsPerEvent: number
  /** The same, from the start of the process. */
  readonly cpuUsPerEventFromSpawn: number
  readonly peakRssMb: number
  readonly rows: number
  readonly records: number
  readonly places: number
}

/** One measurement of one way to produce. */
export interface ProducerRound {
  readonly size: string
  readonly contender: string
  readonly round: number
  readonly events: number
  /** Mean of what is given to the client as a value, bytes. */
  readonly valueBytes: number
  /** From the first event until all are acknowledged. */
  readonly seconds: number
  readonly eventsPerSecond: number
  /** CPU of the recording thread in that time, by event, what it takes when idle left out, microseconds. */
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
  readonly settings: Readonly<Record<string, unknown>>
  readonly rounds: readonly ConsumerRound[]
}

export interface ProducerPart {
  readonly settings: Readonly<Record<string, unknown>>
  readonly rounds: readonly ProducerRound[]
}

export interface Results {
  /** ISO 8601, UTC. */
  readonly startedAt: string
  readonly environment: Environment
  readonly consumer?: ConsumerPart | undefined
  readonly producer?: ProducerPart | undefined
}

const FOLDER = fileURLToPath(new URL('./results', import.meta.url))

/** @returns The file, below the checkout. */
export function saveResults(results: Results): string {
  mkdirSync(FOLDER, { recursive: true })
  const name = `${results.startedAt.slice(0, 19).replaceAll(':', '-')}.json`
  writeFileSync(join(FOLDER, name), `${JSON.stringify(results, undefined, 2)}\n`)
  return `bench/results/${name}`
}

/** The newest results that have this part. Names sort by time. */
export function newestWith(part: 'consumer' | 'producer'): { file: string; results: Results } | undefined {
  mkdirSync(FOLDER, { recursive: true })
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.json'))
  for (const file of files.toSorted().toReversed()) {
    const results = JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as Results
    if (results[part] !== undefined) return { file: `bench/results/${file}`, results }
  }
  return undefined
}

/** The middle value; of an even number, the lower of the two. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? Number.NaN
}

/** Rounded to so many digits after the point. */
export function rounded(value: number, digits = 0): number {
  return Number(value.toFixed(digits))
}
