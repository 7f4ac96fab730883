/** The live tail: each event once, in whatever order inserts land, from any cursor; and what it costs while nothing happens. */
import { type Analytics, type Cursor, type Tail, type TailOptions, tailTrail } from '@agent-audit/analytics'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { execute, LOG_ID, type SeedRow, seedEvents, seedNotes, seedSkipped } from './seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from './support.ts'

function rows(from: number, to: number, more: SeedRow = {}): SeedRow[] {
  return Array.from({ length: to - from }, (_, at) => ({ log_offset: from + at, run_seq: from + at, ...more }))
}

const upTo = (from: number, to: number, partition = 0): string[] =>
  Array.from({ length: to - from }, (_, at) => `${partition}/${from + at}`)

interface Following {
  readonly tail: Tail
  readonly seen: string[]
  /** Kinds of the other items. */
  readonly said: string[]
  readonly stop: () => Promise<void>
}

/** Follows in the background, until stopped or the end of the test. */
function follow(analytics: Analytics, options: TailOptions = {}): Following {
  const controller = new AbortController()
  const tail = tailTrail(analytics, { pollMs: 10, ...options, signal: controller.signal })
  const seen: string[] = []
  const said: string[] = []
  const ended = (async () => {
    for await (const item of tail) {
      if (item.kind === 'event') seen.push(`${item.event.log_partition}/${item.event.log_offset}`)
      else said.push(item.kind)
    }
  })()
  const stop = async (): Promise<void> => {
    controller.abort()
    await ended
  }
  onTestFinished(stop)
  return { tail, seen, said, stop }
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`tailTrail ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  it('begins with what is stored from now on, also in a new partition, and waits at a gap', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, rows(0, 5))
    const { tail, seen, said, stop } = follow(trail)
    await expect.poll(() => tail.cursor).toEqual([{ log_id: LOG_ID, partition: 0, offset: 5 }])
    await seedEvents(trail.server, rows(5, 8))
    await seedEvents(trail.server, rows(0, 2, { log_partition: 1 }))
    await expect.poll(() => seen.toSorted()).toEqual([...upTo(5, 8), ...upTo(0, 2, 1)])
    await seedEvents(trail.server, rows(9, 12))
    await expect.poll(() => [tail.held, tail.behind]).toEqual([[{ log_id: LOG_ID, partition: 0, offset: 8 }], 4])
    expect(seen).toHaveLength(5)
    await seedSkipped(trail.server, [{ log_offset: 8, kind: 'hole' }])
    await expect.poll(() => seen.slice(5)).toEqual(upTo(9, 12))
    await expect.poll(() => said.at(-1)).toBe('caught_up')
    expect([tail.behind, tail.held]).toEqual([0, []])
    await stop()
  })

  it('gives each event once over tails that are stopped and go on, while inserts land out of order', async () => {
    const trail = await tests.newTrail()
    const writing = (async () => {
      for (let start = 0; start < 200; start += 20) {
        // The first insert of a partition lands first, as the consumer does it.
        for (const first of start === 0 ? [0, 10] : [start + 10, start])
          for (const log_partition of [0, 1]) await seedEvents(trail.server, rows(first, first + 10, { log_partition }))
      }
    })()
    const all: string[] = []
    let after: Cursor = []
    let tails = 0
    while (all.length < 400) {
      const { tail, seen, stop } = follow(trail, { after })
      const wanted = Math.min(400 - all.length, 1 + (tails++ % 37))
      await expect.poll(() => seen.length, { interval: 1 }).toBeGreaterThanOrEqual(wanted)
      await stop()
      all.push(...seen)
      after = JSON.parse(JSON.stringify(tail.cursor)) as Cursor
    }
    await writing
    expect(all.toSorted()).toEqual([...upTo(0, 200), ...upTo(0, 200, 1)].toSorted())
    expect(tails).toBeGreaterThan(3)
  })

  it('begins with what the log has appended since a time', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, rows(0, 3, { log_time: '2026-11-24 09:00:00' }))
    await seedEvents(trail.server, rows(3, 6, { log_time: '2026-11-24 10:00:00', timestamp: '2026-01-01 00:00:00' }))
    await seedEvents(trail.server, rows(0, 2, { log_time: '2026-11-24 09:00:00', log_partition: 1 }))
    const { seen } = follow(trail, { since: new Date('2026-11-24T10:00:00Z') })
    await expect.poll(() => seen).toEqual(upTo(3, 6))
    await seedEvents(trail.server, rows(2, 3, { log_partition: 1 }))
    await expect.poll(() => seen).toEqual([...upTo(3, 6), '1/2'])
  })

  it('leaves out what the filters do not name, and its cursor moves on', async () => {
    const trail = await tests.newTrail()
    const all = ['a', 'b'].flatMap((agent_id) =>
      ['t', 'u'].flatMap((event_type) => ['x', 'y'].map((session_id) => ({ agent_id, event_type, session_id }))),
    )
    await seedEvents(
      trail.server,
      all.map((row, at) => ({ ...row, log_offset: at, run_seq: at })),
    )
    const { seen, tail } = follow(trail, { after: [], agents: ['b'], types: ['t', 'v'], sessions: ['y'] })
    await expect.poll(() => tail.cursor).toEqual([{ log_id: LOG_ID, partition: 0, offset: 8 }])
    expect(seen).toEqual(['0/5'])
  })

  it('asks one query a look while nothing is stored, and that one reads no rows', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, rows(0, 3000))
    await seedSkipped(trail.server, [{ log_offset: 3000, kind: 'hole' }])
    const asked: string[] = []
    const counted: Analytics = {
      ...trail,
      query: (sql, options) => {
        asked.push(sql)
        return trail.query(sql, options)
      },
      rows: async (sql, parameters) => {
        asked.push(sql)
        return trail.rows(sql, parameters)
      },
    }
    const { seen } = follow(counted)
    await expect.poll(() => asked.length).toBeGreaterThan(30)
    const looks = asked.slice(-10)
    expect(new Set(looks).size).toBe(1)
    const look = (looks[0] ?? '').replaceAll('{database:Identifier}', trail.database)
    expect(await execute(trail.server, look, { max_rows_to_read: '5' })).toContain('3000')
    // The limit counts the rows of a scan.
    const scan = execute(trail.server, 'SELECT sum(step_number) FROM audit_events', { max_rows_to_read: '5' })
    await expect(scan).rejects.toThrow('TOO_MANY_ROWS')
    await seedEvents(trail.server, rows(3001, 3003))
    await expect.poll(() => seen).toEqual(upTo(3001, 3003))
    // A note of retention fills a gap, and changes neither of the tables.
    await seedEvents(trail.server, rows(3010, 3011))
    await seedNotes(trail.server, [{ first_offset: 3003, last_offset: 3009 }])
    await expect.poll(() => seen.at(-1)).toBe('0/3010')
  })
})
