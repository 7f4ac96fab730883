/**
 * What the tables do not have, or have with other content, is looked for in the log: `agent-audit verify --kafka` on real Kafka and
 * ClickHouse, as the admin that can alter, and a thief that can write the topic.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { checkIntegrity, connectAnalytics, type Finding, type LogReader } from '@agent-audit/analytics'
import { runCli } from '@agent-audit/cli'
import { logIdOf } from '@agent-audit/schemas'
import { formatTrust, type Trust } from '@agent-audit/seals'
import { openEmbeddedLog } from '@agent-audit/spool'
import { kafkaAvailability } from '@agent-audit/stack'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { createRandom } from '../../../bench/support/sessions.ts'
import { accountOf, environmentOf, openStore, runConsumer, type TestLog } from '../../consumer/support.ts'
import { makeForeignRun } from '../../support/foreign-writer.ts'
import { connectKafka, withAdmin } from '../../support/kafka-topic.ts'
import { checkpointsOf, storeSealLog } from '../../support/seal-log.ts'
import { makeKey, openSealedLog, trustIn, WAIT } from '../../support/sealed-trail.ts'
import { sharedKafka } from '../../support/shared-kafka.ts'
import { TABLES } from './copies.ts'

const kafka = kafkaAvailability()
const MISSING = kafka.available ? '' : `(skipped: ${kafka.reason})`

/** The record with another text in it, of the same length. */
function forgedFrom(record: Buffer): Buffer {
  return Buffer.from(record.toString('latin1').replace('the foreign writer', 'the forging writer'), 'latin1')
}

interface Scene {
  readonly log: TestLog
  readonly runId: string
  readonly records: readonly Buffer[]
  readonly trust: Trust
  readonly checkpoints: readonly string[]
}

interface Verified {
  readonly code: number
  readonly findings: readonly Finding[]
  readonly not_checked: readonly string[]
}

/** The findings of a number of the run's. */
function findingsAt({ findings }: Verified, { runId }: Scene, seq: number, code: string): readonly Finding[] {
  return findings.filter(
    (one) => one.code === code && one.run_id === runId && one.first_run_seq === seq && one.leaf !== undefined,
  )
}

describe.skipIf(!kafka.available)(`verify --kafka ${MISSING}`, { timeout: 180_000 }, async () => {
  if (!kafka.available) return
  const { brokers } = await sharedKafka()
  const store = await openStore()
  const directory = mkdtempSync(join(tmpdir(), 'log-search-test-'))
  afterAll(() => rmSync(directory, { recursive: true, force: true }))
  afterEach(async () => {
    for (const table of TABLES) await store.send(`TRUNCATE TABLE ${table}`, store.dataDir.admin)
  })

  /** A sealed run in partition 0; then what else is in the log. @param kept - As that of `slice`: which of its records are written. */
  async function openScene(
    more: (records: readonly Buffer[]) => readonly Buffer[] = () => [],
    kept?: number,
  ): Promise<Scene> {
    const log = await openSealedLog(store, brokers)
    const [producer, notary] = [makeKey(directory, 'victim'), makeKey(directory, 'notary')]
    const run = makeForeignRun({ topic: log.topic, signer: producer.signer, count: 10, random: createRandom(1) })
    const written = [...run.records.slice(0, kept), ...more(run.records)]
    runConsumer(environmentOf(store, log))
    await log.append(0, written)
    const stored = async (): Promise<number> => {
      const { events, skipped } = await accountOf(store, log)
      return events + (skipped['duplicate'] ?? 0)
    }
    await expect.poll(stored, WAIT).toBe(written.length)
    const trust = trustIn(
      [
        ['producer', producer],
        ['notary', notary],
      ],
      ['victim'],
    )
    const checkpoints = checkpointsOf(run.notes, [run.notes.length], notary.signer)
    await storeSealLog(store, 'audit', { notes: run.notes, checkpoints })
    return { log, runId: run.runId, records: run.records, trust, checkpoints }
  }

  async function alter(table: string, change: string): Promise<void> {
    const settings = { mutations_sync: '2', log_comment: `${Date.now()} 99999999999999` }
    const answer = await store.send(`ALTER TABLE ${table} ${change}`, store.dataDir.admin, settings)
    expect(answer).toBe('')
  }

  async function verify(
    { trust, checkpoints }: Pick<Scene, 'trust' | 'checkpoints'>,
    ...flags: string[]
  ): Promise<Verified> {
    const [trustFile, checkpointFile] = [join(directory, 'trust'), join(directory, 'checkpoints')]
    writeFileSync(trustFile, formatTrust(trust))
    writeFileSync(checkpointFile, checkpoints.join(''))
    const { url, username, password, database } = store.dataDir.admin
    const [out, err]: [string[], string[]] = [[], []]
    const code = await runCli(
      ['verify', '--json', '--settle', '0', '--trust', trustFile, '--checkpoints', checkpointFile, ...flags],
      {
        out: (text) => out.push(text),
        err: (text) => err.push(text),
        env: {
          CLICKHOUSE_URL: url,
          CLICKHOUSE_USER: username,
          CLICKHOUSE_PASSWORD: password,
          CLICKHOUSE_DATABASE: database,
          KAFKA_BROKERS: brokers.join(','),
        },
        colors: false,
      },
    )
    // Of a trail without rows.
    expect(err.join('').replace(/^agent-audit: nothing to verify.*\n/, '')).toBe('')
    return { code, ...(JSON.parse(out.join('')) as Omit<Verified, 'code'>) }
  }

  it('a removed row: names its offset in the log', async () => {
    const scene = await openScene()
    await alter('audit_events', 'DELETE WHERE run_seq = 4')
    const without = await verify(scene)
    expect(without.code).toBe(2)
    const [named] = findingsAt(without, scene, 4, 'records-missing')
    expect(named).toMatchObject({ message: 'sealed by the producer and not stored', last_run_seq: 4 })
    expect(named).not.toHaveProperty('first_offset')
    const found = await verify(scene, '--kafka')
    expect(found.code).toBe(2)
    const log_id = logIdOf(scene.log.sourceId, scene.log.topic).toString('hex')
    expect(findingsAt(found, scene, 4, 'records-missing')).toEqual([
      expect.objectContaining({
        log_id,
        partition: 0,
        first_offset: 4,
        last_offset: 4,
        last_run_seq: 4,
        message: `sealed by the producer and not stored: ${scene.log.topic}/0 offset 4: in the log and not in the table: the consumer has not stored it, or the row was removed or changed`,
      }),
    ])
    expect(found.not_checked.join()).not.toContain('the log of')
  })

  it('reads only the offsets that have no row', async () => {
    const scene = await openScene()
    await alter('audit_events', 'DELETE WHERE run_seq IN (4, 5, 12)')
    const log = logIdOf(scene.log.sourceId, scene.log.topic).toString('hex')
    const asked: unknown[] = []
    const reader: LogReader = {
      kept: () => Promise.resolve([{ log, partition: 0, start: 0, end: scene.records.length }]),
      read: (_topic, ranges, take) => {
        asked.push([...ranges])
        for (const { first, last } of ranges.get(0) ?? []) {
          for (let offset = first; offset <= last; offset++) take(0, { offset, value: scene.records[offset] ?? null })
        }
        return Promise.resolve()
      },
    }
    await using analytics = connectAnalytics(store.dataDir.admin)
    const { trust, checkpoints } = scene
    const { findings } = await checkIntegrity(analytics, { trust, checkpoints, log: reader })
    expect(asked).toEqual([
      [
        [
          0,
          [
            { first: 4, last: 5 },
            { first: 12, last: 12 },
          ],
        ],
      ],
    ])
    expect(findings).toContainEqual(
      expect.objectContaining({ first_run_seq: 4, last_run_seq: 5, first_offset: 4, last_offset: 5 }),
    )
  })

  it('a second record under its number, and the own row removed: the seal says which is its own', async () => {
    const scene = await openScene((records) => [forgedFrom(records[4] ?? Buffer.alloc(0))])
    const last = scene.records.length
    const { topic } = scene.log
    await alter('audit_events', 'DELETE WHERE run_seq = 4')
    const stored = await verify(scene, '--kafka')
    expect(stored.code).toBe(1)
    const [decided] = findingsAt(stored, scene, 4, 'conflict-decided')
    const own = `the producer's own record is the record in the log at ${topic}/0 offset 4`
    expect(decided).toMatchObject({
      message: expect.stringMatching(`^${own}; not its own: the duplicate at .*/0/${last}: a foreign record is stored`),
      first_offset: last,
    })
    await alter('audit_skipped', `DELETE WHERE run_seq = 4`)
    const removed = await verify(scene, '--kafka')
    expect(findingsAt(removed, scene, 4, 'records-missing')).toEqual([
      expect.objectContaining({
        first_offset: 4,
        message: expect.stringContaining(
          `offset 4; the producer's seal says that this is its own, and not the record in the log at ${topic}/0 offset ${last}`,
        ),
      }),
    ])
  })

  it('a changed row: the log has the own record, at the offset of the row', async () => {
    const scene = await openScene()
    await alter('audit_events', `UPDATE tool_name = 'another' WHERE run_seq = 4`)
    const without = await verify(scene)
    expect(without.findings.map(({ code, first_run_seq }) => [code, first_run_seq])).toEqual([['records-changed', 0]])
    const found = await verify(scene, '--kafka')
    expect(found.code).toBe(1)
    expect(found.findings).toEqual([
      expect.objectContaining({
        code: 'records-changed',
        first_run_seq: 4,
        last_run_seq: 4,
        first_offset: 4,
        message: expect.stringMatching(
          `own record is the record in the log at ${scene.log.topic}/0 offset 4; not its own: the event at .*/0/4: its row was changed`,
        ),
      }),
    ])
  })

  it('a record that the log does not have, or not any more', async () => {
    const scene = await openScene(() => [], -2)
    const never = await verify(scene, '--kafka')
    const first = scene.records.length - 2
    expect(findingsAt(never, scene, first, 'records-missing')[0]?.message).toBe(
      `sealed by the producer and not stored: the log of ${scene.log.topic}, which is whole, does not have it either`,
    )
    await alter('audit_events', 'DELETE WHERE run_seq = 4')
    await withAdmin(connectKafka(brokers), async (admin) => {
      // kafkajs deletes records only of a topic that it has seen before.
      await admin.fetchTopicOffsets(scene.log.topic)
      await admin.deleteTopicRecords({ topic: scene.log.topic, partitions: [{ partition: 0, offset: '10' }] })
    })
    const expired = await verify(scene, '--kafka')
    expect(findingsAt(expired, scene, 4, 'records-missing')[0]?.message).toContain(
      'does not have it (any more): of what has expired it begins partition 0 at 10',
    )
  })

  it('with --data-dir: in the embedded log, what the consumer has not stored', async () => {
    const topic = 'audit.events'
    const [producer, notary] = [makeKey(directory, 'victim'), makeKey(directory, 'notary')]
    const { runId, records, notes } = makeForeignRun({
      topic,
      signer: producer.signer,
      count: 10,
      random: createRandom(1),
    })
    const embedded = openEmbeddedLog({ directory: store.dataDir.logDir })
    embedded.createTopic(topic, 1)
    embedded.append(
      topic,
      0,
      records.map((value) => ({ key: null, value })),
    )
    embedded.close()
    const trust = trustIn(
      [
        ['producer', producer],
        ['notary', notary],
      ],
      ['victim'],
    )
    const checkpoints = checkpointsOf(notes, [notes.length], notary.signer)
    await storeSealLog(store, 'audit', { notes, checkpoints })
    const found = await verify({ trust, checkpoints }, '--kafka', '--data-dir', dirname(store.dataDir.logDir))
    const missing = found.findings.filter(({ code, run_id }) => code === 'records-missing' && run_id === runId)
    expect(missing.map(({ first_run_seq, first_offset }) => [first_run_seq, first_offset])).toContainEqual([0, 0])
    for (const { first_run_seq, last_run_seq, first_offset, last_offset, message } of missing) {
      expect([first_offset, last_offset]).toEqual([first_run_seq, last_run_seq])
      expect(message).toContain('in the log and not in the table')
    }
  })

  it('brokers that do not answer: the findings stay, and the report says that the log was not read', async () => {
    const scene = await openScene()
    await alter('audit_events', 'DELETE WHERE run_seq = 4')
    const found = await verify(scene, '--kafka', '--brokers', '127.0.0.1:1')
    expect(found.code).toBe(2)
    expect(findingsAt(found, scene, 4, 'records-missing')[0]?.message).toBe('sealed by the producer and not stored')
    expect(found.not_checked).toContainEqual(
      expect.stringContaining(`the log of ${scene.log.topic}: Kafka at 127.0.0.1:1`),
    )
  })
})
