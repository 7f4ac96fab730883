/** A client with the consumer's password: what it tries against the trail, and that the consumer notices. */
import type { Insert } from '@agent-audit/consumer/pipeline'
import { describe, expect, it } from 'vitest'
import { forge, type ForgedRow } from '../support/forged-rows.ts'
import { encodeRun, runIdOf } from '../support/records.ts'
import { accountOf, environmentOf, openEmbedded, openStore, rowsOf, runConsumer } from './support.ts'

const WAIT = { timeout: 20_000, interval: 50 }
const store = await openStore()

describe('the deduplication token of an insert', () => {
  it("is in no text that the writer's user may read: the settings of queries, and the ids of queries", async () => {
    const { writer } = store.dataDir
    for (const asked of [
      "SELECT Settings['insert_deduplication_token'] FROM system.processes",
      'SELECT * FROM system.processes',
      'SELECT query FROM system.processes',
      'SHOW PROCESSLIST',
      'SELECT Settings FROM system.query_log',
    ]) {
      expect([asked, await store.send(asked, writer)]).toEqual([asked, expect.stringMatching(/^Code: (497|60)\b/)])
    }
    expect(await store.send("SELECT count() > 0 FROM system.processes WHERE query_id != ''", writer)).toBe('1\n')
    const log = await openEmbedded(store)
    await log.append(0, encodeRun('a', 0, 9))
    const inserts: Insert[] = []
    runConsumer(environmentOf(store, log), ({ sink }) => ({
      sink: { ...sink, insert: (insert) => sink.insert((inserts.push(insert), insert)) },
    }))
    await expect.poll(() => accountOf(store, log), WAIT).toMatchObject({ events: 10 })
    const [insert] = inserts
    expect(insert?.token).toMatch(/[0-9a-f]{32}$/)
    expect(insert?.queryId).not.toContain(insert?.token.slice(-32))
  })

  it('that a thief knows and uses first costs no record: the inserts that ClickHouse then drops are made again', async () => {
    const log = await openEmbedded(store)
    const elsewhere = await openEmbedded(store)
    let stolen = 0
    const { consumer } = runConsumer({ ...environmentOf(store, log), BATCH_MAX_EVENTS: '10' }, ({ sink }) => ({
      sink: {
        ...sink,
        async insert(insert) {
          if (insert.table === 'audit_events' && stolen < 3) {
            await forge(store, elsewhere, { offset: stolen++, token: insert.token })
          }
          return sink.insert(insert)
        },
      },
    }))
    await log.append(0, [...encodeRun('a', 0, 39), null, ...encodeRun('a', 40, 49)])
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 50, skipped: { dead: 1 } })
    const text = await consumer.metrics.registry.metrics()
    expect(text).toMatch(/audit_inserts_not_stored_total\{[^}]*answer="missing"\} [1-9]/)
  })
})

describe('a row that the thief has inserted', () => {
  it.each<[string, ForgedRow]>([
    ['above the first gap, with the identity of the record there', { offset: 5 }],
    ['above the first gap, of another run', { offset: 5, run: 'b' }],
    ['above the first gap, that says the log has no record there', { offset: 5, kind: 'hole' }],
    ['above the first gap, that says the record is a duplicate', { offset: 5, kind: 'duplicate' }],
    ['above the first gap, that says the record is a dead letter', { offset: 5, kind: 'dead' }],
    ['at the next offset', { offset: 0 }],
  ])('stops its partition and no other: %s', async (_what, row) => {
    const log = await openEmbedded(store, { partitions: 2, clean: false })
    await log.append(0, encodeRun('a', 0, 9))
    await log.append(1, encodeRun('c', 0, 9))
    await forge(store, log, row)
    const { consumer } = runConsumer(environmentOf(store, log))
    await expect.poll(() => consumer.status.reason, WAIT).toMatch(/audit.events\/0 stopped: .*a row was forged/)
    const message = consumer.status.reason
    expect(message).toContain(`offset ${row.offset} of audit.events/0`)
    expect(message).toContain(
      row.kind === 'hole' ? 'hole without a run' : `${runIdOf(row.run ?? 'a').toString('hex')}:${row.offset}`,
    )
    expect(message).not.toContain('forged:')
    const offsets = async (): Promise<unknown[]> => rowsOf(store, log, 'audit_events', 'log_offset')
    await expect.poll(async () => (await offsets()).length, WAIT).toBeGreaterThanOrEqual(10)
    expect(consumer.status.ready).toBe(false)
    await log.append(1, encodeRun('c', 10, 19))
    await expect
      .poll(() => rowsOf(store, log, 'audit_events', 'log_offset, log_partition'), WAIT)
      .toContainEqual({ log_partition: 1, log_offset: 19 })
    expect(await consumer.metrics.registry.metrics()).toMatch(/audit_partition_stopped\{.*partition="0"\} 1/)
  })

  it.each([
    ['far ahead of the log', 10 ** 15],
    ['at the end of a partition that was left clean', 10],
  ])('stops its partition, not the consumer: %s', async (_what, offset) => {
    const log = await openEmbedded(store)
    await log.append(0, encodeRun('a', 0, 9))
    const first = runConsumer(environmentOf(store, log))
    await expect.poll(() => accountOf(store, log), WAIT).toMatchObject({ events: 10 })
    await first.stop()
    await forge(store, log, { offset })
    const second = runConsumer(environmentOf(store, log))
    await expect.poll(() => second.consumer.status.reason, WAIT).toMatch(/audit.events\/0 stopped: .*forged-rows.md/)
    await second.stop()
  })
})

describe("a query of the thief's", () => {
  it('cannot lift the limits of its memory and of its answer, as the reader cannot', async () => {
    const { writer, reader } = store.dataDir
    for (const user of [writer, reader]) {
      for (const setting of ['max_memory_usage', 'max_memory_usage_for_user', 'max_result_bytes']) {
        expect(Number(await store.send(`SELECT getSetting('${setting}')`, user))).toBeGreaterThan(0)
        expect(await store.send(`SELECT 1 SETTINGS ${setting} = 0`, user)).toMatch(/^Code: 452\b/)
      }
    }
  })

  it("that kills the consumer's inserts, which ClickHouse lets the same user do, costs no record", async () => {
    const log = await openEmbedded(store)
    await log.append(0, encodeRun('a', 0, 1999))
    let kills = 0
    runConsumer({ ...environmentOf(store, log), BATCH_MAX_EVENTS: '200' }, ({ sink }) => ({
      sink: {
        ...sink,
        async insert(insert) {
          const answer = sink.insert(insert)
          if (kills++ < 3)
            await store.send(`KILL QUERY WHERE query_id = '${insert.queryId}' SYNC`, store.dataDir.writer)
          return answer
        },
      },
    }))
    await expect.poll(() => accountOf(store, log), WAIT).toEqual({ events: 2000, skipped: {} })
    expect(kills).toBeGreaterThan(3)
  })
})
