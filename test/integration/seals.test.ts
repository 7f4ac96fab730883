/** The seals of real consumers on a real Kafka, held against the rows that a real ClickHouse gives back. */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BATCH_DECODERS, BufferMemory, readMetadata } from '@agent-audit/consumer/pipeline'
import { createKafkaSource } from '@agent-audit/kafka/source'
import { SEALS_SUFFIX } from '@agent-audit/schemas'
import { generateKey, openKeyFile } from '@agent-audit/seals'
import { kafkaAvailability } from '@agent-audit/stack'
import * as fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { accountOf, countEvents, environmentOf, openOnKafka, openStore, type TestLog } from '../consumer/support.ts'
import { startConsumerProcess } from '../support/consumer-process.ts'
import { chainFaults, rowFaults, sealedRanges, type SealedRange } from '../support/consumer-seals.ts'
import { connectKafka, makeTopic, withAdmin } from '../support/kafka-topic.ts'
import { encodeRun } from '../support/records.ts'
import { draw, takeSeed } from '../support/seed.ts'
import { sharedKafka } from '../support/shared-kafka.ts'

const WAIT = { timeout: 60_000, interval: 50 }
const EVENTS_OF_RUN = 1200
const RESENT = 50
const ROUNDS = 3
/** Many inserts and commits, so that kills fall between any two of them. */
const QUICK = {
  BATCH_MAX_EVENTS: '50',
  LEASE_MS: '1500',
  INSERT_TIMEOUT_MS: '1200',
  CLOCK_MARGIN_MS: '100',
}

const store = await openStore()
const kafka = kafkaAvailability()
const directory = mkdtempSync(join(tmpdir(), 'seals-test-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** A key file of its own, as each consumer has one. */
function makeKey(name: string): string {
  const file = join(directory, `${name}.key`)
  writeFileSync(file, generateKey(name), { mode: 0o600 })
  return file
}

/** All values of a topic of one partition, read by the consumer's own reader: it replaces that of kafkajs in this process. */
async function readValues(brokers: readonly string[], topic: string): Promise<string[]> {
  const group = { topics: [topic], groupId: `read-${randomUUID()}`, sessionTimeoutMs: 10_000 }
  const connection = { brokers, ssl: false, sasl: undefined, clientId: 'test' }
  const parts = { memory: new BufferMemory(2 ** 24), decoders: BATCH_DECODERS }
  const source = createKafkaSource({ ...group, ...connection, ...parts })
  const [values, drain] = [[] as string[], new AbortController()]
  await source.run(async (assignment) => {
    const { start, end } = await assignment.position()
    for await (const slice of assignment.read(start, drain.signal)) {
      for (const { value } of slice.records) values.push(String(value))
      if (slice.nextOffset >= end) break
    }
    drain.abort()
  }, drain.signal)
  await source.close()
  return values
}

/** The seals of the log's topic of seals. Every note is signed by one of the keys. */
async function readSeals(brokers: readonly string[], log: TestLog, keys: readonly string[]): Promise<SealedRange[]> {
  const notes = await readValues(brokers, `${log.topic}${SEALS_SUFFIX}`)
  return sealedRanges(
    notes,
    keys.map((file) => openKeyFile(file).key),
  )
}

/** Ranges that touch from 0 on, each with the hash of the text before it, and with the hashes of the rows in the tables. */
async function expectSealed(sealed: readonly SealedRange[], partition: number, end: number): Promise<void> {
  expect(chainFaults(sealed, partition, end)).toEqual([])
  for (const range of sealed.filter(({ seal }) => seal.partition === partition)) {
    expect(await rowFaults(store.dataDir.admin, range)).toEqual([])
  }
}

/** A run with some of its records sent again, and a tombstone after every 40th: batches with rows for both tables. */
function messagesOf(run: string): (Buffer | null)[] {
  const once = encodeRun(run, 0, EVENTS_OF_RUN - 1).flatMap((record, index) =>
    index % 40 === 39 ? [record, null] : [record],
  )
  return once.toSpliced(EVENTS_OF_RUN / 2, 0, ...encodeRun(run, 500, 500 + RESENT - 1))
}

describe.skipIf(!kafka.available)('seals of what is stored', async () => {
  if (!kafka.available) return
  const { brokers, attached } = await sharedKafka()
  const sessionTimeoutMs = attached ? '6000' : '3000'

  async function progressOf(log: TestLog): Promise<(number | undefined)[]> {
    const offsets = await withAdmin(connectKafka(brokers), (admin) =>
      admin.fetchOffsets({ groupId: log.group, topics: [log.topic] }),
    )
    const partitions = offsets[0]?.partitions.toSorted((one, other) => one.partition - other.partition) ?? []
    return partitions.map(({ metadata }) => readMetadata(metadata ?? undefined).seals?.last)
  }

  it(`cover each offset once, though the consumer is killed ${ROUNDS} times`, { timeout: 400_000 }, async () => {
    const moment = fc.record({ share: fc.double({ min: 0, max: 0.7, noNaN: true }), delayMs: fc.nat({ max: 60 }) })
    const moments = draw(moment, ROUNDS, takeSeed('kills between seals'))
    const log = await openOnKafka(brokers)(store, { partitions: 2 })
    await makeTopic(connectKafka(brokers), { topic: `${log.topic}${SEALS_SUFFIX}`, numPartitions: 1 })
    const runs = ['sealed a', 'sealed b']
    for (const [partition, run] of runs.entries()) await log.append(partition, messagesOf(run))
    const total = runs.length * EVENTS_OF_RUN
    const stored = (): Promise<number> => countEvents(store, log)
    const environment = { ...environmentOf(store, log), ...QUICK, SESSION_TIMEOUT_MS: sessionTimeoutMs }
    const keys = [makeKey('consumer-a'), makeKey('consumer-b')]
    const environmentIn = (round: number): Record<string, string> => {
      return { ...environment, AUDIT_SIGNING_KEY_FILE: keys[round % keys.length] ?? '' }
    }
    for (const [round, { share, delayMs }] of moments.entries()) {
      const consumer = startConsumerProcess(environmentIn(round))
      const target = Math.max(1, (total * (round + share)) / (ROUNDS + 1))
      await expect.poll(stored, { ...WAIT, interval: 10 }).toBeGreaterThanOrEqual(target)
      // Not a wait for anything: the moment of the kill is drawn.
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      expect(await consumer.kill('SIGKILL')).toBe('SIGKILL')
      expect(await stored()).toBeLessThan(total)
    }
    const last = startConsumerProcess(environmentIn(ROUNDS))
    const skipped = { dead: (runs.length * EVENTS_OF_RUN) / 40, duplicate: runs.length * RESENT }
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: total, skipped })
    expect(await last.kill('SIGTERM')).toBe(0)
    const end = EVENTS_OF_RUN + EVENTS_OF_RUN / 40 + RESENT
    // An orderly end is sealed: the next owner need not read anything again.
    expect(await progressOf(log)).toEqual([end - 1, end - 1])
    const sealed = await readSeals(brokers, log, keys)
    for (const partition of runs.keys()) await expectSealed(sealed, partition, end)
  })

  it('wait for their topic without holding anything up', { timeout: 120_000 }, async () => {
    const log = await openOnKafka(brokers)(store)
    const key = makeKey('consumer-c')
    const environment = {
      ...environmentOf(store, log),
      SESSION_TIMEOUT_MS: sessionTimeoutMs,
      AUDIT_SIGNING_KEY_FILE: key,
      LOG_LEVEL: 'info',
    }
    await log.append(0, encodeRun('waiting', 0, 99))
    const consumer = startConsumerProcess(environment)
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 100, skipped: {} })
    await expect.poll(() => consumer.stdout, WAIT).toContain('seals wait')
    await log.append(0, encodeRun('waiting', 100, 199))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 200, skipped: {} })
    await makeTopic(connectKafka(brokers), { topic: `${log.topic}${SEALS_SUFFIX}`, numPartitions: 1 })
    await expect.poll(() => progressOf(log), WAIT).toEqual([199])
    expect(consumer.stdout).toContain('seals are sent again')
    await expectSealed(await readSeals(brokers, log, [key]), 0, 200)
  })
})
