/** Records that the server refuses though they passed the check: they become dead letters, within the assignment. */
import { completeness, connectAnalytics } from '@agent-audit/analytics'
import type { ConsumerParts, Insert, RecordCheck } from '@agent-audit/consumer/pipeline'
import { findSchema, logIdOf, NEWEST_SCHEMA } from '@agent-audit/schemas'
import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { readMetric } from '../support/metrics.ts'
import { encodeRecord, makeRecord, runIdOf } from '../support/records.ts'
import {
  accountOf,
  environmentOf,
  openEmbedded,
  openLogKinds,
  openStore,
  patientEnvironmentOf,
  rowsOf,
  runConsumer,
} from './support.ts'

const store = await openStore()
const WAIT = { timeout: 30_000, interval: 50 }
const kinds = await openLogKinds()

async function alter(change: string): Promise<void> {
  expect(await store.send(`ALTER TABLE audit_events ${change}`, store.dataDir.admin)).toBe('')
}

/** A constraint that the check does not know. */
async function refusePoison(): Promise<void> {
  await alter(`ADD CONSTRAINT no_poison CHECK ifNull(reasoning, '') NOT LIKE '%poison%'`)
  onTestFinished(() => alter('DROP CONSTRAINT no_poison'))
}

const recordsWithPoisonAt = (run: string, count: number, poisoned: readonly number[]): Buffer[] =>
  Array.from({ length: count }, (_, seq) =>
    encodeRecord(makeRecord(run, seq, { reasoning: poisoned.includes(seq) ? 'poison, past any deadline' : 'sound' })),
  )

/** Runs a consumer with changed parts, and counts its inserts. */
function runChanged(environment: Record<string, string>, change: (parts: ConsumerParts) => Partial<ConsumerParts>) {
  const sent: { table: string; answer: string }[] = []
  const { consumer } = runConsumer(environment, (parts) => {
    const insert = async (request: Insert): ReturnType<typeof parts.sink.insert> => {
      const answer = await parts.sink.insert(request)
      sent.push({ table: request.table, answer: answer.kind })
      return answer
    }
    return { sink: { ...parts.sink, insert }, ...change(parts) }
  })
  return { consumer, sent }
}

describe.each(kinds)('on %s', (_, openLog) => {
  beforeEach(refusePoison)

  it('keeps a refused record as long as its own class says', async () => {
    const log = await openLog(store, { ending: '.hipaa' })
    const poison = { retention_class: 'hipaa', reasoning: 'poison, past any deadline' }
    const sound = { retention_class: 'hipaa', reasoning: 'sound' }
    const run = `class ${logIdOf(log.sourceId, log.topic).toString('hex')}`
    await log.append(
      0,
      [poison, sound].map((fields, seq) => encodeRecord(makeRecord(run, seq, fields))),
    )
    runConsumer(patientEnvironmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 1, skipped: { dead: 1 } })
    expect(await rowsOf(store, log, 'audit_skipped', 'retention_class')).toEqual([{ retention_class: 'hipaa' }])
  })

  it('makes refused records dead letters, with the reason of the server, and stores all others without waiting', async () => {
    const log = await openLog(store)
    const poisoned = [0, 700, 701, 1998]
    // A run of this test alone: the logs of this file share one table, and a run is in one log.
    const run = `p ${logIdOf(log.sourceId, log.topic).toString('hex')}`
    const values = recordsWithPoisonAt(run, 2000, poisoned)
    await log.append(0, [...values.slice(0, 1000), Buffer.from('no record'), ...values.slice(1000)])
    const first = runConsumer(patientEnvironmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 1996, skipped: { dead: 5 } })
    const columns = 'log_offset, reason, run_seq, hex(run_id) AS run, hex(value) AS bytes, key'
    const rows = await rowsOf<Record<string, unknown>>(store, log, 'audit_skipped', columns)
    expect(rows.map((row) => row['log_offset'])).toEqual([0, 700, 701, 1000, 1999])
    expect(rows[1]).toEqual({
      log_offset: 700,
      reason: expect.stringMatching(/^refused by ClickHouse: code 469: Constraint `no_poison` .* is violated/),
      run_seq: 700,
      run: runIdOf(run).toString('hex').toUpperCase(),
      bytes: values[700]?.toString('hex').toUpperCase(),
      key: 'key',
    })
    expect(rows[1]?.['reason']).not.toContain('deadline')
    await first.stop()
    await using reader = connectAnalytics(store.dataDir.reader)
    const { partitions, runs } = await completeness(reader)
    const logId = logIdOf(log.sourceId, log.topic).toString('hex')
    const whole = { missing: 0, repeated: 0 }
    expect(partitions.find(({ log_id }) => log_id === logId)).toMatchObject({ ...whole, dead_letters: 5 })
    expect(runs).toContainEqual(expect.objectContaining({ ...whole, run_id: runIdOf(run).toString('hex') }))
    // The partition is left clean: the next consumer need not wait for the lease either.
    await log.append(0, recordsWithPoisonAt('q', 3, [1]))
    runConsumer(patientEnvironmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 1998, skipped: { dead: 6 } })
  })
})

it('finds all records that do not decode in one pass: with one more insert, not one for each', async () => {
  const log = await openEmbedded(store)
  const damaged = Array.from({ length: 50 }, (_, seq) => encodeRecord(makeRecord('d', seq)).subarray(0, -1))
  const sound = Array.from({ length: 200 }, (_, seq) => encodeRecord(makeRecord('s', seq)))
  await log.append(
    0,
    sound.flatMap((value, index) => [value, ...damaged.slice(index % 4 === 0 ? index / 4 : 50, index / 4 + 1)]),
  )
  const { sent } = runChanged(patientEnvironmentOf(store, log), () => ({ check: trusting }))
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 200, skipped: { dead: 50 } })
  expect(sent).toEqual([
    { table: 'audit_events', answer: 'bad-data' },
    { table: 'audit_events', answer: 'stored' },
    { table: 'audit_skipped', answer: 'stored' },
  ])
  const reasons = await rowsOf(store, log, 'audit_skipped', 'DISTINCT log_partition, log_offset, reason')
  expect(reasons[0]).toMatchObject({ log_offset: 1, reason: 'does not decode: truncated buffer' })
})

/** A check that reads the head alone, as a faulty check would. */
const trusting: RecordCheck = {
  prepare: () => Promise.resolve(),
  check: ({ value }) => {
    const head = { runIdStart: 10, runSeq: 0, retentionClass: 'default', reportsLoss: false }
    const seq = value?.readUInt8(26) ?? 0
    head.runSeq = seq < 0x80 ? seq / 2 : ((seq & 0x7f) + (value?.readUInt8(27) ?? 0) * 0x80) / 2
    return { storable: true, bodyStart: 10, version: findSchema(NEWEST_SCHEMA.fingerprint) ?? NEWEST_SCHEMA, head }
  },
}

it('pauses and retries an insert that is refused for now: no dead letters, no waiting for the lease', async () => {
  const log = await openEmbedded(store)
  await log.append(0, [encodeRecord(makeRecord('a', 0))])
  const { consumer } = runConsumer(patientEnvironmentOf(store, log))
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 1, skipped: {} })
  await alter('MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1')
  await log.append(0, [encodeRecord(makeRecord('a', 1))])
  const notStored = async (answer: string): Promise<number> => {
    const text = await consumer.metrics.registry.metrics()
    return readMetric(text, 'audit_inserts_not_stored_total', `answer="${answer}"`) ?? 0
  }
  await vi.waitFor(async () => expect(await notStored('refused')).toBeGreaterThan(1), WAIT)
  await expect(accountOf(store, log)).resolves.toEqual({ events: 1, skipped: {} })
  await alter('RESET SETTING parts_to_throw_insert, parts_to_delay_insert')
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 2, skipped: {} })
  await expect(notStored('unclear')).resolves.toBe(0)
})

it('drains during the pause, though the insert is refused: the next consumer waits for the lease, and stores the records', async () => {
  const log = await openEmbedded(store)
  await log.append(0, [encodeRecord(makeRecord('a', 0))])
  const first = runConsumer(environmentOf(store, log))
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 1, skipped: {} })
  await alter('MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1')
  await log.append(0, [encodeRecord(makeRecord('a', 1)), Buffer.from('no record')])
  await vi.waitFor(async () => {
    const text = await first.consumer.metrics.registry.metrics()
    expect(readMetric(text, 'audit_inserts_not_stored_total', 'answer="refused"') ?? 0).toBeGreaterThan(0)
  }, WAIT)
  await first.stop()
  await alter('RESET SETTING parts_to_throw_insert, parts_to_delay_insert')
  runConsumer(environmentOf(store, log))
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 2, skipped: { dead: 1 } })
})
