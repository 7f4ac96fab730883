/**
 * What the consumer's seals cost: the hash of a row by itself, and our consumer on the same backlog with a key and without, in
 * turns.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BufferMemory, EventBlock, RangeDigest } from '@agent-audit/consumer/pipeline'
import { NEWEST_SCHEMA, SEALS_SUFFIX, SINGLE_OBJECT_BYTES } from '@agent-audit/schemas'
import { generateKey } from '@agent-audit/seals'
import { type Backlog, fillBacklog } from '../consumer/backlog.ts'
import { type ConsumerBenchmark, measure } from '../consumer/consumer-benchmark.ts'
import { startSealing } from '../consumer/consumer-contenders.ts'
import { connectKafka, createTopic } from '../support/kafka.ts'
import { fieldsOf, Run } from '../support/records.ts'
import { type ConsumerRound, rounded } from '../support/results.ts'
import { type SessionScript, SMALL_SESSIONS } from '../support/sessions.ts'
import { readSizeMix } from '../support/size-mix.ts'
import { inTurn } from '../support/table-copies.ts'
import type { Figure, IntegrityBenchmark, Measured } from './figures.ts'
import { withStore } from './sealed-log.ts'

/** Rounds for each one of the order: a single one says little about some percent. */
const ROUNDS = 3
/** Events of the backlog for each one of the increment's. */
const EVENTS = 0.1
/** Rows of a block, how often it is hashed in a round, and rounds. */
const [BLOCK_ROWS, BLOCKS, TIMES] = [10_000, 20, 20]
const BOUNDS = { sealUs: 0.4, throughput: 0.95 }

export async function measureConsumers(order: IntegrityBenchmark): Promise<Measured> {
  const { brokers, directory, profileDir, say } = order
  const keyFile = join(directory, 'consumer-cost.key')
  writeFileSync(keyFile, generateKey('bench'), { mode: 0o600 })
  const events = Math.round(order.events * EVENTS)
  const mix = readSizeMix(process.env['AUDIT_SESSIONS_FILE'])
  return withStore(directory, async ({ dataDir, store }) => {
    const backlog = await fillBacklog({ brokers }, { name: '0.3 KB', events, scripts: SMALL_SESSIONS })
    await makeSealsTopic(brokers, backlog)
    const shared = { brokers, registryUrl: undefined, dataDir, store, profileDir: undefined }
    const benchmark = { ...shared, sizeMix: mix, rounds: ROUNDS * order.rounds, events, say }
    const [plain, sealed] = await measurePairs(benchmark, { backlog, keyFile, profileDir })
    return {
      figures: [
        ...figuresOf(plain, sealed),
        hashFigure('0.3 KB', SMALL_SESSIONS),
        hashFigure('real size mix', mix.sessions),
      ],
      notes: [
        `The consumer stores a backlog of ${events} events of ${backlog.recordBytes} B, with a key and without in turns; each round is compared with its own neighbour.`,
      ],
    }
  })
}

type Pair = readonly [plain: ConsumerRound[], sealed: ConsumerRound[]]

async function measurePairs(
  benchmark: ConsumerBenchmark,
  { backlog, keyFile, profileDir }: { backlog: Backlog; keyFile: string; profileDir: string | undefined },
): Promise<Pair> {
  const kinds = [
    { name: 'without a key', key: undefined, rounds: [] as ConsumerRound[] },
    { name: 'with a key', key: keyFile, rounds: [] as ConsumerRound[] },
  ] as const
  // The first round warms caches up; the last one, if asked for, is profiled.
  const last = profileDir === undefined ? benchmark.rounds : benchmark.rounds + 1
  for (let round = 0; round <= last; round++) {
    const profiled = round > benchmark.rounds ? profileDir : undefined
    for (const { name, key, rounds } of inTurn(kinds, round)) {
      if (round > benchmark.rounds && key === undefined) continue
      const contender = {
        name: 'ours' as const,
        table: 'audit_events',
        start: (...parts: Parameters<typeof startSealing> extends [unknown, ...infer Rest] ? Rest : never) =>
          startSealing(key, { ...parts[0], profileDir: profiled }, parts[1], parts[2]),
      }
      const result = await measure(benchmark, { backlog, contender, round })
      const counts = round > 0 && round <= benchmark.rounds
      if (counts) rounds.push(result)
      const { eventsPerSecond, node } = result
      const what = counts ? `round ${round} of ${benchmark.rounds}` : 'not counted'
      benchmark.say(
        `consumer, ${what}, ${name}: ${eventsPerSecond} events/s, ${node?.cpuUsPerEvent} us of CPU an event`,
      )
    }
  }
  return [kinds[0].rounds, kinds[1].rounds]
}

function figuresOf(plain: readonly ConsumerRound[], sealed: readonly ConsumerRound[]): Figure[] {
  const pairs = plain.flatMap((one, index) => {
    const other = sealed[index]
    return other === undefined ? [] : [{ one, other }]
  })
  return [
    {
      stage: 'consumer',
      name: 'consumer, CPU more with a key',
      unit: 'us an event',
      bound: { most: BOUNDS.sealUs },
      rounds: pairs.map(({ one, other }) => rounded(cpu(other) - cpu(one), 3)),
    },
    {
      stage: 'consumer',
      name: 'consumer, throughput with a key',
      unit: 'of that without',
      bound: { least: BOUNDS.throughput },
      rounds: pairs.map(({ one, other }) => rounded(other.eventsPerSecond / one.eventsPerSecond, 3)),
    },
    {
      stage: 'consumer',
      name: 'consumer, without a key',
      unit: 'events/s',
      rounds: plain.map(({ eventsPerSecond }) => eventsPerSecond),
    },
    { stage: 'consumer', name: 'consumer, CPU without a key', unit: 'us an event', rounds: plain.map(cpu) },
  ]
}

function cpu({ node }: ConsumerRound): number {
  return node?.cpuUsPerEvent ?? Number.NaN
}

/** The hash that runs along with the inserts, on blocks as they are inserted. */
function hashFigure(name: string, scripts: readonly SessionScript[]): Figure {
  const block = new EventBlock({ logId: Buffer.alloc(8), topic: 'bench', partition: 0 }, new BufferMemory(2 ** 30))
  const run = new Run(0, scripts.map(fieldsOf), 1)
  for (let offset = 0; offset < BLOCK_ROWS; offset++) {
    block.append(run.next().value, SINGLE_OBJECT_BYTES, NEWEST_SCHEMA, offset, Date.now())
  }
  const rows = { events: block.close(), skipped: undefined }
  const costs = Array.from({ length: TIMES }, () => {
    const before = process.threadCpuUsage()
    for (let time = 0; time < BLOCKS; time++) {
      const digest = new RangeDigest(0)
      digest.add(BLOCK_ROWS, rows)
      digest.close()
    }
    const { user, system } = process.threadCpuUsage(before)
    return rounded((user + system) / (BLOCK_ROWS * BLOCKS), 4)
  })
  const bytes = Math.round(rows.events.bytes / BLOCK_ROWS)
  return { stage: 'consumer', name: `its hash alone, ${name}, ${bytes} B a row`, unit: 'us an event', rounds: costs }
}

async function makeSealsTopic(brokers: readonly string[], { topic }: Backlog): Promise<void> {
  const admin = connectKafka(brokers).admin()
  await admin.connect()
  await createTopic(admin, `${topic}${SEALS_SUFFIX}`, 1)
  await admin.disconnect()
}
