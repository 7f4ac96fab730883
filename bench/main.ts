/**
 * `npm run bench` and `npm run bench:producer` measure our consumer and producer beside the alternatives, on a real Kafka and
 * a real ClickHouse. They write results to bench/results, and docs/performance.md from the newest results. A quick run, with
 * --events, --rounds or --profile, saves no results.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openDataDir } from '@agent-audit/embedded'
import { startKafka, startSchemaRegistry, stopAll } from '@agent-audit/stack'
import { benchmarkCompleteness } from './analytics/completeness-benchmark.ts'
import { benchmarkConsumers } from './consumer/consumer-benchmark.ts'
import { writeDocument } from './document/document.ts'
import { benchmarkEveryday } from './everyday/everyday-benchmark.ts'
import { describeEnvironment } from './support/environment.ts'
import { stopMeasured } from './support/measured-process.ts'
import { benchmarkLatency } from './latency/latency-benchmark.ts'
import { benchmarkProducers } from './producer/producer-benchmark.ts'
import { benchmarkScale } from './scale/scale-benchmark.ts'
import { type Results, saveResults } from './support/results.ts'
import { readSizeMix } from './support/size-mix.ts'
import { openStore } from './support/store.ts'

const USAGE = `npm run bench -- [--only PART] [--events N] [--rounds N] [--seconds N] [--profile DIR] [--rows N] [--data-dir DIR]
  --only      consumer, latency, everyday, producer, completeness (of ten times the events), scale (alone), or document: write
              docs/performance.md from bench/results; may be given more than once (default consumer and latency; npm run bench:producer: producer)
  --events    events of 0.3 KB in the consumer's backlog; the other counts follow (default 1000000)
  --seconds   duration of each phase of everyday (default 20; three times that when idle)
  --rounds    rounds; each figure is their median (default 3)
  --profile   takes CPU profiles of our consumer into this folder
  --rows      rows of the largest log of scale, in whole millions (default 100000000, which take some 2 GB and 6 minutes)
  --data-dir  where scale keeps its rows; a later run goes on with them (default agent-audit-bench-scale in the directory for temporary files)
AUDIT_SESSIONS_FILE names recorded sessions for the size mix; without it, generated sessions of the same sizes are used.
With --events, --seconds, --rounds, --profile or --rows, no results are saved.
`
const PARTS = ['consumer', 'latency', 'everyday', 'producer', 'completeness', 'scale', 'document'] as const
type Part = (typeof PARTS)[number]
const DEFAULTS = { only: ['consumer', 'latency'], events: 1_000_000, rounds: 3, rows: 100_000_000, seconds: 20 }
const LATENCY_SECONDS = 20

const say = (line: string): void => void process.stdout.write(`${line}\n`)

// The figures are of servers without Docker, by their process ids too.
process.env['AUDIT_SERVERS'] ??= 'local'

/** Tables and spools of this run. */
const directory = await mkdtemp(join(tmpdir(), 'agent-audit-bench-'))
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void Promise.allSettled([stopMeasured(), stopAll()])
      .then(() => rm(directory, { recursive: true, force: true }))
      .finally(() => process.exit(130))
  })
}
try {
  process.exitCode = await main()
} finally {
  await rm(directory, { recursive: true, force: true })
}

interface Order {
  readonly only: readonly Part[]
  readonly events: number
  readonly rounds: number
  readonly rows: number
  readonly seconds: number
  readonly scaleDir: string
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
  const results = order.only.includes('scale') ? await runScale(order) : await run(order)
  if (order.quick) say(JSON.stringify(results, undefined, 2))
  else {
    say(`saved ${saveResults(results)}`)
    writeDocument()
    say('wrote docs/performance.md')
  }
  return 0
}

function readOrder(): Order | undefined {
  const text = { type: 'string' } as const
  try {
    const only = { type: 'string', multiple: true } as const
    const { values } = parseArgs({
      options: { only, events: text, seconds: text, rounds: text, profile: text, rows: text, 'data-dir': text },
    })
    const events = Number(values.events ?? DEFAULTS.events)
    const rounds = Number(values.rounds ?? DEFAULTS.rounds)
    const rows = Number(values.rows ?? DEFAULTS.rows)
    const seconds = Number(values.seconds ?? DEFAULTS.seconds)
    const scaleDir = values['data-dir'] ?? join(tmpdir(), 'agent-audit-bench-scale')
    const parts = (values.only ?? DEFAULTS.only).map((name) => PARTS.find((part) => part === name))
    if (!parts.every((part) => part !== undefined)) return undefined
    if (!Number.isInteger(events) || events < 10 || !Number.isInteger(rounds) || rounds < 1) return undefined
    if (!Number.isInteger(seconds) || seconds < 1) return undefined
    if (!Number.isInteger(rows / 1_000_000) || rows < 1) return undefined
    if (parts.includes('scale') && parts.length > 1) return undefined
    const given = [values.events, values.seconds, values.rounds, values.profile, values.rows]
    const quick = given.some((value) => value !== undefined)
    return { only: parts, events, rounds, rows, seconds, scaleDir, profileDir: values.profile, quick }
  } catch {
    return undefined
  }
}

/** Its rows stay, so that a run that was stopped goes on, and a later one begins at once. */
async function runScale({ rows, rounds, scaleDir }: Order): Promise<Results> {
  const startedAt = new Date().toISOString()
  await using dataDir = await openDataDir(scaleDir)
  await using store = await openStore(dataDir)
  say(`scale: rows in ${scaleDir}`)
  const scale = await benchmarkScale({ dataDir, admin: store.admin, rows, rounds, say })
  return {
    startedAt,
    environment: describeEnvironment({ clickhouse: await store.version(), kafkaAttached: false }),
    scale,
  }
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
