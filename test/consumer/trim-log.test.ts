/** The embedded log under a consumer: what is stored leaves the log, and nothing else does. */
import { openEmbeddedLog } from '@agent-audit/spool'
import { expect, it, onTestFinished } from 'vitest'
import { encodeRun } from '../support/records.ts'
import { accountOf, environmentOf, openEmbedded, openStore, runConsumer, type TestLog } from './support.ts'

const store = await openStore()
const WAIT = { timeout: 30_000, interval: 50 }

function boundsOf(log: TestLog, partitions: number): () => { start: number; end: number }[] {
  const opened = openEmbeddedLog({ directory: log.environment['AUDIT_DATA_DIR'] ?? '' })
  onTestFinished(() => opened.close())
  return () => Array.from({ length: partitions }, (_, partition) => opened.bounds(log.topic, partition))
}

it('is trimmed up to the last stored record, and goes on from there', async () => {
  const log = await openEmbedded(store, { partitions: 3 })
  const bounds = boundsOf(log, 3)
  await log.append(0, encodeRun('a', 0, 4))
  await log.append(0, encodeRun('a', 5, 9))
  await log.append(1, encodeRun('b', 0, 6))
  const first = runConsumer(environmentOf(store, log))
  const trimmed = [
    { start: 9, end: 10 },
    { start: 6, end: 7 },
    { start: 0, end: 0 },
  ]
  await expect.poll(bounds, WAIT).toEqual(trimmed)
  expect(await accountOf(store, log)).toEqual({ events: 17, skipped: {} })
  await log.append(0, encodeRun('a', 8, 12))
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 20, skipped: { duplicate: 2 } })
  await first.stop()
  // What was committed by the end is deleted by then.
  expect(bounds()[0]).toEqual({ start: 14, end: 15 })
  await log.append(2, encodeRun('c', 0, 4))
  const next = runConsumer(environmentOf(store, log))
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 25, skipped: { duplicate: 2 } })
  await next.stop()
  expect(bounds()[2]).toEqual({ start: 4, end: 5 })
})

it('keeps what is not stored: a record that waits behind a store that is away', async () => {
  const log = await openEmbedded(store)
  const bounds = boundsOf(log, 1)
  await log.append(0, encodeRun('a', 0, 4))
  let away = false
  const running = runConsumer(environmentOf(store, log), ({ sink }) => ({
    sink: {
      ...sink,
      insert: (insert) => (away ? Promise.resolve({ kind: 'refused', reason: 'away' }) : sink.insert(insert)),
    },
  }))
  await expect.poll(bounds, WAIT).toEqual([{ start: 4, end: 5 }])
  away = true
  await log.append(0, encodeRun('a', 5, 9))
  await running.stop()
  expect(bounds()).toEqual([{ start: 4, end: 10 }])
  expect(await accountOf(store, log)).toEqual({ events: 5, skipped: {} })
})

it('stops the partition with the offset, once the tables of a trimmed log are lost', async () => {
  const log = await openEmbedded(store)
  const bounds = boundsOf(log, 1)
  await log.append(0, encodeRun('a', 0, 9))
  const first = runConsumer(environmentOf(store, log))
  await expect.poll(bounds, WAIT).toEqual([{ start: 9, end: 10 }])
  await first.stop()
  await store.send('TRUNCATE TABLE audit_events', store.dataDir.admin)
  const { consumer } = runConsumer(environmentOf(store, log))
  const message = 'has committed offset 10 of audit.events/0, but the table has no row at 9'
  await expect.poll(() => consumer.status.reason, WAIT).toContain(message)
})
