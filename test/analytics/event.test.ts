/** One event is found by its id; sessions are found wherever in the log they stand. */
import { eventById, quarantineRow, rowsAt, sessions, sessionTrail } from '@agent-audit/analytics'
import { beforeAll, describe, expect, it } from 'vitest'
import { execute, LOG_ID, seedEvents } from './seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from './support.ts'

/** Of 2026-11-24 10:00:00.123, by its first 48 bits. */
const OF_THE_PRODUCER = '019ab556-7e3b-7000-8000-000000000001'
const RANDOM = 'f47ac10b-58cc-4372-a567-0e02b2c3d479'

describe.skipIf(NO_CLICKHOUSE !== undefined)(`eventById ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  it('finds an event by its id alone: of a producer, of another kind, imported with a time of its own', async () => {
    const trail = await tests.newTrail()
    const imported = '019ab556-7e3b-7000-8000-000000000002'
    await seedEvents(trail.server, [
      { log_offset: 0, event_id: OF_THE_PRODUCER, tool_input: '{"a":1}', timestamp: '2026-11-24 10:00:00.123000' },
      { log_offset: 1, event_id: RANDOM, session_id: 's2' },
      { log_offset: 2, event_id: imported, timestamp: '2019-03-01 00:00:00.000000', session_id: 's3' },
    ])
    const found = await eventById(trail, OF_THE_PRODUCER)
    expect(found).toMatchObject({ event_id: OF_THE_PRODUCER, tool_input: { a: 1 }, log_offset: 0, log_id: LOG_ID })
    expect(await sessionTrail(trail, 's1')).toEqual([found])
    expect(await eventById(trail, OF_THE_PRODUCER.toUpperCase())).toEqual(found)
    expect((await eventById(trail, RANDOM))?.session_id).toBe('s2')
    expect((await eventById(trail, imported))?.session_id).toBe('s3')
    expect(await eventById(trail, '019ab556-7e3b-7000-8000-000000000003')).toBeUndefined()
  })

  it('says what an event id is, where it is given something else', async () => {
    const trail = await tests.newTrail()
    for (const wrong of ['', 'e1', `${RANDOM} `, "' OR 1 = 1 --", RANDOM.replaceAll('-', '')]) {
      await expect(eventById(trail, wrong)).rejects.toMatchObject({
        code: 'OPTIONS_INVALID',
        message: expect.stringContaining('an event id is a UUID') as string,
      })
    }
  })

  it('leaves a quarantined row out, and gives the one that counts', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, [
      { log_offset: 0, event_id: RANDOM, agent_id: 'forged' },
      { log_offset: 1, event_id: RANDOM, agent_id: 'real' },
    ])
    const position = { log_id: LOG_ID, partition: 0, offset: 0 }
    const [forged] = await rowsAt(trail, position)
    await quarantineRow(trail, position, { row: forged?.row ?? '', reason: 'forged', release: false })
    expect((await eventById(trail, RANDOM))?.agent_id).toBe('real')
    expect((await sessionTrail(trail, 's1')).map(({ agent_id }) => agent_id)).toEqual(['real'])
    expect(await sessions(trail)).toMatchObject([{ session_id: 's1', agent_id: 'real', events: 1 }])
  })

  it('reads what stands for the question, not all rows', async () => {
    const { server } = await tests.newTrail()
    await seedEvents(server, [{ log_offset: 0 }])
    const explain = (sql: string): Promise<string> => execute(server, `EXPLAIN indexes = 1, projections = 1 ${sql}`)
    const byId = `event_id = '${OF_THE_PRODUCER}' AND UUIDv7ToDateTime(event_id) = UUIDv7ToDateTime(toUUID('${OF_THE_PRODUCER}'))`
    expect(await explain(`SELECT agent_id FROM audit_events WHERE ${byId}`)).toContain('Name: by_event_time')
    const stretches = `SELECT min(log_offset) FROM audit_events WHERE session_id = 's1' GROUP BY log_id, log_partition`
    expect(await explain(`${stretches} SETTINGS force_optimize_projection_name = 'sessions'`)).toContain('(sessions)')
    const hours = `SELECT toStartOfHour(timestamp) AS hour, agent_id, count(),
      countIf(toString(error) IS NOT NULL OR (outcome = 'error' AND event_type NOT IN ('session_end', 'session_timeout'))),
      sum(toInt128(input_tokens)) FROM audit_events GROUP BY hour, agent_id`
    expect(await explain(`${hours} SETTINGS force_optimize_projection_name = 'hours'`)).toContain('(hours)')
  })
})

describe.skipIf(NO_CLICKHOUSE !== undefined)(`stretches of a session ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  it('are all read: far apart in a partition, in several partitions and logs, more than a query names one by one', async () => {
    const trail = await tests.newTrail()
    const rows = Array.from({ length: 240 }, (_, index) => ({
      log_id: index % 3 === 0 ? LOG_ID : '00000000000000ff',
      log_partition: index % 2,
      log_offset: index * 10_000,
      session_id: `s${index % 80}`,
      timestamp: `2026-11-24 10:${String(Math.floor(index / 60)).padStart(2, '0')}:${String(index % 60).padStart(2, '0')}.000000`,
    }))
    await seedEvents(trail.server, rows)
    const events = await sessionTrail(trail, 's7')
    expect(events.map(({ log_offset }) => log_offset)).toEqual([70_000, 870_000, 1_670_000])
    const found = await sessions(trail, { limit: 80 })
    expect(found.map((session) => session.events)).toEqual(Array.from({ length: 80 }, () => 3))
    expect(found.slice(0, 3).map(({ session_id }) => session_id)).toEqual(['s79', 's78', 's77'])
  })

  it('make the pages of a session that does not fit into one, each event once and in order', async () => {
    const trail = await tests.newTrail()
    const text = 'x'.repeat(400_000)
    const rows = Array.from({ length: 25 }, (_, index) => ({
      log_offset: 24 - index,
      timestamp: `2026-11-24 10:00:${String(index).padStart(2, '0')}.000000`,
      output_text: `${index} ${text}`,
    }))
    await seedEvents(trail.server, rows)
    const events = await sessionTrail(trail, 's1')
    expect(events.map(({ output_text }) => output_text?.split(' ')[0])).toEqual(rows.map((_, index) => String(index)))
  })

  it('finds the latest sessions also where they are old, far apart, or of a clock that is ahead', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, [
      { log_offset: 0, session_id: 'old', timestamp: '2020-01-01 00:00:00.000000' },
      { log_offset: 1, session_id: 'middle', timestamp: '2026-11-20 00:00:00.000000' },
      { log_offset: 2, session_id: 'ahead', timestamp: '2031-01-01 00:00:00.000000' },
    ])
    const ids = async (options: Parameters<typeof sessions>[1]): Promise<string[]> =>
      (await sessions(trail, options)).map(({ session_id }) => session_id)
    expect(await ids({})).toEqual(['ahead', 'middle', 'old'])
    expect(await ids({ limit: 1 })).toEqual(['ahead'])
    expect(await ids({ limit: 1, until: new Date('2030-01-01') })).toEqual(['middle'])
    expect(await ids({ until: new Date('2025-01-01') })).toEqual(['old'])
    expect(await ids({ since: new Date('2021-01-01'), limit: 2 })).toEqual(['ahead', 'middle'])
    expect(await ids({ since: new Date('2032-01-01') })).toEqual([])
  })
})
