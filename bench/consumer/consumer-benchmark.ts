/** Measures our consumer beside others: in turns, on the same backlog of a real Kafka, into the same real ClickHouse. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Backlog, fillBacklog } from './backlog.ts'
import { CONSUMERS, type ConsumerParts, type ContenderKind, type RunningConsumer } from './consumer-contenders.ts'
import { ENGINE_SETTINGS } from './kafka-engine.ts'
import { readUsage, type Usage } from '../support/process-usage.ts'
import { type ConsumerPart, type ConsumerRound, type ConsumerUsage, rounded } from '../support/results.ts'
import { SMALL_SESSIONS } from '../support/sessions.ts'
import type { SizeMix } from '../support/size-mix.ts'

export interface ConsumerBenchmark extends ConsumerParts {
  readonly sizeMix: SizeMix
  readonly rounds: number
  /** Events in the backlog of small events; the backlog of the size mix has two fifths as many, and some more bytes. */
  readonly events: number
  readonly say: (line: string) => void
}

const [SMALL, MIX] = ['0.3 KB', 'real size mix']
const POLL_MS = 25
const TIMEOUT_MS = 300_000

export async function benchmarkConsumers(benchmark: ConsumerBenchmark): Promise<ConsumerPart> {
  const { sizeMix, events, rounds, say } = benchmark
  const mixed = { name: MIX, events: Math.ceil((events * 2) / 5), scripts: sizeMix.sessions }
  const backlogs = [
    { source: 'made up', ...(await fillBacklog(benchmark, { name: SMALL, events, scripts: SMALL_SESSIONS })) },
    { source: sizeMix.source, ...(await fillBacklog(benchmark, mixed)) },
  ]
  for (const { name, recordBytes } of backlogs) say(`backlog ${name}: ${recordBytes} B a record`)
  const measured: ConsumerRound[] = []
  for (let round = 1; round <= rounds; round++) {
    for (const backlog of backlogs) {
      for (const contender of CONSUMERS) {
        const result = await measure(benchmark, { backlog, contender, round })
        measured.push(result)
        say(`round ${round} of ${rounds}, ${describe(result)}`)
      }
    }
  }
  const settings = {
    ours: 'defaults of consumer/src/settings.ts',
    obvious:
      'defaults of kafkajs (1 MiB a partition and fetch; 4 MiB was slower), four partitions at once, at most 50,000 rows an insert',
    engine: `AvroConfluent with a schema registry, ${ENGINE_SETTINGS}`,
    log: '4 partitions, 8 runs, batches of 1000 records, zstd level 1',
  }
  return {
    backlogs: backlogs.map(({ name, events: count, recordBytes, source }) => ({
      name,
      events: count,
      recordBytes,
      source,
    })),
    settings,
    rounds: measured,
  }
}

function describe(round: ConsumerRound): string {
  const { backlog, contender, eventsPerSecond, node, clickhouseCpuUsPerEvent } = round
  const own = node === undefined ? '' : `${node.cpuUsPerEvent} us CPU an event, ${node.peakRssMb} MB, `
  return `${backlog}, ${contender}: ${eventsPerSecond} events/s, ${own}${clickhouseCpuUsPerEvent} us of ClickHouse an event`
}

interface Measurement {
  readonly backlog: Backlog
  readonly contender: ContenderKind
  readonly round: number
}

/** One consumer on one backlog, into empty tables. */
export async function measure(
  benchmark: ConsumerBenchmark,
  { backlog, contender, round }: Measurement,
): Promise<ConsumerRound> {
  const { store } = benchmark
  const { name, table } = contender
  // A new group on the same topic, and empty tables: each measurement reads the topic from the start.
  await store.clear()
  const running = await contender.start(benchmark, backlog, `bench-${name.replace(' ', '-')}-${Date.now()}`)
  try {
    const claimed = { ...(await running.claimed()), serverCpuUs: serverCpuUs(benchmark) }
    await untilStored(running, () => store.count(table), backlog.events)
    const stored = { at: performance.now(), usage: running.usage(), serverCpuUs: serverCpuUs(benchmark) }
    const commits = await running.commits()
    await running.stop()
    const found = await store.check(table)
    const complete = found.records === backlog.events && found.positions === backlog.events
    if (!complete || (name === 'ours' && found.rows !== backlog.events)) {
      throw new Error(`${name} stored ${JSON.stringify(found)} of ${backlog.events} events`)
    }
    const measured = rates(running, { claimed, stored }, backlog.events)
    return { backlog: backlog.name, contender: name, round, ...measured, commits, ...found }
  } finally {
    await running.stop()
  }
}

function serverCpuUs({ dataDir }: ConsumerBenchmark): number {
  return readUsage(dataDir.clickhouse.pid).cpuUs
}

interface Moment {
  readonly at: number
  readonly usage: Usage | undefined
  readonly serverCpuUs: number
}

type Rates = Omit<ConsumerRound, 'backlog' | 'contender' | 'round' | 'commits' | 'rows' | 'records' | 'positions'>

function rates(
  { startedAt }: RunningConsumer,
  { claimed, stored }: { claimed: Moment; stored: Moment },
  events: number,
): Rates {
  const seconds = (stored.at - claimed.at) / 1000
  return {
    seconds: rounded(seconds, 3),
    eventsPerSecond: Math.round(events / seconds),
    secondsFromSpawn: rounded((stored.at - startedAt) / 1000, 3),
    node: usageOf(claimed.usage, stored.usage, events),
    clickhouseCpuUsPerEvent: rounded((stored.serverCpuUs - claimed.serverCpuUs) / events, 2),
  }
}

function usageOf(claimed: Usage | undefined, stored: Usage | undefined, events: number): ConsumerUsage | undefined {
  if (claimed === undefined || stored === undefined) return undefined
  return {
    cpuUsPerEvent: rounded((stored.cpuUs - claimed.cpuUs) / events, 2),
    cpuUsPerEventFromSpawn: rounded(stored.cpuUs / events, 2),
    peakRssMb: Math.round(stored.peakRssBytes / 1e6),
  }
}

async function untilStored(running: RunningConsumer, count: () => Promise<number>, events: number): Promise<void> {
  const deadline = performance.now() + TIMEOUT_MS
  for (;;) {
    const rows = await count()
    if (rows >= events) return
    const late = performance.now() > deadline ? 'too late' : undefined
    const failure = (await running.failure()) ?? late
    if (failure !== undefined) throw new Error(`${rows} of ${events} rows: ${failure}`)
    await sleep(POLL_MS)
  }
}
