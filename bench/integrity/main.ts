/**
 * `npm run bench:integrity` measures all that integrity costs, on a real Kafka and a real ClickHouse: what seals cost the agent's
 * thread, the delivery thread, the consumer and the store, how fast a trail is verified, and how fast a session is exported as
 * evidence and checked. It writes results to bench/results, and docs/performance.md from the newest results. A run with options
 * saves no results.
 */
import { parseArgs } from 'node:util'
import { startKafka } from '@agent-audit/stack'
import { writeDocument } from '../document/document.ts'
import { closeBenchDirectory, openBenchDirectory } from '../support/bench-directory.ts'
import { describeEnvironment } from '../support/environment.ts'
import { saveResults } from '../support/results.ts'
import { measureConsumers } from './consumer-cost.ts'
import {
  found,
  type IntegrityBenchmark,
  type IntegrityPart,
  judge,
  type Measured,
  type Stage,
  STAGES,
} from './figures.ts'
import { measureProducer } from './producer-cost.ts'
import { measureStorage } from './storage.ts'
import { withStore } from './sealed-log.ts'
import { measureTrail } from './trail.ts'

const DEFAULTS = { events: 10_000_000, rounds: 3, seconds: 60 }
const USAGE = `npm run bench:integrity -- [--only STAGE,…] [--events N] [--rounds N] [--seconds N] [--profile DIR]
  --only     ${STAGES.join(', ')} (default all). caller and sealing are one
             measurement, and so are verify, increment and evidence: the same trail
  --events   events of the increment of verify; the consumer's backlog has a tenth of them (default ${DEFAULTS.events})
  --rounds   rounds of verify; the shorter stages have more of them (default ${DEFAULTS.rounds})
  --seconds  how long each load of storage lasts (default ${DEFAULTS.seconds})
  --profile  takes a CPU profile of verify, and of the consumer with seals, into this folder
With any option, no results are saved. All stages take some 30 minutes and 8 GB of disk by default.
`
const say = (line: string): void => void process.stdout.write(`${line}\n`)

// The figures are of servers without Docker, by their process ids too.
process.env['AUDIT_SERVERS'] ??= 'local'

const directory = await openBenchDirectory()
try {
  process.exitCode = await main()
} finally {
  await closeBenchDirectory(directory)
}

type Order = Omit<IntegrityBenchmark, 'brokers' | 'say' | 'directory'> & { readonly quick: boolean }

async function main(): Promise<number> {
  const order = readOrder()
  if (order === undefined) {
    process.stderr.write(USAGE)
    return 2
  }
  const startedAt = new Date().toISOString()
  await using kafka = await startKafka()
  const clickhouse = await withStore(directory, ({ store }) => store.version())
  const environment = describeEnvironment({ clickhouse, kafkaAttached: kafka.attached })
  say(`load average ${environment.machine.loadAverage} at the start: figures of a busy machine say little`)
  const { part, failed } = await measureStages({ ...order, brokers: kafka.brokers, directory, say })
  printTable(part)
  if (failed) return 1
  const results = { startedAt, environment, integrity: part }
  if (order.quick) say(JSON.stringify(results, undefined, 2))
  else {
    say(`saved ${saveResults(results)}`)
    writeDocument()
    say('wrote docs/performance.md')
  }
  return 0
}

/** Stages that are measured together, in turn. One that fails does not end the others. */
async function measureStages(benchmark: IntegrityBenchmark): Promise<{ part: IntegrityPart; failed: boolean }> {
  const groups: readonly (readonly [readonly Stage[], (of: IntegrityBenchmark) => Promise<Measured>])[] = [
    [['caller', 'sealing'], measureProducer],
    [['consumer'], measureConsumers],
    [['storage'], measureStorage],
    [['verify', 'increment', 'evidence'], measureTrail],
  ]
  const measured: Measured[] = []
  let failed = false
  for (const [stages, measure] of groups) {
    if (!stages.some((stage) => benchmark.only.has(stage))) continue
    const began = performance.now()
    try {
      measured.push(await measure(benchmark))
    } catch (error) {
      failed = true
      say(`${stages.join(', ')} FAILED: ${error instanceof Error ? error.stack : String(error)}`)
    }
    say(`${stages.join(', ')}: took ${Math.round((performance.now() - began) / 1000)} s`)
  }
  const figures = measured.flatMap((each) => each.figures).filter(({ stage }) => benchmark.only.has(stage))
  return { part: { events: benchmark.events, figures, notes: measured.flatMap((each) => each.notes) }, failed }
}

function printTable({ figures, notes }: IntegrityPart): void {
  const rows = figures.map((figure) => {
    const { wanted, met } = judge(figure)
    const verdict = met === undefined ? '' : met ? 'met' : 'MISSED'
    return [`${figure.name}, ${figure.unit}`, wanted, found(figure), verdict]
  })
  const all = [['figure', 'bound', 'found: median (min to max)', ''], ...rows]
  const widths = [0, 1, 2].map((column) => Math.max(...all.map((row) => row[column]?.length ?? 0)))
  for (const row of all) say(row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '))
  for (const note of notes) say(`- ${note}`)
}

function readOrder(): Order | undefined {
  const text = { type: 'string' } as const
  const only = { type: 'string', multiple: true } as const
  try {
    const { values } = parseArgs({ options: { only, events: text, rounds: text, seconds: text, profile: text } })
    const names = (values.only ?? STAGES).flatMap((list) => list.split(','))
    const stages = names.map((name) => STAGES.find((stage) => stage === name))
    if (!stages.every((stage) => stage !== undefined)) return undefined
    const events = Number(values.events ?? DEFAULTS.events)
    const rounds = Number(values.rounds ?? DEFAULTS.rounds)
    const seconds = Number(values.seconds ?? DEFAULTS.seconds)
    if (![events, rounds, seconds].every((count) => Number.isInteger(count) && count >= 1)) return undefined
    if (events < 10_000) return undefined
    const quick = Object.keys(values).length > 0
    return { only: new Set(stages), events, rounds, seconds, profileDir: values.profile, quick }
  } catch {
    return undefined
  }
}
