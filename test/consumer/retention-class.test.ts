/** A producer cannot make a partition of the tables, a part and an insert for each of its records. */
import { runCli } from '@agent-audit/cli'
import type { AuditRecord } from '@agent-audit/schemas'
import { expect, it } from 'vitest'
import { encodeRecord, makeRecord } from '../support/records.ts'
import {
  accountOf,
  openEmbedded,
  openStore,
  patientEnvironmentOf,
  rowsOf,
  runConsumer,
  type TestLog,
} from './support.ts'

const store = await openStore()
const WAIT = { timeout: 30_000, interval: 50 }

async function append(log: TestLog, records: readonly Partial<AuditRecord>[]): Promise<void> {
  await log.append(
    0,
    records.map((fields, seq) => encodeRecord(makeRecord(`run of ${log.topic}`, seq, fields))),
  )
}

const alter = (change: string): Promise<string> => store.send(`ALTER TABLE audit_events ${change}`, store.dataDir.admin)

async function replayAll(log: TestLog): Promise<{ code: number; out: string }> {
  const { url, username, password } = store.dataDir.reader
  const env = { ...log.environment, CLICKHOUSE_URL: url, CLICKHOUSE_USER: username, CLICKHOUSE_PASSWORD: password }
  let out = ''
  const write = (text: string): string => (out += text)
  const code = await runCli(['dead-letters', 'replay', '--topic', log.topic, '--all'], {
    out: write,
    err: write,
    env,
    colors: false,
  })
  return { code, out }
}

it('records of a class that their topic does not have are dead letters, whose reason names both; they add no partition', async () => {
  const log = await openEmbedded(store)
  const long = 'x'.repeat(200_000)
  const classes = ['default', 'class', '../../x', 'pci', long]
  const classOf = (seq: number): string => `${classes[seq % 5]}${seq % 5 === 1 ? seq : ''}`
  await append(
    log,
    Array.from({ length: 600 }, (_, seq) => ({ retention_class: classOf(seq) })),
  )
  runConsumer(patientEnvironmentOf(store, log))
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 120, skipped: { dead: 480 } })
  const partitions = await store.rows<{ partition: string }>(
    `SELECT DISTINCT partition FROM system.parts
     WHERE database = 'audit' AND active AND table IN ('audit_events', 'audit_skipped')`,
  )
  expect(partitions.map(({ partition }) => partition)).toEqual([expect.stringMatching(/^\('default',\d{6}\)$/)])
  const reasons = await rowsOf<{ reason: string }>(store, log, 'audit_skipped', 'reason')
  expect(reasons.slice(0, 4).map(({ reason }) => reason)).toEqual(
    ['class1', '../../x', 'pci', long.slice(0, 100)].map(
      (shown) => `retention class "${shown}": topic audit.events is of default`,
    ),
  )
})

it('a topic of a class takes that class only, and no dead letter of another one is replayed into it', async () => {
  const log = await openEmbedded(store, { topic: 'audit.events.hipaa' })
  await append(log, [{ retention_class: 'hipaa' }, { retention_class: 'default' }])
  runConsumer(patientEnvironmentOf(store, log))
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 1, skipped: { dead: 1 } })
  const { code, out } = await replayAll(log)
  expect(code).toBe(1)
  expect(out).toContain('topic audit.events.hipaa does not have its retention class')
})

it('the event of a replay into the topic of a class is of that class', async () => {
  const log = await openEmbedded(store, { topic: 'audit.events.sox' })
  expect(await alter(`ADD CONSTRAINT no_poison CHECK ifNull(reasoning, '') != 'poison'`)).toBe('')
  await append(log, [{ retention_class: 'sox', reasoning: 'poison' }])
  runConsumer(patientEnvironmentOf(store, log))
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 0, skipped: { dead: 1 } })
  expect(await alter('DROP CONSTRAINT no_poison')).toBe('')
  expect(await replayAll(log)).toMatchObject({ code: 0 })
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 1, skipped: { dead: 1 } })
  expect(await rowsOf(store, log, 'audit_events', 'retention_class AS class')).toEqual([{ class: 'sox' }])
})
