/** The role of the detectors on the real server: it reads the trail, inserts what is found, and nothing else. */
import { checkGrants, connectAnalytics } from '@agent-audit/analytics'
import { Engine } from '@agent-audit/detect'
import { expect, it } from 'vitest'
import { accountOf, environmentOf, openEmbedded, openStore, runConsumer } from '../consumer/support.ts'
import { encodeRecord, makeRecord } from '../support/records.ts'
import { ERRORS, judgeOn } from './support.ts'

const store = await openStore()
const DENIED = /^Code: 497/
/** With a column, and a value, that a row may have. */
const OWN = [
  ['audit_findings', 'severity', "'low'"],
  ['audit_detector_cursors', 'detector', "'x'"],
  ['audit_detector_runs', 'detectors', "['x']"],
  ['audit_alerts', 'target', "'x'"],
] as const
const OTHERS = [
  'audit_events',
  'audit_skipped',
  'audit_logs',
  'audit_expired',
  'audit_expired_runs',
  'audit_quarantined',
  'audit_migrations',
]

it('the detectors judge as their own user, which has no grants beyond its role', async () => {
  const log = await openEmbedded(store)
  await log.append(0, [encodeRecord(makeRecord('role', 0, { event_type: 'error', error: 'boom' }))])
  const consumer = runConsumer(environmentOf(store, log))
  await expect.poll(async () => (await accountOf(store, log)).events, { timeout: 30_000, interval: 50 }).toBe(1)
  await consumer.stop()
  await using detector = connectAnalytics(store.dataDir.detector)
  expect(await judgeOn(new Engine(detector, { detectors: [ERRORS] }))).toBe(1)
  await checkGrants(detector, 'detector')
  await using admin = connectAnalytics(store.dataDir.admin)
  await expect(checkGrants(admin, 'detector')).rejects.toMatchObject({ code: 'GRANTS_TOO_WIDE' })
  await using writer = connectAnalytics(store.dataDir.writer)
  await expect(checkGrants(writer, 'detector')).rejects.toMatchObject({
    message: expect.stringContaining('INSERT ON audit.audit_events'),
  })
})

it.each(OTHERS)('the detectors insert nothing into %s', async (table) => {
  expect(await store.send(`INSERT INTO ${table} SELECT * FROM ${table} LIMIT 0`, store.dataDir.detector)).toMatch(
    DENIED,
  )
})

it.each(OWN)(
  'of %s the detectors change and remove nothing, and writer and reader insert nothing',
  async (table, column, value) => {
    for (const statement of [
      `ALTER TABLE ${table} DELETE WHERE 1`,
      `DELETE FROM ${table} WHERE 1`,
      `TRUNCATE TABLE ${table}`,
      `ALTER TABLE ${table} DROP PARTITION ALL`,
      `OPTIMIZE TABLE ${table} FINAL`,
      `DROP TABLE ${table}`,
    ]) {
      expect([statement, await store.send(statement, store.dataDir.detector)]).toEqual([
        statement,
        expect.stringMatching(DENIED),
      ])
    }
    const insert = `INSERT INTO ${table} (${column}) VALUES (${value})`
    expect(await store.send(insert, store.dataDir.writer)).toMatch(DENIED)
    expect(await store.send(insert, store.dataDir.reader)).toMatch(DENIED)
    expect(await store.send(insert, store.dataDir.detector)).toBe('')
  },
)
