/** A session comes back as it was recorded. */
import { agents, completeness, migrate, sessions, sessionTrail } from '@agent-audit/analytics'
import { EVENTS_TABLE, NEWEST_SCHEMA } from '@agent-audit/schemas'
import { beforeAll, describe, expect, it } from 'vitest'
import { LOG_ID, runId, seedEvents } from './seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from './support.ts'

/** A time of that minute. */
function at(second: string): string {
  return `2026-11-24 10:00:${second}`
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`sessionTrail ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  it('gives every field: bytes as hex, JSON parsed, times with microseconds, the rest as it was', async () => {
    const trail = await tests.newTrail()
    const recorded = {
      run_id: 'ab'.repeat(16),
      run_seq: 7,
      producer_id: 'p',
      session_seq: 3,
      retention_class: 'default',
      event_id: '01900000-0000-7000-8000-00000000abcd',
      event_type: 'llm_call',
      session_id: 's1',
      agent_id: 'a',
      user_id: 'u',
      agent_version: '1.2',
      model_id: 'm',
      system_prompt_hash: 'cd'.repeat(32),
      step_number: 2,
      parent_event_id: '01900000-0000-7000-8000-000000000001',
      parent_session_id: 's0',
      trace_id: 'f'.repeat(32),
      span_id: 'e'.repeat(16),
      outcome: 'success',
      reason: 'why',
      provider: 'openai',
      stop_reason: 'stop',
      reasoning: 'because',
      output_text: 'it\'s "fine" \\ \n 🙂 end',
      input_messages: [{ role: 'user', content: 'hi' }],
      tool_calls_requested: [{ id: 'c', name: 't', input: { z: 1, a: [null, true] } }],
      input_tokens: 10,
      output_tokens: 0,
      cache_read_tokens: 1,
      cache_write_tokens: 2,
      latency_ms: 832,
      cost_usd: 0.000_125,
      tool_call_id: 'c',
      tool_name: 't',
      tool_input: { a: 1 },
      tool_output: '{"stays":"text"}',
      arguments_sha256: 'ef'.repeat(32),
      error: 'e',
      error_type: 'E',
      execution_time_ms: 5,
      requires_approval: true,
      approval_id: '01900000-0000-7000-8000-000000000002',
      approval_status: 'approved',
      approver_id: 'lena',
      content: { request: { temperature: 0 } },
      field_notes: { synthetic: ['timestamp'] },
      replay_of: 'x/0/1',
      environment: 'test',
      on_behalf_of: 'service:billing',
      idempotency_key: 'k-1',
      reason_code: 'tool_error',
      effect: 'unknown',
      output_sha256: '0a'.repeat(32),
      policy: { id: 'refunds', version: '7' },
      approval: { approver_kind: 'person', modified: ['tool_input.amount'] },
      log_id: LOG_ID,
      log_partition: 3,
      log_offset: 12,
    }
    await seedEvents(trail.server, [
      {
        ...recorded,
        writer_schema: '-2',
        timestamp: '2026-11-24 10:00:00.123456',
        log_time: '2026-11-24 10:00:00.789',
      },
    ])
    expect(await sessionTrail(trail, 's1')).toEqual([
      {
        ...recorded,
        timestamp: '2026-11-24T10:00:00.123456Z',
        log_time: '2026-11-24T10:00:00.789Z',
        writer_schema: 'fffffffffffffffe',
      },
    ])
    expect(Object.keys(recorded)).toEqual(
      expect.arrayContaining(NEWEST_SCHEMA.fields.map(({ name }) => name).filter((name) => name !== 'timestamp')),
    )
  })

  it('a value that was not recorded is null, never 0 or empty', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, [{ log_offset: 0 }])
    const [event] = await sessionTrail(trail, 's1')
    const optional = NEWEST_SCHEMA.fields.filter((field) => field.optional).map(({ name }) => name)
    expect(optional.length).toBeGreaterThan(20)
    expect(event).toMatchObject(Object.fromEntries(optional.map((name) => [name, null])))
  })

  it('sorts by time, then run_seq, over runs and partitions, and leaves other sessions out', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, [
      { run_seq: 2, log_offset: 0, timestamp: at('03.000000') },
      { run_id: runId(2), run_seq: 9, log_offset: 1, timestamp: at('01.000001') },
      { run_seq: 0, log_offset: 2, timestamp: at('01.000000') },
      { run_seq: 5, log_offset: 3, timestamp: at('02.000000') },
      { run_seq: 4, log_offset: 4, timestamp: at('02.000000') },
      { run_seq: 1, log_offset: 5, timestamp: at('01.500000'), session_id: 's10' },
    ])
    const events = await sessionTrail(trail, 's1')
    expect(events.map((event) => event.run_seq)).toEqual([0, 9, 4, 5, 2])
    expect(await sessionTrail(trail, 'unknown')).toEqual([])
  })

  it("a session's name is data, not SQL", async () => {
    const trail = await tests.newTrail()
    const name = `s'; DROP TABLE ${EVENTS_TABLE} -- {x:String} \\`
    await seedEvents(trail.server, [{ log_offset: 0, session_id: name }])
    expect(await sessionTrail(trail, name)).toHaveLength(1)
  })

  it('text of another producer that is no JSON stays text; integers beyond a double keep their digits', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, [{ log_offset: 0, content: 'not json', input_tokens: 5 }])
    const [event] = await sessionTrail(trail, 's1')
    expect(event).toMatchObject({ content: 'not json', input_tokens: 5 })
    expect(event).not.toHaveProperty('exact')
    await seedEvents(trail.server, [{ log_offset: 1, session_id: 'big', latency_ms: '9007199254740993' }])
    const [big] = await sessionTrail(trail, 'big')
    expect(big).toMatchObject({ latency_ms: 9_007_199_254_740_992, exact: { latency_ms: '9007199254740993' } })
  })

  it('a user with a read-only profile can read', async () => {
    await migrate(tests.connect())
    await seedEvents(tests.server(), [{ log_offset: 0 }])
    const reader = tests.connect('reader')
    expect(await sessionTrail(reader, 's1')).toHaveLength(1)
    expect(await sessions(reader)).toHaveLength(1)
    expect(await agents(reader, { since: new Date(0) })).toHaveLength(1)
    expect((await completeness(reader)).verdict).toBe('complete')
  })
})
