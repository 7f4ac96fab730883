/**
 * The broker is down while a producer records at full speed: the calls cost the same, the producer's memory stays bounded, and
 * all events arrive in order once the broker is back.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Analytics, completeness, connectAnalytics, registerLog } from '@agent-audit/analytics'
import { createConsumer, markKafkaLogClean, readSettings } from '@agent-audit/consumer'
import type { KafkaConnection } from '@agent-audit/kafka'
import { ensureTopic } from '@agent-audit/kafka/topics'
import type { TrailStats } from '@agent-audit/producer'
import { type DataDir, openDataDir } from '@agent-audit/embedded'
import { type KafkaCluster, startKafka } from '@agent-audit/stack'
import { pino } from 'pino'
import { SOON_BACK } from '../support/own-kafka.ts'

/** The producer's order, as JSON in its argument. */
export interface OutageOrder {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly spoolDir: string
  /** Events recorded before the process counts as idle, then while the broker is up, and while it is down. */
  readonly warmUp: number
  readonly before: number
  readonly events: number
}

export interface PhaseFigures {
  readonly seconds: number
  /** CPU of the caller's thread an event, microseconds. */
  readonly callerUs: number
  /** Highest memory of the process, all threads, MiB. */
  readonly peakMb: number
  readonly stats: TrailStats
}

export interface OutageReport {
  readonly warmUp: number
  /** Memory of the process after its first {@link warmUp} events are acknowledged, MiB. */
  readonly idleMb: number
  readonly up: PhaseFigures
  readonly down: PhaseFigures
  readonly drained: PhaseFigures
  /** Events in ClickHouse, those that the consumer skipped as duplicates, and those that follow a later event of their run. */
  readonly stored: number
  readonly duplicates: number
  readonly outOfOrder: number
  readonly verdict: string
  /** Version of the ClickHouse that holds them. */
  readonly clickhouse: string
}

export interface OutageOptions {
  readonly before: number
  readonly events: number
  readonly say?: (line: string) => void
}

/** As many as a user's first events. */
const WARM_UP = 5000
const LOG = { topic: 'audit.events', groupId: 'audit-writer' }
const PARTITIONS = 4
const PRODUCER = fileURLToPath(new URL('producer.ts', import.meta.url))
const DAY_MS = 86_400_000
const POLL_MS = 200

/** Starts a Kafka, whose one broker it kills, and a ClickHouse; removes both. */
export async function runOutage({ before, events, say = () => {} }: OutageOptions): Promise<OutageReport> {
  const directory = mkdtempSync(join(tmpdir(), 'outage-test-'))
  try {
    await using dataDir = await openDataDir(directory)
    await using kafka = await startKafka({ dataDir: join(directory, 'kafka'), properties: SOON_BACK })
    await setUp(dataDir, kafka)
    const spoolDir = join(directory, 'spool')
    await using producer = startProducer({
      brokers: kafka.brokers,
      topic: LOG.topic,
      spoolDir,
      warmUp: WARM_UP,
      before,
      events,
    })
    const up = await producer.said<PhaseFigures & { idleMb: number }>('up')
    say(`with the broker: ${describe(up)}, idle at ${up.idleMb.toFixed(0)} MiB`)
    await kafka.nodes[0]?.kill()
    producer.goOn()
    const down = await producer.said<PhaseFigures>('down')
    say(`without: ${describe(down)}, ${(down.stats.spoolBytes / 2 ** 20).toFixed(0)} MiB in the spool`)
    await kafka.nodes[0]?.start()
    const drained = await producer.said<PhaseFigures>('drained')
    say(`back: drained in ${drained.seconds.toFixed(1)} s, at most ${drained.peakMb.toFixed(0)} MiB`)
    await producer.end()
    const stored = await store(dataDir, kafka, down.stats.recorded + 1)
    return { warmUp: WARM_UP, idleMb: up.idleMb, up, down, drained, ...stored }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function describe({ seconds, callerUs, peakMb }: PhaseFigures): string {
  return `${callerUs.toFixed(2)} us an event on the caller's thread, ${seconds.toFixed(1)} s, at most ${peakMb.toFixed(0)} MiB`
}

function connectionOf({ brokers }: KafkaCluster): KafkaConnection {
  return { brokers, ssl: false, sasl: undefined, clientId: 'test' }
}

async function setUp(dataDir: DataDir, kafka: KafkaCluster): Promise<void> {
  const made = await ensureTopic(connectionOf(kafka), {
    topic: LOG.topic,
    partitions: PARTITIONS,
    replicationFactor: 1,
    retentionMs: DAY_MS,
    maxMessageBytes: 2 ** 20,
  })
  await using admin = connectAnalytics(dataDir.admin)
  await registerLog(admin, { sourceId: made.clusterId, topic: LOG.topic, consumerGroup: LOG.groupId })
  await markKafkaLogClean(connectionOf(kafka), LOG)
}

interface Producer extends AsyncDisposable {
  /** Waits for a line that begins with `word`. @returns The figures that follow the word. */
  said<T>(word: string): Promise<T>
  goOn(): void
  /** Waits until it has ended. */
  end(): Promise<void>
}

function startProducer(order: OutageOrder): Producer {
  const args = ['--conditions=agent-audit-source', PRODUCER, JSON.stringify(order)]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const closed = once(child, 'close')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    async said<T>(word: string) {
      const line = await lines.next()
      if (line.done === true || !line.value.startsWith(`${word} `))
        throw new Error(`expected ${word}, got ${line.value}`)
      return JSON.parse(line.value.slice(word.length)) as T
    },
    goOn: () => void child.stdin.write('\n'),
    async end() {
      await closed
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await closed
    },
  }
}

/** Runs the consumer until it has stored the log, and checks the tables. */
async function store(
  dataDir: DataDir,
  kafka: KafkaCluster,
  events: number,
): Promise<Pick<OutageReport, 'stored' | Looked>> {
  const { url, username, password } = dataDir.writer
  const environment = { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
  const settings = readSettings({ ...environment, KAFKA_BROKERS: kafka.brokers.join(',') })
  const drain = new AbortController()
  const running = createConsumer(settings, pino({ level: 'warn' })).run(drain.signal)
  await using analytics = connectAnalytics(dataDir.reader)
  const count = async (sql: string): Promise<number> => Number((await analytics.rows<{ n: string }>(sql))[0]?.n)
  let stored = 0
  let before = -1
  // The consumer ends only with an error. Events that are not there when the count no longer grows are missing.
  for (let quiet = 0; stored < events && quiet < 150; quiet = stored === before ? quiet + 1 : 0) {
    before = stored
    await Promise.race([sleep(POLL_MS), running])
    stored = await count('SELECT count() AS n FROM audit.audit_events')
  }
  drain.abort()
  await running
  return { stored, ...(await look(analytics, count)) }
}

/** Within a partition the numbers of a run must rise with the offsets. */
const OUT_OF_ORDER = `
  SELECT count() AS n FROM (
    SELECT run_seq, lagInFrame(run_seq, 1, toInt64(-1)) OVER (
      PARTITION BY log_partition ORDER BY log_offset ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before
    FROM audit.audit_events)
  WHERE run_seq <= before`

type Looked = 'duplicates' | 'outOfOrder' | 'verdict' | 'clickhouse'

async function look(
  analytics: Analytics,
  count: (sql: string) => Promise<number>,
): Promise<Pick<OutageReport, Looked>> {
  const { verdict, skipped } = await completeness(analytics)
  const [version] = await analytics.rows<{ v: string }>('SELECT version() AS v')
  const outOfOrder = await count(OUT_OF_ORDER)
  return { duplicates: skipped.duplicate, outOfOrder, verdict, clickhouse: version?.v ?? '' }
}
