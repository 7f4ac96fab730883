/**
 * `npm run bench:notary` measures how long a seal waits for a checkpoint: from the time at which the broker has appended it to the
 * moment at which the file of a sink has the signed checkpoint, on a real Kafka and ClickHouse. The notary is a process of its own.
 * `--seconds` and `--rates` (seals a second) make it shorter.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { openDataDir } from '@agent-audit/embedded'
import { formatConsumerSeal, generateKey, signerFromPem } from '@agent-audit/seals'
import { startKafka, stopAll } from '@agent-audit/stack'
import type { Producer } from 'kafkajs'
import { connectKafka, createTopic } from '../support/kafka.ts'
import { SinkWatch, type Step } from './sink-watch.ts'

const { values: options } = parseArgs({
  options: { seconds: { type: 'string', default: '20' }, rates: { type: 'string', default: '10,100,1000' } },
})
const seconds = Number(options.seconds)
const rates = options.rates.split(',').map(Number)
const COMMAND = fileURLToPath(new URL('../../cli/src/main.ts', import.meta.url))
const SEND_MS = 5
/** The part of a run that warms up, and is not counted. */
const WARM_UP_SECONDS = 3

const directory = mkdtempSync(join(tmpdir(), 'agent-audit-bench-notary-'))
const signer = signerFromPem(generateKey('writer'))
const say = (line: string): void => void process.stdout.write(`${line}\n`)

try {
  await using dataDir = await openDataDir(join(directory, 'data'))
  await using kafka = await startKafka()
  for (const rate of rates) await measure(rate, dataDir.notary, kafka.brokers)
} finally {
  await stopAll()
  rmSync(directory, { recursive: true, force: true })
}

interface User {
  readonly url: string
  readonly username: string
  readonly password: string
  readonly database: string
}

async function measure(rate: number, user: User, brokers: readonly string[]): Promise<void> {
  const topic = `bench-${rate}`
  const client = connectKafka(brokers)
  const admin = client.admin()
  await admin.connect()
  await createTopic(admin, `${topic}.seals`, 1)
  await admin.disconnect()
  const producer = client.producer({ allowAutoTopicCreation: false })
  await producer.connect()
  const file = join(directory, `checkpoints-${rate}`)
  writeFileSync(file, '')
  const notary = startNotary({ topic, file, user, brokers })
  const sink = new SinkWatch(file)
  try {
    const warm = await append(producer, { topic, rate, from: 0, forMs: WARM_UP_SECONDS * 1000 })
    const counted = warm.at(-1)?.size ?? 0
    await sink.reached(counted)
    const appended = await append(producer, { topic, rate, from: counted, forMs: seconds * 1000 })
    await sink.reached(appended.at(-1)?.size ?? 0)
    report(rate, lagsOf(appended, counted, sink.seen), sink.seen.filter(({ size }) => size > counted).length)
  } finally {
    notary.kill('SIGTERM')
    if (notary.exitCode === null) await once(notary, 'exit')
    sink.close()
    await producer.disconnect()
  }
}

function startNotary(run: { topic: string; file: string; user: User; brokers: readonly string[] }): ChildProcess {
  const keyFile = join(directory, `${run.topic}.key`)
  writeFileSync(keyFile, generateKey('notary'), { mode: 0o600 })
  const env = {
    PATH: process.env['PATH'],
    CLICKHOUSE_URL: run.user.url,
    CLICKHOUSE_USER: run.user.username,
    CLICKHOUSE_PASSWORD: run.user.password,
    CLICKHOUSE_DATABASE: run.user.database,
    KAFKA_BROKERS: run.brokers.join(','),
  }
  const args = ['notary', '--topic', run.topic, '--key', keyFile, '--file', run.file]
  const node = [
    '--conditions=agent-audit-source',
    '--import',
    fileURLToPath(new URL('../support/end-with-parent.ts', import.meta.url)),
  ]
  return spawn(process.execPath, [...node, COMMAND, ...args], { env, stdio: ['pipe', 'inherit', 'inherit'] })
}

/** Sends seals at that rate, and says when the broker has appended each batch. */
async function append(
  producer: Producer,
  run: { topic: string; rate: number; from: number; forMs: number },
): Promise<Step[]> {
  const steps: Step[] = []
  const startedAt = performance.now()
  let sent = 0
  for (let elapsed = 0; elapsed < run.forMs; elapsed = performance.now() - startedAt) {
    const due = Math.floor((elapsed / 1000) * run.rate) - sent
    if (due > 0) {
      const messages = Array.from({ length: due }, (_, at) => ({ value: sealOf(run.from + sent + at) }))
      const [answer] = await producer.send({ topic: `${run.topic}.seals`, acks: -1, messages })
      sent += due
      steps.push({ at: Number(answer?.logAppendTime), size: run.from + sent })
    } else await sleep(SEND_MS)
  }
  return steps
}

function sealOf(number: number): string {
  const rows = { count: 1000, digest: Buffer.alloc(32, number) }
  const [first, last] = [1000 * number, 1000 * number + 999]
  const place = { logId: '0011223344556677', topic: 'bench', partition: 0, first, last }
  return signer.sign(formatConsumerSeal({ ...place, rows: 1, events: rows, skipped: rows, prev: Buffer.alloc(32) }))
}

/** Of each seal: to the first checkpoint that holds it. */
function lagsOf(appended: readonly Step[], first: number, seen: readonly Step[]): number[] {
  const lags: number[] = []
  let [next, at] = [first, 0]
  for (const step of appended) {
    for (; next < step.size; next++) {
      while ((seen[at]?.size ?? Infinity) <= next) at += 1
      lags.push((seen[at]?.at ?? Infinity) - step.at)
    }
  }
  return lags.toSorted((one, other) => one - other)
}

function report(rate: number, lags: readonly number[], checkpoints: number): void {
  const at = (share: number): number => lags[Math.min(Math.floor(lags.length * share), lags.length - 1)] ?? Number.NaN
  const figures = `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`
  say(`${rate} seals/s: ${figures} (${lags.length} seals, ${checkpoints} checkpoints in ${seconds} s)`)
}
