/**
 * A trail that real producers, a real Kafka, a real consumer and ClickHouse have made and sealed, with all that happens to an honest
 * one: a producer that was killed and whose spool another one adopted, duplicates, dead letters, a foreign producer. The notary's
 * checkpoints are made here (`seal-log.ts`).
 */
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { BATCH_DECODERS, BufferMemory, readMetadata } from '@agent-audit/consumer/pipeline'
import { createKafkaSource } from '@agent-audit/kafka/source'
import { createAuditTrail } from '@agent-audit/producer'
import { SEALS_SUFFIX } from '@agent-audit/schemas'
import { EMPTY_TRUST, generateKey, type KeyRole, type KeySigner, signerFromPem, type Trust } from '@agent-audit/seals'
import { expect, onTestFinished } from 'vitest'
import { createRandom } from '../../bench/support/sessions.ts'
import { environmentOf, openOnKafka, type Store, type TestLog } from '../consumer/support.ts'
import { startConsumerProcess } from './consumer-process.ts'
import { makeForeignRun } from './foreign-writer.ts'
import { connectKafka, makeTopic, withAdmin } from './kafka-topic.ts'
import { checkpointsOf, ORIGIN } from './seal-log.ts'

const KILLED = fileURLToPath(new URL('killed-producer.ts', import.meta.url))
export const WAIT = { timeout: 120_000, interval: 50 }
/** Records of the foreign producer, of each version. */
const FOREIGN_RECORDS = 20

export interface SealedTrail {
  readonly trust: Trust
  readonly notary: KeySigner
  /** Of `agent`, whose run has ended, and of `killed`. */
  readonly producer: KeySigner
  readonly killed: KeySigner
  readonly consumer: KeySigner
  /** The notes of the seal log, in order. */
  readonly notes: readonly string[]
  /** Checkpoints that were kept outside, the oldest first. */
  readonly checkpoints: readonly string[]
  readonly log: TestLog
}

export interface TestKeyFile {
  readonly signer: KeySigner
  readonly pem: string
  readonly file: string
}

/** A key file of this name. */
export function makeKey(directory: string, name: string): TestKeyFile {
  const pem = generateKey(name)
  const file = join(directory, `${name}-${randomUUID()}.key`)
  writeFileSync(file, pem, { mode: 0o600 })
  return { signer: signerFromPem(pem), pem, file }
}

/** A trust file in which these keys count at any time. */
export function trustIn(keys: readonly (readonly [KeyRole, TestKeyFile])[], producers: readonly string[]): Trust {
  return {
    ...EMPTY_TRUST,
    keys: keys.map(([role, { signer }]) => {
      return { key: signer.key, role, notBefore: 0, notAfter: undefined, revoked: undefined }
    }),
    producers,
    origin: ORIGIN,
  }
}

/** A log with two partitions, and the topic of its seals. @param clean - As {@link LogOptions}. */
export async function openSealedLog(
  store: Store,
  brokers: readonly string[],
  { clean = true }: { clean?: boolean } = {},
): Promise<TestLog> {
  const log = await openOnKafka(brokers)(store, { partitions: 2, clean })
  await makeTopic(connectKafka(brokers), { topic: `${log.topic}${SEALS_SUFFIX}`, numPartitions: 1 })
  return log
}

/** Records, kills, adopts, sends again, stores and seals. @param directory - For keys and spools. */
export async function makeSealedTrail(
  store: Store,
  brokers: readonly string[],
  directory: string,
): Promise<SealedTrail> {
  const log = await openSealedLog(store, brokers)
  const { topic } = log
  const key = (name: string): TestKeyFile => makeKey(directory, name)
  const [agent, killed, foreign, consumer, notary] = [
    key('agent'),
    key('killed'),
    key('foreign'),
    key('consumer'),
    key('notary'),
  ]
  const process = startConsumerProcess({
    ...environmentOf(store, log),
    BATCH_MAX_EVENTS: '50',
    AUDIT_SIGNING_KEY_FILE: consumer.file,
  })
  const spoolDir = join(directory, 'spool')
  mkdirSync(spoolDir)
  await runAndKill({ brokers, topic, spoolDir, keyFile: killed.file, everyMs: 20, seals: 3 }, 100)
  const trail = createAuditTrail({
    agentId: 'agent',
    handleExit: false,
    brokers,
    topic,
    spoolDir,
    signing: { key: agent.pem },
  })
  for (const [count, name] of ['a', 'b', 'c', 'd'].entries()) {
    const session = trail.startSession({ session_id: `session ${name}` })
    for (let index = 0; index < 60; index++) await session.decision({ reasoning: `${name} ${index}` }).stored
    session.end({ outcome: 'success' })
    // Each session has a seal of its own.
    await expect.poll(() => ownSeals(brokers, topic, 'agent'), WAIT).toBeGreaterThan(count)
  }
  await untilAdopted(brokers, topic, 1)
  await trail.close({ timeoutMs: WAIT.timeout })
  // Sent again, as a producer does whose answer was lost; and records that cannot be stored.
  const again = (await readValues(brokers, topic, 0)).slice(10, 30)
  await log.append(0, [...again, null, Buffer.from('not a record')])
  const run = makeForeignRun({ topic, signer: foreign.signer, count: FOREIGN_RECORDS, random: createRandom(1) })
  await log.append(1, run.records)
  await sendNotes(brokers, topic, run.notes)
  await untilSealed(brokers, log)
  expect(await process.kill('SIGTERM')).toBe(0)
  const notes = await readNotes(brokers, topic)
  const sizes = [Math.floor(notes.length / 3), Math.floor((2 * notes.length) / 3), notes.length]
  const trust = trustIn(
    [
      ['producer', agent],
      ['producer', killed],
      ['producer', foreign],
      ['consumer', consumer],
      ['notary', notary],
    ],
    ['agent', 'killed', 'foreign'],
  )
  const signers = {
    notary: notary.signer,
    producer: agent.signer,
    killed: killed.signer,
    consumer: consumer.signer,
  }
  return { trust, ...signers, notes, checkpoints: checkpointsOf(notes, sizes, notary.signer), log }
}

/** Waits until so many dead runs are sealed by their adopter: its spool is not empty meanwhile. */
export async function untilAdopted(brokers: readonly string[], topic: string, runs: number): Promise<void> {
  const adopted = async (): Promise<number> =>
    (await readNotes(brokers, topic)).filter((note) => note.includes('state adopted')).length
  await expect.poll(adopted, WAIT).toBeGreaterThanOrEqual(runs)
}

/** Waits until the consumers have sealed each partition to its end. */
export async function untilSealed(brokers: readonly string[], log: TestLog): Promise<void> {
  const ends = await withAdmin(connectKafka(brokers), (admin) => admin.fetchTopicOffsets(log.topic))
  for (const { partition, high } of ends) {
    if (high !== '0') await expect.poll(() => sealedTo(brokers, log, partition), WAIT).toBe(Number(high) - 1)
  }
}

async function sealedTo(brokers: readonly string[], log: TestLog, partition: number): Promise<number | undefined> {
  const offsets = await withAdmin(connectKafka(brokers), (admin) =>
    admin.fetchOffsets({ groupId: log.group, topics: [log.topic] }),
  )
  const found = offsets[0]?.partitions.find((one) => one.partition === partition)
  return readMetadata(found?.metadata ?? undefined).seals?.last
}

/** How many seals of its own runs a producer has sent. */
async function ownSeals(brokers: readonly string[], topic: string, producer: string): Promise<number> {
  const notes = await readNotes(brokers, topic)
  return notes.filter((note) => note.includes(`\nproducer ${producer}\n`) && !note.includes('state adopted')).length
}

/** The notes in the topic of a log's seals, each once. */
export async function readNotes(brokers: readonly string[], topic: string): Promise<string[]> {
  return [...new Set((await readValues(brokers, `${topic}${SEALS_SUFFIX}`, 0)).map(String))]
}

/** Sends notes to the topic of a log's seals. */
export async function sendNotes(brokers: readonly string[], topic: string, notes: readonly string[]): Promise<void> {
  const producer = connectKafka(brokers).producer({ allowAutoTopicCreation: false })
  await producer.connect()
  await producer.send({ topic: `${topic}${SEALS_SUFFIX}`, messages: notes.map((value) => ({ value })) })
  await producer.disconnect()
}

/** All values of a partition, by the consumer's own reader: it replaces that of kafkajs in this process. */
export async function readValues(brokers: readonly string[], topic: string, partition: number): Promise<Buffer[]> {
  const group = { topics: [topic], groupId: `read-${randomUUID()}`, sessionTimeoutMs: 10_000 }
  const connection = { brokers, ssl: false, sasl: undefined, clientId: 'test' }
  const parts = { memory: new BufferMemory(2 ** 24), decoders: BATCH_DECODERS }
  const source = createKafkaSource({ ...group, ...connection, ...parts })
  const [values, drain] = [[] as Buffer[], new AbortController()]
  await source.run(async (assignment) => {
    if (assignment.partition !== partition) return
    const { start, end } = await assignment.position()
    if (start < end) {
      for await (const slice of assignment.read(start, drain.signal)) {
        for (const { value } of slice.records) if (value !== null) values.push(Buffer.from(value))
        if (slice.nextOffset >= end) break
      }
    }
    drain.abort()
  }, drain.signal)
  await source.close()
  return values
}

export interface KilledOrder {
  readonly brokers: readonly string[]
  readonly topic: string
  readonly spoolDir: string
  readonly keyFile: string
  /** The pause after each event, milliseconds. @defaultValue none */
  readonly everyMs?: number
  /** It is killed once the topic has so many of its own seals. @defaultValue 0 */
  readonly seals?: number
}

/** Runs a producer, and kills it once so many of its events are on its disk. */
export async function runAndKill({ keyFile, seals = 0, ...order }: KilledOrder, events: number): Promise<void> {
  const child = spawn(process.execPath, ['--conditions=agent-audit-source', KILLED, JSON.stringify(order)], {
    env: { ...process.env, AUDIT_SIGNING_KEY_FILE: keyFile },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const { brokers, topic } = order
  for await (const line of createInterface({ input: child.stdout })) {
    if (line !== `stored ${events}`) continue
    if (seals > 0) await expect.poll(() => ownSeals(brokers, topic, 'killed'), WAIT).toBeGreaterThanOrEqual(seals)
    child.kill('SIGKILL')
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
}
