/** Lists and sums over sessions, agents and event types. */
import { agents, changesSince, eventCounts, sessions } from '@agent-audit/analytics'
import { beforeAll, describe, expect, it } from 'vitest'
import { execute, runId, type SeedRow, seedEvents } from './seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from './support.ts'

const DAY = '2026-11-24'

describe.skipIf(NO_CLICKHOUSE !== undefined)(`sessions, agents, eventCounts ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  /** A session that ended, one that timed out, one that failed, one that is open, and the trail's own. */
  const EVENTS: readonly SeedRow[] = [
    { session_id: 'trail:1', event_type: 'trail_started', at: '09:59:00' },
    { session_id: 'done', event_type: 'session_start', user_id: 'u1', at: '10:00:00' },
    { session_id: 'done', event_type: 'llm_call', input_tokens: 100, output_tokens: 5, at: '10:00:01' },
    { session_id: 'done', event_type: 'llm_call', input_tokens: 50, at: '10:00:02' },
    { session_id: 'done', event_type: 'tool_call', outcome: 'allowed', at: '10:00:03' },
    { session_id: 'done', event_type: 'tool_result', outcome: 'error', error: 'E', at: '10:00:04' },
    { session_id: 'done', event_type: 'tool_call', outcome: 'denied', at: '10:00:05' },
    { session_id: 'done', event_type: 'session_end', outcome: 'success', at: '10:00:06' },
    { session_id: 'late', event_type: 'session_start', at: '11:00:00' },
    { session_id: 'late', event_type: 'session_timeout', reason: 'max_iterations', at: '11:30:00' },
    { session_id: 'failed', event_type: 'session_start', agent_id: 'other', at: '12:00:00' },
    { session_id: 'failed', event_type: 'tool_call', outcome: 'error', agent_id: 'other', at: '12:00:01' },
    { session_id: 'failed', event_type: 'tool_call', outcome: 'blocked', agent_id: 'other', at: '12:00:01' },
    { session_id: 'failed', event_type: 'error', error: 'boom', outcome: 'error', agent_id: 'other', at: '12:00:02' },
    { session_id: 'failed', event_type: 'session_end', outcome: 'error', agent_id: 'other', at: '12:00:03' },
    { session_id: 'again', event_type: 'session_start', at: '13:00:00' },
    { session_id: 'again', event_type: 'session_end', outcome: 'success', at: '13:00:01' },
    { session_id: 'again', event_type: 'session_resumed', at: '13:00:02', run_id: runId(2) },
  ].map(({ at, ...row }, index) => ({ ...row, timestamp: `${DAY} ${at}.000007`, log_offset: index, run_seq: index }))

  it('lists sessions of any id: one of 300,000 bytes keeps none of the others off the list', async () => {
    const trail = await tests.newTrail()
    const ids = ['é'.repeat(150_000), ...Array.from({ length: 60 }, (_, index) => `${index}-${'%'.repeat(200)}`)]
    const rows = ids.map((id, index) => ({ session_id: id, log_offset: index, run_seq: index }))
    await seedEvents(trail.server, rows)
    const found = await sessions(trail, { limit: 100 })
    expect(new Map(found.map(({ session_id, events }) => [session_id, events]))).toEqual(
      new Map(ids.map((id) => [id, 1])),
    )
  })

  it('sums up each whole session: state, outcome, counts, tokens', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, EVENTS)
    const found = await sessions(trail)
    expect(found.map(({ session_id: id, state, outcome }) => [id, state, outcome])).toEqual([
      ['again', 'open', 'success'],
      ['failed', 'ended', 'error'],
      ['late', 'timeout', null],
      ['done', 'ended', 'success'],
    ])
    expect(found.at(-1)).toEqual({
      session_id: 'done',
      agent_id: 'support',
      user_id: 'u1',
      started_at: `${DAY}T10:00:00.000007Z`,
      last_at: `${DAY}T10:00:06.000007Z`,
      state: 'ended',
      outcome: 'success',
      events: 7,
      llm_calls: 2,
      tool_calls: 2,
      errors: 1,
      input_tokens: 150,
      output_tokens: 5,
    })
    // The failed call, and the error; its end repeats the error and is not a third.
    expect(found[1]).toMatchObject({ errors: 2, input_tokens: null, output_tokens: null })
  })

  it('narrows by time, agent and limit', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, EVENTS)
    const ids = async (options: Parameters<typeof sessions>[1]): Promise<string[]> =>
      (await sessions(trail, options)).map((session) => session.session_id)
    const time = (clock: string): Date => new Date(`${DAY}T${clock}Z`)
    expect(await ids({ limit: 2 })).toEqual(['again', 'failed'])
    expect(await ids({ agent: 'other' })).toEqual(['failed'])
    // A session that starts before the window and ends in it is listed, with figures of the whole session.
    expect(await ids({ since: time('11:10:00'), until: time('12:30:00') })).toEqual(['failed', 'late'])
    const [late] = await sessions(trail, { since: time('11:10:00'), until: time('12:00:00') })
    expect(late).toMatchObject({ events: 2, started_at: `${DAY}T11:00:00.000007Z` })
    expect(await ids({ since: time('20:00:00') })).toEqual([])
  })

  it('sums up agents, without the sessions of the trail itself', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, EVENTS)
    expect(await agents(trail)).toEqual([
      {
        agent_id: 'support',
        sessions: 3,
        events: 12,
        llm_calls: 2,
        tool_calls: 2,
        errors: 1,
        denied: 1,
        blocked: 0,
        input_tokens: 150,
        output_tokens: 5,
        last_at: `${DAY}T13:00:02.000007Z`,
      },
      {
        agent_id: 'other',
        sessions: 1,
        events: 5,
        llm_calls: 0,
        tool_calls: 2,
        errors: 2,
        denied: 0,
        blocked: 1,
        input_tokens: null,
        output_tokens: null,
        last_at: `${DAY}T12:00:03.000007Z`,
      },
    ])
    const window = { since: new Date(`${DAY}T10:00:05Z`), until: new Date(`${DAY}T12:00:00Z`) }
    expect(await agents(trail, window)).toMatchObject([{ agent_id: 'support', events: 4, sessions: 2 }])
  })

  it('finds a spool that was adopted hours later by the time of the log and by position, where the time of the events misses it', async () => {
    const trail = await tests.newTrail()
    const event = (offset: number, happened: string, appended: string, more: SeedRow): SeedRow => ({
      log_offset: offset,
      timestamp: `${DAY} ${happened}`,
      log_time: `${DAY} ${appended}`,
      ...more,
    })
    await seedEvents(trail.server, [event(0, '18:00:00', '18:00:01', { session_id: 'live' })])
    const changes = changesSince(trail)
    for await (const { session_id: id } of changes) expect(id).toBe('live')
    const lastRun = { since: new Date(`${DAY}T18:30:00Z`) }
    // The host comes back: its spool holds what happened before the last run of the job.
    const spooled = { session_id: 'spooled', agent_id: 'dead', run_id: runId(2) }
    await seedEvents(trail.server, [
      event(1, '10:00:00', '19:00:00', spooled),
      event(2, '10:00:01', '19:00:00', spooled),
    ])

    expect(await sessions(trail, lastRun)).toEqual([])
    expect(await agents(trail, lastRun)).toEqual([])
    const byLog = { ...lastRun, by: 'log_time' } as const
    expect(await sessions(trail, byLog)).toMatchObject([{ session_id: 'spooled', events: 2 }])
    expect(await agents(trail, byLog)).toMatchObject([{ agent_id: 'dead', events: 2 }])
    expect(await sessions(trail, { ...byLog, until: new Date(`${DAY}T19:00:00Z`) })).toEqual([])
    // The latest by the window's time comes first: a limit cannot hide what has just arrived.
    expect(await sessions(trail, { by: 'log_time', limit: 1 })).toMatchObject([{ session_id: 'spooled' }])
    expect(await sessions(trail, { limit: 1 })).toMatchObject([{ session_id: 'live' }])
    const found: string[] = []
    for await (const { session_id: id } of changes) found.push(id)
    expect(found).toEqual(['spooled', 'spooled'])
  })

  it('reads the granules of a window by the time of the log, not all rows', async () => {
    const { server } = await tests.newTrail()
    await seedEvents(server, [{ log_offset: 0 }])
    const query = `SELECT count(agent_id) FROM audit_events WHERE log_time >= '2026-11-24 10:00:00'`
    expect(await execute(server, `EXPLAIN indexes = 1 ${query}`)).toContain('Name: by_log_time')
  })

  it('counts events by type, of all runs or of one', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, EVENTS)
    const all = await eventCounts(trail)
    expect(all.slice(0, 3)).toEqual([
      { event_type: 'session_start', events: 4 },
      { event_type: 'tool_call', events: 4 },
      { event_type: 'session_end', events: 3 },
    ])
    expect(all.reduce((sum, { events }) => sum + events, 0)).toBe(EVENTS.length)
    expect(await eventCounts(trail, { runId: runId(2) })).toEqual([{ event_type: 'session_resumed', events: 1 }])
    expect(await eventCounts(trail, { runId: runId(3) })).toEqual([])
  })
})
