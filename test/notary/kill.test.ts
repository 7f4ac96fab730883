/** A notary process that is killed: the next one goes on, and every note is one leaf. The seed of the moments is printed. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { FileSink, readSealTree } from '@agent-audit/notary'
import { logIdOf } from '@agent-audit/schemas'
import { generateKey, leafHash, MerkleTree, signerFromPem, verifyCheckpoint } from '@agent-audit/seals'
import * as fc from 'fast-check'
import { expect, it, onTestFinished } from 'vitest'
import { openStore } from '../consumer/support.ts'
import { connectKafka, makeTopic, withAdmin } from '../support/kafka-topic.ts'
import { draw, takeSeed } from '../support/seed.ts'
import { sharedKafka } from '../support/shared-kafka.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'
import { newSigner, producerNote, tablesOf } from './support.ts'

const COMMAND = fileURLToPath(new URL('../../cli/src/main.ts', import.meta.url))
const store = await openStore()
const { brokers } = await sharedKafka()
const kafka = connectKafka(brokers)
const ROUNDS = 3
const TEST_MS = 180_000

function start(args: readonly string[]): ChildProcess {
  const { url, username, password, database } = store.dataDir.notary
  const env = {
    PATH: process.env['PATH'],
    NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
    CLICKHOUSE_URL: url,
    CLICKHOUSE_USER: username,
    CLICKHOUSE_PASSWORD: password,
    CLICKHOUSE_DATABASE: database,
    KAFKA_BROKERS: brokers.join(','),
  }
  const node = ['--conditions=agent-audit-source', COMMAND, 'notary', ...args]
  const child = spawn(process.execPath, node, { env, stdio: ['ignore', 'inherit', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

it('every note is one leaf, and each checkpoint is of that log', { timeout: TEST_MS }, async () => {
  const directory = makeTempDirectory()
  const [pem, keyFile, file] = [generateKey('notary-1'), join(directory, 'notary.key'), join(directory, 'checkpoints')]
  writeFileSync(keyFile, pem, { mode: 0o600 })
  const topic = `killed-${process.pid}-${Date.now()}`
  const seals = await makeTopic(kafka, { topic: `${topic}.seals`, numPartitions: 1 })
  const logId = logIdOf(await withAdmin(kafka, async (admin) => (await admin.describeCluster()).clusterId), seals)
  const args = ['--topic', topic, '--key', keyFile, '--file', file]
  const sink = new FileSink({ path: file })
  onTestFinished(() => sink.close())
  const sizes = async (): Promise<number[]> => {
    const keys = { log: [signerFromPem(pem).key] }
    return (await sink.newest()).map((note) => verifyCheckpoint(note, keys).size)
  }

  const producer = newSigner('agent')
  const notes: Buffer[] = []
  const sender = kafka.producer({ allowAutoTopicCreation: false })
  await sender.connect()
  onTestFinished(() => sender.disconnect())
  const appending = new AbortController()
  const append = (async () => {
    for (let more = true; more;) {
      // One more behind the last kill: only the last notary can sign it.
      more = !appending.signal.aborted
      const note = producerNote(producer, notes.length)
      notes.push(note)
      // Each second one is sent twice, as after a lost answer.
      const values = notes.length % 2 === 0 ? [note, note] : [note]
      await sender.send({ topic: seals, messages: values.map((value) => ({ value })) })
      await sleep(20)
    }
  })()

  for (const pause of draw(fc.integer({ min: 0, max: 1500 }), ROUNDS, takeSeed('notary kill'))) {
    const before = (await sizes())[0] ?? 0
    const child = start(args)
    await expect.poll(async () => (await sizes())[0] ?? 0, { timeout: 60_000 }).toBeGreaterThan(before)
    await sleep(pause)
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  appending.abort()
  await append
  const last = start(args)
  await expect.poll(async () => (await sizes())[0], { timeout: 60_000 }).toBe(notes.length)
  last.kill('SIGTERM')
  const [code] = (await once(last, 'exit')) as [number]
  expect(code).toBe(0)
  const tree = new MerkleTree()
  for (const note of notes) tree.append(leafHash(note))
  expect((await readSealTree(tablesOf(store, logId))).root()).toEqual(tree.root())
  const keys = { log: [signerFromPem(pem).key] }
  const kept = (await sink.newest()).map((note) => verifyCheckpoint(note, keys))
  expect(kept.map(({ root }) => root)).toEqual(kept.map(({ size }) => tree.root(size)))
})
