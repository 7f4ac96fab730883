/** Jobs that read what is new, by position: each event once, whatever lands late and whenever the job is killed. */
import { type Analytics, type Cursor, changesSince, type TrailEvent } from '@agent-audit/analytics'
import { beforeAll, describe, expect, it } from 'vitest'
import { LOG_ID, type SeedRow, seedEvents, seedNotes, seedSkipped } from './seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from './support.ts'

type Trail = Awaited<ReturnType<TestServer['newTrail']>>

/** Rows at these offsets. */
function rows(offsets: readonly number[], more: SeedRow = {}): SeedRow[] {
  return offsets.map((offset) => ({ log_offset: offset, run_seq: offset, ...more }))
}

const place = ({ log_partition: partition, log_offset: offset }: TrailEvent): string => `${partition}/${offset}`
const at = (offset: number, partition = 0): Cursor[number] => ({ log_id: LOG_ID, partition, offset })

/** One start of a job: reads from a cursor, is killed after `most` events, and has saved the cursor after each one. */
async function job(analytics: Analytics, cursor: Cursor, most = Infinity): Promise<{ seen: string[]; cursor: Cursor }> {
  const changes = changesSince(analytics, cursor)
  const seen: string[] = []
  for await (const event of changes) {
    seen.push(place(event))
    if (seen.length >= most) break
  }
  return { seen, cursor: JSON.parse(JSON.stringify(changes.cursor)) as Cursor }
}

/**
 * Both partitions, ten offsets an insert, neighbours swapped, each with its skipped row before or after the events. Only the
 * first insert of a partition lands first, as the consumer does it.
 */
async function insertOutOfOrder(trail: Trail, offsets: number): Promise<void> {
  for (let start = 0; start < offsets; start += 20) {
    for (const first of start === 0 ? [0, 10] : [start + 10, start]) {
      for (const log_partition of [0, 1]) {
        const skipped = seedSkipped.bind(undefined, trail.server, [
          { log_offset: first + 3, kind: 'duplicate', log_partition },
        ])
        if (first % 40 === 20) await skipped()
        const stored = [0, 1, 2, 4, 5, 6, 7, 8, 9].map((index) => first + index)
        await seedEvents(trail.server, rows(stored, { log_partition }))
        if (first % 40 !== 20) await skipped()
      }
    }
  }
}

async function addLarge(trail: Trail, first: number, count: number, length: number): Promise<void> {
  await trail.command(
    `INSERT INTO {database:Identifier}.audit_events (run_id, run_seq, producer_id, session_seq, retention_class, event_id,
       timestamp, event_type, session_id, agent_id, step_number, output_text, requires_approval, log_id, log_partition,
       log_offset, log_time, writer_schema)
     SELECT toFixedString('r', 16), number, 'seed', number, 'default', generateUUIDv7(number), now64(6), 'llm_call', 's', 'a', 0,
       repeat('x', {length:UInt32}), false, unhex('${LOG_ID}'), 0, number, now64(3), 1
     FROM numbers({first:UInt64}, {count:UInt64}) SETTINGS log_comment = '9000000000000 9000000000000'`,
    { first, count, length },
  )
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`changesSince ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  it('gives whole events in the order of the log, over all partitions, from the first stored offset', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, rows([5, 7], { log_partition: 1, output_text: 'said', content: { a: 1 } }))
    await seedEvents(trail.server, rows([0, 1]))
    await seedSkipped(trail.server, [
      { log_offset: 6, log_partition: 1, kind: 'duplicate' },
      { log_offset: 8, log_partition: 1, kind: 'hole' },
    ])
    const changes = changesSince(trail)
    const events: TrailEvent[] = []
    for await (const event of changes) events.push(event)
    expect(events.map(place)).toEqual(['0/0', '0/1', '1/5', '1/7'])
    expect(events[3]).toMatchObject({ output_text: 'said', content: { a: 1 }, log_offset: 7, run_seq: 7 })
    expect(changes.cursor).toEqual([at(2), at(9, 1)])
    expect(changes.held).toEqual([])
    expect(await job(trail, changes.cursor)).toEqual({ seen: [], cursor: changes.cursor })
  })

  it('stops at a gap, and goes on once it is filled: by events or by skipped rows', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, rows([0, 1, 5, 6]))
    const changes = changesSince(trail)
    const seen: string[] = []
    const read = async (): Promise<string[]> => {
      seen.length = 0
      for await (const event of changes) seen.push(place(event))
      return [...seen]
    }
    expect(await read()).toEqual(['0/0', '0/1'])
    expect(changes.held).toEqual([at(2)])
    await seedEvents(trail.server, rows([3]))
    expect(await read()).toEqual([])
    await seedSkipped(trail.server, [{ log_offset: 2, kind: 'dead' }])
    expect(await read()).toEqual(['0/3'])
    expect(changes.held).toEqual([at(4)])
    await seedEvents(trail.server, rows([4]))
    expect(await read()).toEqual(['0/4', '0/5', '0/6'])
    expect(changes.held).toEqual([])
  })

  it("begins with a partition's first event, also where its first batch lands while the partitions are asked for", async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, rows([0]))
    let asked = 0
    const meanwhile: Analytics = {
      ...trail,
      async rows<Row>(query: string, parameters?: Record<string, unknown>) {
        const answer = await trail.rows<Row>(query, parameters)
        if (!query.includes('GROUP BY log_id, log_partition') || asked++ > 0) return answer
        await seedEvents(trail.server, rows([0, 1], { log_partition: 1 }))
        await seedSkipped(trail.server, [{ log_offset: 2, log_partition: 1, kind: 'duplicate' }])
        return answer
      },
    }
    expect((await job(meanwhile, [])).seen).toEqual(['0/0', '1/0', '1/1'])
  })

  it('steps over what retention has dropped, and noted', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, rows([0, 1, 5, 6]))
    await seedNotes(trail.server, [
      { first_offset: 2, last_offset: 3 },
      { first_offset: 0, last_offset: 3 },
    ])
    const changes = changesSince(trail)
    const seen: string[] = []
    for await (const event of changes) seen.push(place(event))
    expect([seen, changes.held]).toEqual([['0/0', '0/1'], [at(4)]])
    await seedNotes(trail.server, [{ first_offset: 4, last_offset: 70_000 }])
    for await (const event of changes) seen.push(place(event))
    expect([seen.slice(2), changes.held]).toEqual([['0/5', '0/6'], []])
  })

  it('gives each event once while inserts land out of order and the job is killed again and again', async () => {
    const trail = await tests.newTrail()
    const OFFSETS = 400
    const inserting = insertOutOfOrder(trail, OFFSETS)
    let done = false
    void inserting.finally(() => (done = true))
    const seen: string[] = []
    let cursor: Cursor = []
    for (let starts = 0; ; starts++) {
      const last = done
      const run = await job(trail, cursor, last ? Infinity : 1 + (starts % 7))
      seen.push(...run.seen)
      cursor = run.cursor
      if (last) break
    }
    await inserting
    const expected = [0, 1].flatMap((partition) =>
      Array.from({ length: OFFSETS }, (_, offset) => `${partition}/${offset}`).filter((_, offset) => offset % 10 !== 3),
    )
    expect(seen.toSorted()).toEqual(expected.toSorted())
    for (const partition of ['0/', '1/']) {
      const offsets = seen.filter((each) => each.startsWith(partition)).map((each) => Number(each.slice(2)))
      expect(offsets).toEqual(offsets.toSorted((a, b) => a - b))
    }
    // 160 inserts, one after the other: a busy machine takes half a minute.
  }, 180_000)

  it('holds a page in memory, whatever the size of the events and the pace of the job', async () => {
    const trail = await tests.newTrail()
    await addLarge(trail, 0, 5000, 100)
    await addLarge(trail, 5000, 200, 500_000)
    let seen = 0
    let highest = 0
    const before = process.memoryUsage().heapUsed
    for await (const { log_offset: offset } of changesSince(trail)) {
      expect(offset).toBe(seen++)
      if (offset >= 5000 && offset % 10 === 0) highest = Math.max(highest, process.memoryUsage().heapUsed - before)
    }
    expect(seen).toBe(5200)
    // The large events are 100 MB.
    expect(highest / 2 ** 20).toBeLessThan(70)
  }, 60_000)
})
