/**
 * A trail that real producers, a real Kafka, a real consumer and ClickHouse have made and sealed, with all that happens to an honest
 * one: a producer that was killed and whose spool another one adopted, duplicates, dead letters. Its seal log is put into the tables
 * as a notary does.
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
import {
  formatNote,
  generateKey,
  type KeySigner,
  leafHash,
  MerkleTree,
  parseConsumerSeal,
  parseProducerSeal,
  signCheckpoint,
  signerFromPem,
  type Trust,
} from '@agent-audit/seals'
import { expect, onTestFinished } from 'vitest'
import { environmentOf, openOnKafka, type Store, type TestLog } from '../consumer/support.ts'
import { startConsumerProcess } from './consumer-process.ts'
import { connectKafka, makeTopic, withAdmin } from './kafka-topic.ts'

const KILLED = fileURLToPath(new URL('killed-producer.ts', import.meta.url))
const WAIT = { timeout: 60_000, interval: 50 }
export const ORIGIN = 'seals.test/trail'

export interface SealedTrail {
  readonly trust: Trust
  readonly notary: KeySigner
  readonly producer: KeySigner
  readonly consumer: KeySigner
  /** The notes of the seal log, in order. */
  readonly notes: readonly string[]
  /** Checkpoints that were kept outside, the oldest first. */
  readonly checkpoints: readonly string[]
  readonly log: TestLog
}

/** A key file, and its signer. */
function makeKey(directory: string, name: string): { signer: KeySigner; pem: string; file: string } {
  const pem = generateKey(name)
  const file = join(directory, `${name}.key`)
  writeFileSync(file, pem, { mode: 0o600 })
  return { signer: signerFromPem(pem), pem, file }
}

/** Records, kills, adopts, sends again, stores and seals. @param directory - For keys and spools. */
export async function makeSealedTrail(
  store: Store,
  brokers: readonly string[],
  directory: string,
): Promise<SealedTrail> {
  const log = await openOnKafka(brokers)(store, { partitions: 2 })
  const { topic } = log
  const client = connectKafka(brokers)
  await makeTopic(client, { topic: `${topic}${SEALS_SUFFIX}`, numPartitions: 1 })
  const [agent, killed, consumer, notary] = ['agent', 'killed', 'consumer', 'notary'].map((name) =>
    makeKey(directory, name),
  ) as [ReturnType<typeof makeKey>, ReturnType<typeof makeKey>, ReturnType<typeof makeKey>, ReturnType<typeof makeKey>]
  const environment = {
    ...environmentOf(store, log),
    BATCH_MAX_EVENTS: '50',
    SESSION_TIMEOUT_MS: '6000',
    AUDIT_SIGNING_KEY_FILE: consumer.file,
  }
  const process = startConsumerProcess(environment)
  const spoolDir = join(directory, 'spool')
  mkdirSync(spoolDir)
  await runAndKill({ brokers, topic, spoolDir }, killed.file)
  const trail = createAuditTrail({
    agentId: 'agent',
    handleExit: false,
    brokers,
    topic,
    spoolDir,
    signing: { key: agent.pem },
  })
  for (const name of ['a', 'b', 'c', 'd']) {
    const session = trail.startSession({ session_id: `session ${name}` })
    for (let index = 0; index < 60; index++) await session.decision({ reasoning: `${name} ${index}` }).stored
    session.end({ outcome: 'success' })
  }
  // The killed run's records and its last seal too.
  const isAdopted = async (): Promise<boolean> => {
    const notes = await readValues(brokers, `${topic}${SEALS_SUFFIX}`, 0)
    return notes.some((note) => note.includes('state adopted'))
  }
  await expect.poll(isAdopted, WAIT).toBe(true)
  await trail.close()
  // Sent again, as a producer does whose answer was lost; and records that cannot be stored.
  const again = (await readValues(brokers, topic, 0)).slice(10, 30)
  await log.append(0, [...again, null, Buffer.from('not a record')])
  const end = (name: string, partition: number): Promise<number> =>
    withAdmin(client, async (admin) => {
      const offsets = await admin.fetchTopicOffsets(name)
      return Number(offsets.find((one) => one.partition === partition)?.high)
    })
  for (const partition of [0, 1]) {
    await expect.poll(() => sealedTo(brokers, log, partition), WAIT).toBe((await end(topic, partition)) - 1)
  }
  expect(await process.kill('SIGTERM')).toBe(0)
  const notes = [...new Set((await readValues(brokers, `${topic}${SEALS_SUFFIX}`, 0)).map(String))]
  const sizes = [Math.floor(notes.length / 3), Math.floor((2 * notes.length) / 3), notes.length]
  const keys = [
    { ...agent, role: 'producer' as const },
    { ...killed, role: 'producer' as const },
    { ...consumer, role: 'consumer' as const },
    { ...notary, role: 'notary' as const },
  ]
  const trust: Trust = {
    keys: keys.map(({ signer, role }) => {
      return { key: signer.key, role, notBefore: 0, notAfter: undefined, revoked: undefined }
    }),
    producers: ['agent', 'killed'],
    services: [],
    origin: ORIGIN,
    witnesses: [],
  }
  const signers = { notary: notary.signer, producer: agent.signer, consumer: consumer.signer }
  return { trust, ...signers, notes, checkpoints: checkpointsOf(notes, sizes, notary.signer), log }
}

/** Checkpoints of these sizes, by the notary, a second apart and the newest of now. */
export function checkpointsOf(notes: readonly string[], sizes: readonly number[], notary: KeySigner): string[] {
  const tree = new MerkleTree()
  for (const note of notes) tree.append(leafHash(note))
  const now = Math.floor(Date.now() / 1000)
  return sizes.map((size, index) =>
    signCheckpoint(notary, { origin: ORIGIN, size, root: tree.root(size) }, now - sizes.length + index),
  )
}

async function sealedTo(brokers: readonly string[], log: TestLog, partition: number): Promise<number | undefined> {
  const offsets = await withAdmin(connectKafka(brokers), (admin) =>
    admin.fetchOffsets({ groupId: log.group, topics: [log.topic] }),
  )
  const found = offsets[0]?.partitions.find((one) => one.partition === partition)
  return readMetadata(found?.metadata ?? undefined).seals?.last
}

/** All values of a partition, by the consumer's own reader: it replaces that of kafkajs in this process. */
async function readValues(brokers: readonly string[], topic: string, partition: number): Promise<Buffer[]> {
  const group = { topics: [topic], groupId: `read-${randomUUID()}`, sessionTimeoutMs: 10_000 }
  const connection = { brokers, ssl: false, sasl: undefined, clientId: 'test' }
  const parts = { memory: new BufferMemory(2 ** 24), decoders: BATCH_DECODERS }
  const source = createKafkaSource({ ...group, ...connection, ...parts })
  const [values, drain] = [[] as Buffer[], new AbortController()]
  await source.run(async (assignment) => {
    if (assignment.partition !== partition) return
    const { start, end } = await assignment.position()
    for await (const slice of assignment.read(start, drain.signal)) {
      for (const { value } of slice.records) if (value !== null) values.push(Buffer.from(value))
      if (slice.nextOffset >= end) break
    }
    drain.abort()
  }, drain.signal)
  await source.close()
  return values
}

async function runAndKill(order: object, keyFile: string): Promise<void> {
  const child = spawn(process.execPath, ['--conditions=agent-audit-source', KILLED, JSON.stringify(order)], {
    env: { ...process.env, AUDIT_SIGNING_KEY_FILE: keyFile },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'stored 100') child.kill('SIGKILL')
  }
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
}

/** Puts notes into audit_seals and checkpoints into audit_checkpoints of a database, as the notary does. */
export async function storeSealLog(
  store: Store,
  database: string,
  { notes, checkpoints }: { readonly notes: readonly string[]; readonly checkpoints: readonly string[] },
): Promise<void> {
  const seals = notes.map((note, index) => {
    const text = note.slice(0, note.lastIndexOf('\n\n') + 1)
    return {
      seals_log_id: "unhex('0123456789abcdef')",
      leaf_index: index,
      seals_offset: index,
      ...columnsOf(text),
      note: quoted(note),
    }
  })
  await insert(store, `${database}.audit_seals`, seals)
  const rows = checkpoints.map((note) => {
    const [origin = '', size = '', root = ''] = note.split('\n')
    return {
      seals_log_id: "unhex('0123456789abcdef')",
      size,
      origin: quoted(origin),
      root: `unhex('${Buffer.from(root, 'base64').toString('hex')}')`,
      note: quoted(note),
      signed_at: 'now64(3)',
    }
  })
  await insert(store, `${database}.audit_checkpoints`, rows)
}

function columnsOf(text: string): Record<string, string | number> {
  if (text.startsWith('audit-seal/v1 producer\n')) {
    const { topic, producerId, runId, number, first, last } = parseProducerSeal(text)
    const run = { producer_id: quoted(producerId), run_id: `unhex('${runId}')`, number }
    return {
      kind: quoted('producer'),
      topic: quoted(topic),
      ...run,
      log_id: 'NULL',
      log_partition: 'NULL',
      first_number: first,
      last_number: last,
    }
  }
  const { topic, logId, partition, first, last } = parseConsumerSeal(text)
  const run = { producer_id: 'NULL', run_id: 'NULL', number: 'NULL' }
  return {
    kind: quoted('consumer'),
    topic: quoted(topic),
    ...run,
    log_id: `unhex('${logId}')`,
    log_partition: partition,
    first_number: first,
    last_number: last,
  }
}

async function insert(store: Store, table: string, rows: readonly Record<string, string | number>[]): Promise<void> {
  const [first] = rows
  if (first === undefined) return
  const values = rows.map((row) => `(${Object.values(row).join(', ')})`).join(',\n')
  const answer = await store.send(
    `INSERT INTO ${table} (${Object.keys(first).join(', ')}) VALUES ${values}`,
    store.dataDir.admin,
  )
  expect(answer).toBe('')
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}

/** The text of a note signed anew by another key under the same name. */
export function signedBy(note: string, signer: KeySigner): string {
  const text = note.slice(0, note.lastIndexOf('\n\n') + 1)
  return formatNote(text, [signer.signatureLine(text)])
}
