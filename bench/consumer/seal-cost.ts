/**
 * `npm run bench:consumer-seals` measures what the consumer's seals cost: the hash of a row by itself, and our consumer on the same backlog
 * with a key and without, in turns, on a real Kafka and ClickHouse. `--events` and `--rounds` make it shorter, `--profile DIR` takes CPU
 * profiles of the consumers.
 *
 * It prints the cost of an event, beside that of SHA-256 alone (bound: 0.4 us at 0.3 KB), and the throughput with seals as a share of
 * that without (bound: 0.95), medians of rounds in turns.
 */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { BufferMemory, EventBlock, RangeDigest } from '@agent-audit/consumer/pipeline'
import { openDataDir } from '@agent-audit/embedded'
import { NEWEST_SCHEMA, SEALS_SUFFIX, SINGLE_OBJECT_BYTES } from '@agent-audit/schemas'
import { generateKey } from '@agent-audit/seals'
import { startKafka, startSchemaRegistry, stopAll } from '@agent-audit/stack'
import { connectKafka, createTopic } from '../support/kafka.ts'
import { stopMeasured } from '../support/measured-process.ts'
import { fieldsOf, Run } from '../support/records.ts'
import type { ConsumerRound } from '../support/results.ts'
import { type SessionScript, SMALL_SESSIONS } from '../support/sessions.ts'
import { readSizeMix } from '../support/size-mix.ts'
import { openStore } from '../support/store.ts'
import { inTurn } from '../support/table-copies.ts'
import { type Backlog, fillBacklog } from './backlog.ts'
import { measure } from './consumer-benchmark.ts'
import { startSealing } from './consumer-contenders.ts'

const { values: options } = parseArgs({
  options: {
    events: { type: 'string', default: '400000' },
    rounds: { type: 'string', default: '5' },
    profile: { type: 'string' },
  },
})
const [events, rounds] = [Number(options.events), Number(options.rounds)]
/** Rows of a block, and how often it is hashed. */
const [BLOCK_ROWS, TIMES] = [10_000, 20]
const directory = mkdtempSync(join(tmpdir(), 'agent-audit-bench-seals-'))
const say = (line: string): void => void process.stdout.write(`${line}\n`)

try {
  measureHash('0.3 KB', SMALL_SESSIONS)
  measureHash('real size mix', readSizeMix(process.env['AUDIT_SESSIONS_FILE']).sessions)
  await measureConsumers()
} finally {
  await stopMeasured()
  await stopAll()
  rmSync(directory, { recursive: true, force: true })
}

/** The hash that runs along with the inserts, on blocks as they are inserted. */
function measureHash(name: string, scripts: readonly SessionScript[]): void {
  const block = new EventBlock({ logId: Buffer.alloc(8), topic: 'bench', partition: 0 }, new BufferMemory(2 ** 30))
  const run = new Run(0, scripts.map(fieldsOf), 1)
  for (let offset = 0; offset < BLOCK_ROWS; offset++) {
    block.append(run.next().value, SINGLE_OBJECT_BYTES, NEWEST_SCHEMA, offset, Date.now())
  }
  const rows = { events: block.close(), skipped: undefined }
  const timed = (work: () => void): number[] =>
    Array.from({ length: TIMES }, () => {
      const startedAt = performance.now()
      work()
      return ((performance.now() - startedAt) * 1000) / BLOCK_ROWS
    })
  const costs = timed(() => {
    const digest = new RangeDigest(0)
    digest.add(BLOCK_ROWS, rows)
    digest.close()
  })
  const [bytesOfAll, hash] = [Buffer.concat(rows.events.data), (bytes: Buffer) => createHash('sha256').update(bytes)]
  const alone = timed(() => void hash(bytesOfAll).digest())
  const bytes = Math.round(rows.events.bytes / BLOCK_ROWS)
  say(
    `hash, ${name} (${bytes} B a row): ${median(costs).toFixed(3)} us an event, best ${best(costs)}, SHA-256 alone ${best(alone)}`,
  )
}

async function measureConsumers(): Promise<void> {
  const keyFile = join(directory, 'consumer.key')
  writeFileSync(keyFile, generateKey('bench'), { mode: 0o600 })
  await using dataDir = await openDataDir(join(directory, 'data'))
  await using store = await openStore(dataDir)
  await using kafka = await startKafka()
  await using registry = await startSchemaRegistry()
  const shared = { brokers: kafka.brokers, registryUrl: registry.url, dataDir, store, profileDir: options.profile }
  const backlog = await fillBacklog(shared, { name: '0.3 KB', events, scripts: SMALL_SESSIONS })
  await makeSealsTopic(kafka.brokers, backlog)
  const benchmark = { ...shared, sizeMix: readSizeMix(undefined), rounds, events, say }
  const kinds = [
    { key: undefined, rounds: [] as ConsumerRound[] },
    { key: keyFile, rounds: [] as ConsumerRound[] },
  ]
  for (let round = 0; round <= rounds; round++) {
    for (const kind of inTurn(kinds, round)) {
      const contender = {
        name: 'ours' as const,
        table: 'audit_events',
        start: (...order: Parameters<typeof startSealing> extends [unknown, ...infer Rest] ? Rest : never) =>
          startSealing(kind.key, ...order),
      }
      const result = await measure(benchmark, { backlog, contender, round })
      // The first round warms caches up.
      if (round > 0) kind.rounds.push(result)
      const { eventsPerSecond, node } = result
      say(
        `round ${round}, ${kind.key === undefined ? 'no key' : 'sealed'}: ${eventsPerSecond} events/s, ${node?.cpuUsPerEvent} us`,
      )
    }
  }
  const [plain, sealed] = kinds.map((kind) => ({
    rate: median(kind.rounds.map(({ eventsPerSecond }) => eventsPerSecond)),
    cpu: median(kind.rounds.map(({ node }) => node?.cpuUsPerEvent ?? 0)),
  }))
  if (plain === undefined || sealed === undefined) return
  say(
    `throughput with seals: ${(sealed.rate / plain.rate).toFixed(3)} of without (${sealed.rate} and ${plain.rate} events/s)`,
  )
  say(`CPU of the consumer: ${(sealed.cpu - plain.cpu).toFixed(2)} us an event more (${sealed.cpu} and ${plain.cpu})`)
}

async function makeSealsTopic(brokers: readonly string[], { topic }: Backlog): Promise<void> {
  const admin = connectKafka(brokers).admin()
  await admin.connect()
  await createTopic(admin, `${topic}${SEALS_SUFFIX}`, 1)
  await admin.disconnect()
}

function best(numbers: readonly number[]): string {
  return Math.min(...numbers).toFixed(3)
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
}
