/** Partitions share inserts on real parts: what they cost, and what becomes of them when a part fails amid one. */
import { describe, expect, it } from 'vitest'
import {
  accountOf,
  environmentOf,
  openLogKinds,
  openStore,
  patientEnvironmentOf,
  rowsOf,
  runConsumer,
  type TestLog,
} from '../consumer/support.ts'
import { encodeRecord, encodeRun, makeRecord } from '../support/records.ts'

const store = await openStore()
const WAIT = { timeout: 60_000, interval: 50 }
const PARTITIONS = 16

const kinds = await openLogKinds()

/** Each partition has records of its own, and a record without content. */
async function fill(log: TestLog, round: number): Promise<void> {
  for (let partition = 0; partition < PARTITIONS; partition++) {
    await log.append(partition, [...encodeRun(`${log.topic} ${partition} ${round}`, 0, 3), null])
  }
}

const everyOffset = (rounds: number): { log_partition: number; log_offset: number }[] =>
  Array.from({ length: PARTITIONS * 5 * rounds }, (_, index) => ({
    log_partition: Math.floor(index / (5 * rounds)),
    log_offset: index % (5 * rounds),
  })).filter(({ log_offset }) => log_offset % 5 !== 4)

describe.each(kinds)('on %s', (_, openLog) => {
  it('stores the rows of sixteen partitions with few inserts, in order, each once', async () => {
    const log = await openLog(store, { partitions: PARTITIONS })
    await fill(log, 0)
    const sent: { table: string; partitions: number }[] = []
    runConsumer({ ...patientEnvironmentOf(store, log), BATCH_MAX_AGE_MS: '1000' }, ({ sink }) => ({
      sink: {
        ...sink,
        insert(insert) {
          sent.push({ table: insert.table, partitions: insert.queryId.split('_').length - 2 })
          return sink.insert(insert)
        },
      },
    }))
    const all = { events: PARTITIONS * 4, skipped: { dead: PARTITIONS } }
    await expect.poll(() => accountOf(store, log), WAIT).toEqual(all)
    // A partition that is taken over later than the others may need inserts of its own.
    for (const table of ['audit_events', 'audit_skipped']) {
      const inserts = sent.filter((insert) => insert.table === table)
      expect(inserts.length).toBeLessThan(PARTITIONS / 2)
      expect(inserts.reduce((sum, { partitions }) => sum + partitions, 0)).toBe(PARTITIONS)
    }
    expect(await rowsOf(store, log, 'audit_events', 'log_partition, log_offset')).toEqual(everyOffset(1))
  })

  it('loses and repeats nothing when the answers of shared inserts are lost, whether or not they landed', async () => {
    const log = await openLog(store, { partitions: PARTITIONS })
    await fill(log, 0)
    let shared = 0
    const unclear = { kind: 'unclear', reason: 'the answer is lost' } as const
    const running = runConsumer(environmentOf(store, log), ({ sink }) => ({
      sink: {
        ...sink,
        async insert(insert) {
          if (insert.queryId.split('_').length <= 3) return sink.insert(insert)
          shared++
          if (shared === 1) return unclear
          const answer = await sink.insert(insert)
          return shared === 3 ? unclear : answer
        },
      },
    }))
    await expect
      .poll(() => accountOf(store, log), WAIT)
      .toEqual({ events: PARTITIONS * 4, skipped: { dead: PARTITIONS } })
    await fill(log, 1)
    const all = { events: PARTITIONS * 8, skipped: { dead: PARTITIONS * 2 } }
    await expect.poll(() => accountOf(store, log), WAIT).toEqual(all)
    expect(shared).toBeGreaterThanOrEqual(3)
    await running.stop()
    expect(await rowsOf(store, log, 'audit_events', 'log_partition, log_offset')).toEqual(everyOffset(2))
  })
})

it('stores the rows of all partitions but the one whose record the table refuses, which becomes a dead letter', async () => {
  const [, openLog] = kinds[0] ?? []
  if (openLog === undefined) throw new Error('there is no log')
  const log = await openLog(store, { partitions: 4 })
  const forbid = `ALTER TABLE audit_events ADD CONSTRAINT IF NOT EXISTS forbidden CHECK agent_id != 'forbidden'`
  await store.send(forbid, store.dataDir.admin)
  for (const partition of [0, 1, 2, 3]) {
    const last = encodeRecord(makeRecord(`bad ${partition}`, 3, { agent_id: partition === 2 ? 'forbidden' : 'good' }))
    await log.append(partition, [...encodeRun(`bad ${partition}`, 0, 2), last])
  }
  runConsumer({ ...patientEnvironmentOf(store, log), BATCH_MAX_AGE_MS: '500' })
  await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 15, skipped: { dead: 1 } })
  const [dead] = await rowsOf(store, log, 'audit_skipped', 'log_partition, log_offset')
  expect(dead).toEqual({ log_partition: 2, log_offset: 3 })
})
