/**
 * `npm run bench` and `npm run bench:producer` measure our consumer and producer beside the alternatives, on a real Kafka and
 * a real ClickHouse. They write results to bench/results, and docs/performance.md from the newest results. A quick run, with
 * --events, --rounds or --profile, saves no results.
 */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openDataDir } from '@agent-audit/embedded'
import { startKafka, startSchemaRegistry } from '@agent-audit/stack'
import { benchmarkCompleteness } from './analytics/completeness-benchmark.ts'
import { benchmarkConsumers } from './consumer/consumer-benchmark.ts'
import { benchmarkDetect } from './detect/detect-benchmark.ts'
import { writeDocument } from './document/document.ts'
import { benchmarkEveryday } from './everyday/everyday-benchmark.ts'
import { closeBenchDirectory, openBenchDirectory } from './support/bench-directory.ts'
import { describeEnvironment } from './support/environment.ts'
import { benchmarkLatency } from './latency/latency-benchmark.ts'
import { benchmarkProducers } from './producer/producer-benchmark.ts'
import { benchmarkQueries } from './queries/queries-benchmark.ts'
import { benchmarkScale } from './scale/scale-benchmark.ts'
import { type Results, saveResults } from './support/results.ts'
import { readSizeMix } from './support/size-mix.ts'
import { openStore } from './support/store.ts'

const USAGE = `npm run bench -- [--only PART] [--events N] [--rounds N] [--seconds N] [--profile DIR] [--rows N] [--runs N] [--data-dir DIR]
  --only      consumer, latency, everyday, producer, completeness (of ten times the events), scale, queries or detect (each alone), or document: write
              docs/performance.md from bench/results; may be given more than once (default consumer and latency; npm run bench:producer: producer)
  --events    events of 0.3 KB in the consumer's backlog; the other counts follow (default 1000000)
  --seconds   duration of each phase of everyday (default 20; three times that when idle)
  --rounds    rounds; each figure is their median (default 3)
  --profile   takes CPU profiles of our consumer into this folder
  --rows      rows of the largest log of scale, or trail of queries, in whole millions (default 100000000, which take some
              2 GB and 6 minutes of scale, 7 GB and half an hour of queries); events of the day of detect (default 10000000)
  --runs      runs of each question of queries (default 100)
  --data-dir  where scale and queries keep their rows; a later run goes on with them (default agent-audit-bench-scale or
              agent-audit-bench-queries in the directory for temporary files)
AUDIT_SESSIONS_FILE names recorded sessions for the size mix; without it, generated sessions of the same sizes are used.
With --events, --seconds, --rounds, --profile, --rows or --runs, no results are saved.
`
const PARTS = [
  'consumer',
  'latency',
  'everyday',
  'producer',
  'completeness',
  'scale',
  'queries',
  'detect',
  'document',
] as const
/** They run alone. */
const ALONE: ReadonlySet<Part> = new Set(['scale', 'queries', 'detect'])
type Part = (typeof PARTS)[number]
const DEFAULTS = {
  only: ['consumer', 'latency'],
  events: 1_000_000,
  rounds: 3,
  seconds: 20,
  rows: 100_000_000,
  dayEvents: 10_000_000,
  runs: 100,
}
const LATENCY_SECONDS = 20

const say = (line: string): void => void process.stdout.write(`${line}\n`)

// The figures are of servers without Docker, by their process ids too.
process.env['AUDIT_SERVERS'] ??= 'local'

/** Tables and spools of this run. */
const directory = await openBenchDirectory()
try {
  process.exitCode = await main()
} finally {
  await closeBenchDirectory(directory)
}

interface Order {
  readonly only: readonly Part[]
  readonly events: number
  readonly rounds: number
  readonly rows: number
  readonly runs: number
  readonly seconds: number
  readonly keptDir: string | undefined
  readonly profileDir: string | undefined
  readonly quick: boolean
}

async function main(): Promise<number> {
  const order = readOrder()
  if (order === undefined) {
    process.stderr.write(USAGE)
    return 2
  }
  if (order.only.includes('document')) {
    writeDocument()
    return 0
  }
  const results = await measure(order)
  if (order.quick) say(JSON.stringify(results, undefined, 2))
  else {
    say(`saved ${saveResults(results)}`)
    writeDocument()
    say('wrote docs/performance.md')
  }
  return 0
}

function measure(order: Order): Promise<Results> {
  if (order.only.includes('scale') || order.only.includes('queries')) return runKept(order)
  return order.only.includes('detect') ? runDetect(order) : run(order)
}

function readOrder(): Order | undefined {
  const text = { type: 'string' } as const
  try {
    const only = { type: 'string', multiple: true } as const
    const { values } = parseArgs({
      options: {
        only,
        events: text,
        seconds: text,
        rounds: text,
        profile: text,
        rows: text,
        runs: text,
        'data-dir': text,
      },
    })
    const events = Number(values.events ?? DEFAULTS.events)
    const rounds = Number(values.rounds ?? DEFAULTS.rounds)
    const seconds = Number(values.seconds ?? DEFAULTS.seconds)
    const runs = Number(values.runs ?? DEFAULTS.runs)
    const parts = (values.only ?? DEFAULTS.only).map((name) => PARTS.find((part) => part === name))
    if (!parts.every((part) => part !== undefined)) return undefined
    const rows = Number(values.rows ?? (parts.includes('detect') ? DEFAULTS.dayEvents : DEFAULTS.rows))
    if (!Number.isInteger(events) || events < 10 || !Number.isInteger(rounds) || rounds < 1) return undefined
    if (!Number.isInteger(seconds) || seconds < 1) return undefined
    if (!Number.isInteger(rows / 1_000_000) || rows < 1) return undefined
    if (!Number.isInteger(runs) || runs < 1) return undefined
    if (parts.some((part) => ALONE.has(part)) && parts.length > 1) return undefined
    const { 'data-dir': keptDir, profile: profileDir } = values
    const given = [values.events, values.seconds, values.rounds, profileDir, values.rows, values.runs]
    const quick = given.some((value) => value !== undefined)
    return { only: parts, events, rounds, rows, runs, seconds, keptDir, profileDir, quick }
  } catch {
    return undefined
  }
}

/** Their rows stay, so that a run that was stopped goes on, and a later one begins at once. */
async function runKept({ only, rows, rounds, runs, keptDir }: Order): Promise<Results> {
  const startedAt = new Date().toISOString()
  const part = only.includes('scale') ? 'scale' : 'queries'
  const directoryOfRows = keptDir ?? join(tmpdir(), `agent-audit-bench-${part}`)
  await using dataDir = await openDataDir(directoryOfRows)
  await using store = await openStore(dataDir)
  say(`${part}: rows in ${directoryOfRows}`)
  const scale = part === 'scale' ? await benchmarkScale({ dataDir, admin: store.admin, rows, rounds, say }) : undefined
  const queries = part === 'queries' ? await benchmarkQueries({ dataDir, rows, runs, say }) : undefined
  const environment = describeEnvironment({ clickhouse: await store.version(), kafkaAttached: false })
  return { startedAt, environment, scale, queries }
}

async function runDetect({ rows }: Order): Promise<Results> {
  const startedAt = new Date().toISOString()
  await using dataDir = await openDataDir(join(directory, 'data'))
  await using store = await openStore(dataDir)
  const environment = describeEnvironment({ clickhouse: await store.version(), kafkaAttached: false })
  const detect = await benchmarkDetect({ dataDir, admin: store.admin, rows, say })
  return { startedAt, environment, detect }
}

async function run({ only, events, rounds, seconds, profileDir }: Order): Promise<Results> {
  const startedAt = new Date().toISOString()
  await using dataDir = await openDataDir(join(directory, 'data'))
  await using store = await openStore(dataDir)
  const completeness = only.includes('completeness')
    ? await benchmarkCompleteness({ store, rows: 10 * events, rounds, say })
    : undefined
  if (only.every((part) => part === 'completeness')) {
    const environment = describeEnvironment({ clickhouse: await store.version(), kafkaAttached: false })
    return { startedAt, environment, completeness }
  }
  await using kafka = await startKafka()
  await using registry = only.includes('consumer') ? await startSchemaRegistry() : undefined
  const sizeMix = readSizeMix(process.env['AUDIT_SESSIONS_FILE'])
  say(`size mix: ${sizeMix.source} sessions`)
  const environment = describeEnvironment({ clickhouse: await store.version(), kafkaAttached: kafka.attached })
  say(`load average ${environment.machine.loadAverage} at the start: figures of a busy machine say little`)
  const scale = events / DEFAULTS.events
  const shared = { brokers: kafka.brokers, dataDir, store, directory, sizeMix, rounds, say }
  const latencySeconds = Math.ceil(LATENCY_SECONDS * Math.min(1, scale))
  return {
    startedAt,
    environment,
    consumer: registry && (await benchmarkConsumers({ ...shared, registryUrl: registry.url, events, profileDir })),
    latency: only.includes('latency') ? await benchmarkLatency({ ...shared, seconds: latencySeconds }) : undefined,
    everyday: only.includes('everyday')
      ? await benchmarkEveryday({ ...shared, kafka, seconds, profileDir })
      : undefined,
    producer: only.includes('producer') ? await benchmarkProducers({ ...shared, scale }) : undefined,
    completeness,
  }
}
