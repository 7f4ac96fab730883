/** Retention notes what it drops: the consumer goes on as if the rows were there, and never stores them again. */
import { EXPIRED_TABLE, logIdOf } from '@agent-audit/schemas'
import { describe, expect, it } from 'vitest'
import { encodeRecord, encodeRun, makeRecord } from '../support/records.ts'
import {
  accountOf,
  environmentOf,
  openLogKinds,
  openStore,
  patientEnvironmentOf,
  rowsOf,
  runConsumer,
  type TestLog,
} from './support.ts'

const store = await openStore()
const WAIT = { timeout: 30_000, interval: 50 }
const kinds = await openLogKinds()
let classes = 0

async function command(statement: string): Promise<void> {
  expect(await store.send(statement, store.dataDir.admin)).toBe('')
}

async function note(log: TestLog, first: number, last: number): Promise<void> {
  const logId = logIdOf(log.sourceId, log.topic).toString('hex')
  // Only a month that is over may be noted. The consumer does not look at the month.
  await command(
    `INSERT INTO ${EXPIRED_TABLE} (log_id, log_partition, first_offset, last_offset, retention_class, month)
     VALUES (unhex('${logId}'), 0, ${first}, ${last}, 'default', 202001)`,
  )
}

async function drop(retentionClass: string): Promise<void> {
  const parts = await store.rows<{ id: string }>(
    `SELECT DISTINCT concat(table, ' DROP PARTITION ID \\'', partition_id, '\\'') AS id FROM system.parts
     WHERE database = 'audit' AND active AND partition LIKE '%${retentionClass}%'`,
  )
  for (const { id } of parts) await command(`ALTER TABLE ${id}`)
}

const offsetsOf = async (log: TestLog): Promise<number[]> =>
  (await rowsOf<{ log_offset: number }>(store, log, 'audit_events', 'log_offset')).map((row) => row.log_offset)

describe.each(kinds)('on %s', (_, openLog) => {
  it('goes on behind dropped rows that a note covers, the last one among them, as after any others', async () => {
    const retention_class = `short${classes++}`
    const log = await openLog(store, { ending: `.${retention_class}` })
    const values = [0, 1, 2, 3].map((seq) => encodeRecord(makeRecord('a', seq, { retention_class })))
    await log.append(0, [...values, null])
    const first = runConsumer(patientEnvironmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 4, skipped: { dead: 1 } })
    await first.stop()
    await note(log, 0, 4)
    await drop(retention_class)
    await expect(accountOf(store, log)).resolves.toEqual({ events: 0, skipped: {} })
    await log.append(0, encodeRun('b', 0, 1))
    runConsumer(patientEnvironmentOf(store, log))
    await expect.poll(() => offsetsOf(log), WAIT).toEqual([5, 6])
  })

  it('stores no dropped row again, though the log still has all of them and the committed offset is lost', async () => {
    const log = await openLog(store, { clean: false })
    await log.append(0, encodeRun('a', 0, 9))
    await note(log, 0, 5)
    await note(log, 4, 7)
    const consumer = runConsumer(environmentOf(store, log))
    await expect.poll(() => offsetsOf(log), WAIT).toEqual([8, 9])
    await consumer.stop()
    await expect(accountOf(store, log)).resolves.toEqual({ events: 2, skipped: {} })
  })

  it('stops where a note names offsets that the log never had', async () => {
    const log = await openLog(store)
    await log.append(0, encodeRun('a', 0, 9))
    await note(log, 5, 10)
    const { consumer } = runConsumer(patientEnvironmentOf(store, log))
    await expect.poll(() => consumer.status.reason, WAIT).toMatch(/stopped: .* but offset 11 was reached before/)
    await expect(accountOf(store, log)).resolves.toEqual({ events: 0, skipped: {} })
  })
})
