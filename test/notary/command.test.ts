/** `agent-audit notary` on real Kafka and ClickHouse: what it prints, its exit codes, and a topic that was made anew. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runCli } from '@agent-audit/cli'
import { generateKey, type KeySigner, readCheckpointLine, signerFromPem, verifyCheckpoint } from '@agent-audit/seals'
import { expect, it, onTestFinished } from 'vitest'
import { openStore } from '../consumer/support.ts'
import { connectKafka, makeTopic, withAdmin } from '../support/kafka-topic.ts'
import { sharedKafka } from '../support/shared-kafka.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { newSigner, producerNote } from './support.ts'

const store = await openStore()
const { brokers } = await sharedKafka()
const kafka = connectKafka(brokers)
const producer = newSigner('agent')
const notes = Array.from({ length: 20 }, (_, number) => producerNote(producer, number))

interface Running {
  out: string
  err: string
  readonly code: Promise<number>
  stop(): Promise<number>
  /** Sizes on standard output. */
  sizes(): number[]
}

function run(args: readonly string[], variables: Record<string, string> = {}): Running {
  const { url, username, password, database } = store.dataDir.notary
  const stopping = new AbortController()
  const running: Running = {
    out: '',
    err: '',
    code: Promise.resolve(0),
    stop: () => {
      stopping.abort()
      return running.code
    },
    sizes: () =>
      running.out
        .split('\n')
        .slice(0, -1)
        .map((line) => readCheckpointLine(line)?.size ?? -1),
  }
  const code = runCli(['notary', ...args], {
    out: (text) => (running.out += text),
    err: (text) => (running.err += text),
    env: {
      CLICKHOUSE_URL: url,
      CLICKHOUSE_USER: username,
      CLICKHOUSE_PASSWORD: password,
      CLICKHOUSE_DATABASE: database,
      KAFKA_BROKERS: brokers.join(','),
      ...variables,
    },
    colors: false,
    interrupted: () => stopping.signal,
  })
  onTestFinished(async () => void (await running.stop()))
  return Object.assign(running, { code })
}

interface Log {
  readonly topic: string
  readonly keyFile: string
  readonly signer: KeySigner
  readonly append: (values: readonly Buffer[]) => Promise<void>
}

async function openLog(): Promise<Log> {
  const [pem, keyFile] = [generateKey('notary-1'), join(makeTempDirectory(), 'notary.key')]
  writeFileSync(keyFile, pem, { mode: 0o600 })
  const topic = `notary-${process.pid}-${Date.now()}`
  await makeTopic(kafka, { topic: `${topic}.seals`, numPartitions: 1 })
  return {
    topic,
    keyFile,
    signer: signerFromPem(pem),
    append: async (values) => {
      const sender = kafka.producer({ allowAutoTopicCreation: false })
      await sender.connect()
      await sender.send({ topic: `${topic}.seals`, messages: values.map((value) => ({ value })) })
      await sender.disconnect()
    },
  }
}

it('signs what the topic has, into a file and on standard output, and refuses a second notary', async () => {
  const { topic, keyFile, signer, append } = await openLog()
  const file = join(makeTempDirectory(), 'checkpoints')
  const args = ['--topic', topic, '--key', keyFile, '--file', file, '--stdout', '--origin', 'trail.example/seals']
  await append(notes.slice(0, 5))
  const first = run([...args, '--metrics-port', '0'])
  await expect.poll(() => first.sizes()).toEqual([5])
  await append(notes.slice(3, 9))
  await expect.poll(() => first.sizes()).toEqual([5, 9])
  const note = readCheckpointLine(first.out.split('\n')[1] ?? '')?.note ?? ''
  expect(verifyCheckpoint(note, { log: [signer.key] })).toMatchObject({ origin: 'trail.example/seals', size: 9 })
  expect(first.err).toContain('log trail.example/seals: 0 leaves')
  const url = /metrics at (\S+)\n/.exec(first.err)?.[1] ?? ''
  const metrics = async (): Promise<string> => (await fetch(url)).text()
  await expect.poll(metrics).toContain(`audit_notary_size{of="file ${file}"} 9\n`)
  expect(await metrics()).toContain('audit_notary_leaves_total{kind="producer"} 9\n')

  const second = run(args)
  expect(await second.code).toBe(1)
  expect(second.err).toMatch(
    /another notary has this log: agent-audit at \S+ of the group audit-notary\.\S+\. Stop it first/,
  )
  await append(notes.slice(9, 12))
  await expect.poll(() => first.sizes()).toEqual([5, 9, 12])
  expect(await first.stop()).toBe(0)

  const again = run(args)
  await expect.poll(() => again.sizes()).toEqual([12])
  expect(await again.stop()).toBe(0)
})

it('ends with 1 for a topic that was made anew under its name', async () => {
  const { topic, keyFile, append } = await openLog()
  const args = ['--topic', topic, '--key', keyFile, '--file', join(makeTempDirectory(), 'checkpoints'), '--stdout']
  await append(notes.slice(0, 5))
  const first = run(args)
  await expect.poll(() => first.sizes()).toEqual([5])
  await first.stop()
  await withAdmin(kafka, (admin) => admin.deleteTopics({ topics: [`${topic}.seals`] }))
  await expect
    .poll(() => withAdmin(kafka, async (admin) => (await admin.listTopics()).includes(`${topic}.seals`)))
    .toBe(false)
  await makeTopic(kafka, { topic: `${topic}.seals`, numPartitions: 1 })
  const empty = run(args)
  expect(await empty.code).toBe(1)
  expect(empty.err).toMatch(/ends at offset 0, and leaf 4 was at 4: it was made anew, or cut/)
  await append(notes.slice(10, 18))
  const filled = run(args)
  expect(await filled.code).toBe(1)
  expect(filled.err).toMatch(
    /expected the seal of leaf 4 at offset 4, found another message at 4: the topic was made anew/,
  )
  expect([empty.out, filled.out]).toEqual(['', ''])
})

it.each([
  [[], /expected a key in --key/],
  [['--key', '/no/such/file'], /cannot be read/],
  [
    ['--key', 'KEY', '--witness', 'ftp://x', '--witness-key', 'VKEY'],
    /--witness ftp:\/\/x: expected an http or https URL/,
  ],
  [['--key', 'KEY', '--witness', 'http://x'], /expected its key in --witness-key or the trust file/],
])('%j is wrong use', async (args, message) => {
  const { keyFile } = await openLog()
  const { vkey } = newSigner('w').key.cosigner
  const running = run(args.map((arg) => (arg === 'KEY' ? keyFile : arg === 'VKEY' ? vkey : arg)))
  expect([await running.code, running.err]).toEqual([64, expect.stringMatching(message)])
})
