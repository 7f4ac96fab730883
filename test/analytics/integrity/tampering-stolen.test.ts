/**
 * A thief of the consumer's password, or of one that writes the topic: what passes the consumer, the seals find. They say which of
 * several records of one number is the producer's own, wherever each lies.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkIntegrity, connectAnalytics, type Integrity } from '@agent-audit/analytics'
import { logIdOf, readEventId, SINGLE_OBJECT_BYTES } from '@agent-audit/schemas'
import type { Trust } from '@agent-audit/seals'
import { kafkaAvailability } from '@agent-audit/stack'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { createRandom } from '../../../bench/support/sessions.ts'
import { accountOf, openStore, environmentOf, runConsumer, type TestLog } from '../../consumer/support.ts'
import { forge } from '../../support/forged-rows.ts'
import { type ForeignRun, makeForeignRun } from '../../support/foreign-writer.ts'
import { checkpointsOf, storeSealLog } from '../../support/seal-log.ts'
import {
  makeKey,
  openSealedLog,
  readNotes,
  sendNotes,
  type TestKeyFile,
  trustIn,
  untilSealed,
  WAIT,
} from '../../support/sealed-trail.ts'
import { sharedKafka } from '../../support/shared-kafka.ts'
import { TABLES } from './copies.ts'

const kafka = kafkaAvailability()
const MISSING = kafka.available ? '' : `(skipped: ${kafka.reason})`

/** The record with another text in it, of the same length. */
function forgedFrom(record: Buffer): Buffer {
  const text = record.toString('latin1').replace('the foreign writer', 'the forging writer')
  return Buffer.from(text, 'latin1')
}

interface Scene {
  readonly log: TestLog
  readonly run: ForeignRun
  readonly consumer: TestKeyFile
  readonly trust: Trust
  readonly notary: TestKeyFile
}

describe.skipIf(!kafka.available)(`what a thief wrote ${MISSING}`, { timeout: 180_000 }, async () => {
  if (!kafka.available) return
  const { brokers } = await sharedKafka()
  const store = await openStore()
  const directory = mkdtempSync(join(tmpdir(), 'stolen-test-'))
  afterAll(() => rmSync(directory, { recursive: true, force: true }))
  afterEach(async () => {
    for (const table of TABLES) await store.send(`TRUNCATE TABLE ${table}`, store.dataDir.admin)
  })

  async function openScene(clean = true): Promise<Scene> {
    const log = await openSealedLog(store, brokers, { clean })
    const [producer, consumer, notary] = [
      makeKey(directory, 'victim'),
      makeKey(directory, 'consumer'),
      makeKey(directory, 'notary'),
    ]
    const run = makeForeignRun({ topic: log.topic, signer: producer.signer, count: 10, random: createRandom(1) })
    const trust = trustIn(
      [
        ['producer', producer],
        ['consumer', consumer],
        ['notary', notary],
      ],
      ['victim'],
    )
    return { log, run, consumer, trust, notary }
  }

  /** Once all is stored and sealed: the verdict. */
  async function verify({ log, run, trust, notary }: Scene): Promise<Integrity> {
    await sendNotes(brokers, log.topic, run.notes)
    await untilSealed(brokers, log)
    const notes = await readNotes(brokers, log.topic)
    const checkpoints = checkpointsOf(notes, [notes.length], notary.signer)
    await storeSealLog(store, 'audit', { notes, checkpoints })
    await using analytics = connectAnalytics(store.dataDir.admin)
    return checkIntegrity(analytics, { trust, checkpoints })
  }

  const environment = ({ log, consumer }: Scene): Record<string, string> => ({
    ...environmentOf(store, log),
    // Long enough for a busy machine; a lease has to end before rows are passed over that the consumer has not inserted.
    LEASE_MS: '10000',
    INSERT_TIMEOUT_MS: '5000',
    AUDIT_SIGNING_KEY_FILE: consumer.file,
  })

  it('in the topic, ahead of the producer: the seal names the duplicates that are its own records', async () => {
    const scene = await openScene()
    const { records } = scene.run
    runConsumer(environment(scene))
    await scene.log.append(0, [...records.slice(0, 3), ...records.slice(3, 8).map(forgedFrom)])
    await expect.poll(() => accountOf(store, scene.log), WAIT).toMatchObject({ events: 8 })
    await scene.log.append(0, records.slice(3))
    const report = await verify(scene)
    expect(report.verdict).toBe('tampering')
    expect(report.findings.map(({ code }) => code)).toEqual(Array(5).fill('conflict-decided'))
    for (const [index, finding] of report.findings.entries()) {
      const seq = 3 + index
      const place = { run_id: scene.run.runId, first_run_seq: seq, last_run_seq: seq, partition: 0, first_offset: seq }
      const message = `own record is the duplicate at .*/0/${8 + index}; not its own: the event at .*/0/${seq}: a foreign`
      expect(finding).toMatchObject({ ...place, message: expect.stringMatching(message) })
      expect(finding.sessions).toContain('session of the forging writer')
    }
  })

  it.each([
    ['before', 0],
    ['after', 1],
  ])('in another partition, %s the producer: the seal names the event that is its own', async (_when, order) => {
    const scene = await openScene()
    const { records, runId } = scene.run
    runConsumer(environment(scene))
    const forged = records.slice(4, 6).map(forgedFrom)
    const writes = [() => scene.log.append(1, forged), () => scene.log.append(0, records)]
    for (const write of order === 0 ? writes : writes.toReversed()) await write()
    const report = await verify(scene)
    expect(report.verdict).toBe('tampering')
    expect(report.findings.map(({ code }) => code)).toEqual(Array(2).fill('conflict-decided'))
    for (const [index, finding] of report.findings.entries()) {
      const seq = 4 + index
      const place = { run_id: runId, first_run_seq: seq, last_run_seq: seq, partition: 1, first_offset: index }
      expect(finding).toMatchObject({
        ...place,
        message: expect.stringMatching(`own record is the event at .*/0/${seq}`),
      })
    }
  })

  it('in the topic, and the true record never came: the records are not those that the producer has sealed', async () => {
    const scene = await openScene()
    const { records, runId } = scene.run
    runConsumer(environment(scene))
    await scene.log.append(0, records.with(4, forgedFrom(records[4] ?? Buffer.alloc(0))))
    const report = await verify(scene)
    expect(report.findings).toEqual([
      expect.objectContaining({ code: 'records-changed', run_id: runId, first_run_seq: 0, last_run_seq: 9 }),
    ])
  })

  it('in the topic, unreadable and under the number of a record that never came: it fills no gap', async () => {
    const scene = await openScene()
    const { records, runId } = scene.run
    runConsumer(environment(scene))
    await scene.log.append(0, records.with(4, (records[4] ?? Buffer.alloc(0)).subarray(0, -1)))
    const report = await verify(scene)
    expect(report.findings).toEqual([
      expect.objectContaining({ code: 'records-changed', run_id: runId, first_run_seq: 0, last_run_seq: 9 }),
      expect.objectContaining({ code: 'records-missing', run_id: runId, first_run_seq: 4, last_run_seq: 4 }),
    ])
  })

  it('in the table, with the identity of the record there: the consumer took it for its own, and both seals find it', async () => {
    const scene = await openScene(false)
    const { log, run } = scene
    await log.append(0, run.records)
    const eventId = readEventId(run.records[5] ?? Buffer.alloc(0), SINGLE_OBJECT_BYTES)
    await forge(store, log, { offset: 5, run: run.runId, seq: 5, eventId })
    const { consumer } = runConsumer(environment(scene))
    await expect.poll(() => accountOf(store, log), WAIT).toMatchObject({ events: 20 })
    const report = await verify(scene)
    expect(consumer.status.ready).toBe(true)
    expect(report.verdict).toBe('tampering')
    expect(report.findings).toContainEqual(
      expect.objectContaining({
        code: 'rows-changed',
        partition: 0,
        message: expect.stringContaining('events changed'),
      }),
    )
    expect(report.findings).toContainEqual(
      expect.objectContaining({ code: 'records-changed', run_id: run.runId, first_run_seq: 0, last_run_seq: 9 }),
    )
    const rows = report.findings.find(({ code }) => code === 'rows-changed')
    expect([(rows?.first_offset ?? 6) <= 5, (rows?.last_offset ?? 0) >= 5]).toEqual([true, true])
  })

  it('with the deduplication token of an insert: no record is lost, and only the row of the thief is named', async () => {
    const scene = await openScene()
    const elsewhere = await openSealedLog(store, brokers)
    let stolen = 0
    runConsumer({ ...environment(scene), BATCH_MAX_EVENTS: '5' }, ({ sink }) => ({
      sink: {
        ...sink,
        async insert(insert) {
          if (insert.table === 'audit_events' && stolen < 2) {
            await forge(store, elsewhere, { offset: stolen++, token: insert.token })
          }
          return sink.insert(insert)
        },
      },
    }))
    await scene.log.append(0, scene.run.records)
    const report = await verify(scene)
    expect(stolen).toBe(2)
    expect(await accountOf(store, scene.log)).toEqual({ events: 20, skipped: {} })
    // The thief's rows have no schema and no seal.
    expect(report.verdict).toBe('unchecked')
    expect(report.sealed_events).toBe(20)
    const logs = new Set(report.findings.map(({ log_id }) => log_id))
    expect(logs).toEqual(new Set([logIdOf(elsewhere.sourceId, elsewhere.topic).toString('hex')]))
  })
})
