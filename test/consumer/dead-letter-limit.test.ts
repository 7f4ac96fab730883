/** Too many dead letters in a row stop their partition, and no other. */
import type { RecordCheck } from '@agent-audit/consumer/pipeline'
import { expect, it, onTestFinished, vi } from 'vitest'
import { readMetric } from '../support/metrics.ts'
import { encodeRecord, encodeRun, makeRecord } from '../support/records.ts'
import { accountOf, openEmbedded, openStore, patientEnvironmentOf, runConsumer, type TestLog } from './support.ts'

const store = await openStore()
const WAIT = { timeout: 30_000, interval: 50 }
const UNKNOWN = Buffer.from('c301aaaaaaaaaaaaaaaa', 'hex')

/** Records of a newer producer: their schema is not known to this consumer. */
const ofUnknownSchema = (run: string, first: number, last: number): Buffer[] =>
  encodeRun(run, first, last).map((value) => Buffer.concat([UNKNOWN, value.subarray(UNKNOWN.length)]))

const environment = (log: TestLog, limit: number): Record<string, string> => ({
  ...patientEnvironmentOf(store, log),
  DEAD_LETTER_MAX_CONSECUTIVE: String(limit),
})

async function stoppedLog(): Promise<TestLog> {
  const log = await openEmbedded(store, { partitions: 2 })
  // Three bad records in a row are within the limit. Good records in between restart the count.
  await log.append(0, [...encodeRun('a', 0, 0), ...ofUnknownSchema('a', 1, 3), ...encodeRun('a', 4, 4)])
  await log.append(0, ofUnknownSchema('b', 0, 4))
  await log.append(1, encodeRun('c', 0, 1))
  return log
}

it('stops the partition before the record that exceeds the limit; the others go on', async () => {
  const log = await stoppedLog()
  const { consumer } = runConsumer(environment(log, 3))
  await vi.waitFor(() => expect(consumer.status.ready).toBe(false), WAIT)
  await vi.waitFor(
    () =>
      expect(consumer.status.reason).toMatch(/^audit\.events\/0 stopped: 3 dead letters .* offset 8 .*unknown schema/),
    WAIT,
  )
  await log.append(1, encodeRun('c', 2, 5))
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 8, skipped: { dead: 6 } })
  const text = await consumer.metrics.registry.metrics()
  expect(readMetric(text, 'audit_partition_stopped', 'partition="0"')).toBe(1)
  expect(readMetric(text, 'audit_partition_stopped', 'partition="1"')).toBe(0)
})

it('stays stopped after a restart, and goes on at once when the limit is raised', async () => {
  const log = await stoppedLog()
  for (let starts = 0; starts < 2; starts++) {
    const running = runConsumer(environment(log, 3))
    await vi.waitFor(() => expect(running.consumer.status.reason).toContain('audit.events/0 stopped'), WAIT)
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 4, skipped: { dead: 6 } })
    await running.stop()
  }
  const { consumer } = runConsumer(environment(log, 5))
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 4, skipped: { dead: 8 } })
  expect(consumer.status).toEqual({ ready: true, reason: 'consuming' })
})

it('goes on by itself once the consumer knows the schema: no event beyond the limit became a dead letter', async () => {
  const log = await stoppedLog()
  const running = runConsumer(environment(log, 3))
  await vi.waitFor(() => expect(running.consumer.status.reason).toContain('stopped'), WAIT)
  await running.stop()
  runConsumer(environment(log, 3), ({ check }) => ({ check: knowing(check) }))
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 6, skipped: { dead: 6 } })
})

/** The check of a consumer that knows the newer schema. */
function knowing(check: RecordCheck): RecordCheck {
  const known = encodeRecord(makeRecord('any', 0)).subarray(0, UNKNOWN.length)
  return {
    prepare: (records) => check.prepare(records),
    check: (record) => {
      if (record.value?.subarray(0, UNKNOWN.length).equals(UNKNOWN) !== true) return check.check(record)
      return check.check({ ...record, value: Buffer.concat([known, record.value.subarray(UNKNOWN.length)]) })
    },
  }
}

it('counts records that the server refuses, too: a constraint that refuses every record stops the partition', async () => {
  const log = await openEmbedded(store)
  const alter = (change: string): Promise<string> =>
    store.send(`ALTER TABLE audit_events ${change}`, store.dataDir.admin)
  await alter(`ADD CONSTRAINT other_agent CHECK agent_id != 'agent'`)
  onTestFinished(async () => void (await alter('DROP CONSTRAINT IF EXISTS other_agent')))
  await log.append(0, encodeRun('n', 0, 19))
  const running = runConsumer(environment(log, 3))
  await vi.waitFor(
    () => expect(running.consumer.status.reason).toMatch(/stopped: 3 dead letters .* offset 3 .*other_agent/),
    WAIT,
  )
  await expect(accountOf(store, log)).resolves.toEqual({ events: 0, skipped: { dead: 3 } })
  await running.stop()
  await alter('DROP CONSTRAINT other_agent')
  runConsumer(environment(log, 3))
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 17, skipped: { dead: 3 } })
})
