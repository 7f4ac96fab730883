/** A forged row is taken out of the count: the record of the log is stored at its offset, and readers see that one alone. */
import {
  changesSince,
  completeness,
  connectAnalytics,
  deadLetters,
  readDeadLetter,
  sessionTrail,
} from '@agent-audit/analytics'
import { runCli } from '@agent-audit/cli'
import { logIdOf } from '@agent-audit/schemas'
import { expect, it } from 'vitest'
import { decodeRows } from '../simulation/insert-rows.ts'
import { forge } from '../support/forged-rows.ts'
import { encodeRun, makeRecord } from '../support/records.ts'
import { environmentOf, openEmbedded, openStore, rowsOf, runConsumer, type TestLog } from './support.ts'

const WAIT = { timeout: 20_000, interval: 50 }
const store = await openStore()

interface Ran {
  readonly code: number
  readonly text: string
}

async function quarantine(log: TestLog, offset: number, ...more: string[]): Promise<Ran> {
  const { url, username, password } = store.dataDir.admin
  const env = { CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
  let text = ''
  const print = (printed: string): string => (text += printed)
  const place = `${logIdOf(log.sourceId, log.topic).toString('hex')}/0/${offset}`
  const code = await runCli(['quarantine', place, ...more], { out: print, err: print, env, colors: false })
  return { code, text }
}

const REASON = ['--reason', 'not in Kafka']
const offsetsOf = async (log: TestLog): Promise<number[]> =>
  (await rowsOf<{ log_offset: number }>(store, log, 'audit_events', 'log_offset')).map((row) => row.log_offset)
const TEN = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]

it('a forged row amid records that wait, and one far ahead: the records are stored, and verify counts the two apart', async () => {
  const log = await openEmbedded(store, { clean: false })
  await log.append(0, encodeRun('a', 0, 9))
  await forge(store, log, { offset: 5 })
  await forge(store, log, { offset: 10 ** 15, kind: 'hole' })
  const first = runConsumer(environmentOf(store, log))
  await expect.poll(() => first.consumer.status.reason, WAIT).toMatch(/stopped: .*forged-rows.md/)
  await first.stop()
  expect(await quarantine(log, 77)).toMatchObject({ code: 1, text: expect.stringMatching(/^agent-audit: no row at /) })
  expect(await quarantine(log, 5, '--reason', ' ')).toMatchObject({ code: 64 })
  expect(await quarantine(log, 5)).toMatchObject({ code: 0, text: expect.stringMatching(/event .* no\n/) })
  expect(await quarantine(log, 5, ...REASON)).toMatchObject({ code: 0 })
  expect(await quarantine(log, 10 ** 15, ...REASON)).toMatchObject({ code: 0 })
  const second = runConsumer(environmentOf(store, log))
  await expect.poll(() => offsetsOf(log), WAIT).toEqual([0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9])
  await second.stop()
  // Nothing is stored once more.
  const third = runConsumer(environmentOf(store, log))
  await log.append(0, encodeRun('a', 10, 10))
  await expect.poll(async () => (await offsetsOf(log)).at(-1), WAIT).toBe(10)
  expect(await offsetsOf(log)).toHaveLength(12)
  await third.stop()

  await using reader = connectAnalytics(store.dataDir.reader)
  const report = await completeness(reader)
  expect(report).toMatchObject({ verdict: 'complete', quarantined: 2, events: 11 })
  expect(report.skipped.hole).toBe(0)
  const session = makeRecord('a', 0)['session_id']
  expect((await sessionTrail(reader, session)).map(({ run_seq }) => run_seq)).toEqual([...TEN, 10])
  const changed: number[] = []
  for await (const { log_offset } of changesSince(reader)) changed.push(log_offset)
  expect(changed).toEqual([...TEN, 10])
})

it('a forged row below the committed offset, found later: the record is stored at the next start, none of the others again', async () => {
  const log = await openEmbedded(store)
  await log.append(0, encodeRun('a', 0, 9))
  const first = runConsumer({ ...environmentOf(store, log), BATCH_MAX_EVENTS: '4' })
  await expect.poll(() => offsetsOf(log), WAIT).toEqual(TEN)
  await first.stop()
  // As if it had been passed over: the forged row alone accounts for the offset.
  const where = `log_id = unhex('${logIdOf(log.sourceId, log.topic).toString('hex')}') AND log_offset = 9`
  await store.send(`ALTER TABLE audit_events DELETE WHERE ${where}`, store.dataDir.admin, { mutations_sync: '2' })
  await forge(store, log, { offset: 9 })
  expect(await quarantine(log, 9, ...REASON)).toMatchObject({ code: 0 })
  const second = runConsumer(environmentOf(store, log))
  await expect.poll(() => offsetsOf(log), WAIT).toEqual([...TEN, 9])
  await second.stop()
  await log.append(0, encodeRun('a', 10, 10))
  const third = runConsumer(environmentOf(store, log))
  await expect.poll(() => offsetsOf(log), WAIT).toEqual([...TEN, 9, 10])
  await third.stop()
})

it('a row that comes into quarantine while its partition is taken over does not leave its record out', async () => {
  const log = await openEmbedded(store, { clean: false })
  await log.append(0, encodeRun('a', 0, 9))
  await forge(store, log, { offset: 5 })
  let quarantined = false
  const { consumer } = runConsumer(environmentOf(store, log), ({ sink }) => ({
    sink: {
      ...sink,
      // Recovery has read the tables, where the row counts; the rows are compared next.
      async rowsBetween(partition, range, which) {
        if (!quarantined) expect(await quarantine(log, 5, ...REASON)).toMatchObject({ code: 0 })
        quarantined = true
        return sink.rowsBetween(partition, range, which)
      },
    },
  }))
  await expect.poll(() => offsetsOf(log), WAIT).toEqual([0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9])
  expect(quarantined).toBe(true)
  expect(consumer.status.ready).toBe(true)
})

it('an insert that ClickHouse drops at the offset of a quarantined row is made again: that row does not count for it', async () => {
  const log = await openEmbedded(store, { clean: false })
  await log.append(0, encodeRun('a', 0, 9))
  await forge(store, log, { offset: 5 })
  expect(await quarantine(log, 5, ...REASON)).toMatchObject({ code: 0 })
  let dropped = false
  runConsumer({ ...environmentOf(store, log), BATCH_MAX_EVENTS: '1' }, ({ sink }) => ({
    sink: {
      ...sink,
      insert(request) {
        if (dropped || decodeRows(request.table, request.body)[0]?.offset !== 5) return sink.insert(request)
        dropped = true
        return Promise.resolve({ kind: 'stored' })
      },
    },
  }))
  await expect.poll(() => offsetsOf(log), WAIT).toEqual([0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9])
  expect(dropped).toBe(true)
})

it('the true row in quarantine by mistake stops the partition instead of storing the record again, until it is released', async () => {
  const log = await openEmbedded(store)
  await log.append(0, encodeRun('a', 0, 9))
  const first = runConsumer(environmentOf(store, log))
  await expect.poll(() => offsetsOf(log), WAIT).toEqual(TEN)
  await first.stop()
  expect(await quarantine(log, 9, ...REASON)).toMatchObject({ code: 0 })
  const second = runConsumer(environmentOf(store, log))
  await expect.poll(() => second.consumer.status.reason, WAIT).toMatch(/offset 9 .* agent-audit quarantine --release/)
  await second.stop()
  expect(await quarantine(log, 9, ...REASON, '--release')).toMatchObject({ code: 0 })
  await log.append(0, encodeRun('a', 10, 10))
  const third = runConsumer(environmentOf(store, log))
  await expect.poll(() => offsetsOf(log), WAIT).toEqual([...TEN, 10])
  await third.stop()
})

it('a forged dead letter in quarantine is not listed, shown or replayed', async () => {
  const log = await openEmbedded(store)
  await forge(store, log, { offset: 3, kind: 'dead' })
  await using reader = connectAnalytics(store.dataDir.reader)
  const ofLog = async (): Promise<number[]> =>
    (await deadLetters(reader))
      .filter(({ log_id }) => log_id === logIdOf(log.sourceId, log.topic).toString('hex'))
      .map(({ offset }) => offset)
  expect(await ofLog()).toEqual([3])
  expect(await quarantine(log, 3, ...REASON)).toMatchObject({ code: 0 })
  expect(await ofLog()).toEqual([])
  const position = { log_id: logIdOf(log.sourceId, log.topic).toString('hex'), partition: 0, offset: 3 }
  expect(await readDeadLetter(reader, position)).toBeUndefined()
})

it('neither the writer nor the reader may quarantine a row or take one back', async () => {
  for (const user of [store.dataDir.writer, store.dataDir.reader]) {
    const columns = 'log_id, log_partition, log_offset, kind, log_time, reason'
    const insert = `INSERT INTO audit_quarantined (${columns}) VALUES (unhex('0000000000000000'), 0, 0, 'event', now64(3), 'x')`
    expect(await store.send(insert, user)).toMatch(/^Code: 497/)
  }
})
