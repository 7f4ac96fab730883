/** Each query of the catalogue against a trail whose answers are known. */
import type { Analytics } from '@agent-audit/analytics'
import { beforeAll, describe, expect, it } from 'vitest'
import { LOG_ID, runId, seedEvents } from '../seed.ts'
import { NO_CLICKHOUSE, startTestServer } from '../support.ts'
import { answer } from './support.ts'
import { DAY, digest, EVENTS, ids, RANGE } from './trail.ts'

const at = (time: string): string => `${DAY}T${time}.000007Z`
const position = (offset: number): string => `${LOG_ID}/0/${offset}`

describe.skipIf(NO_CLICKHOUSE !== undefined)(`the catalogue ${NO_CLICKHOUSE ?? ''}`, () => {
  let trail: Analytics
  beforeAll(async () => {
    const opened = await (await startTestServer()).newTrail()
    await seedEvents(opened.server, EVENTS)
    trail = opened
  })

  it('session-trail gives the events of one session in order', async () => {
    const rows = await answer(trail, 'session-trail', { session: 's1' })
    expect(rows.map(({ event_id: id }) => id)).toEqual(Array.from({ length: 14 }, (_, index) => ids(index)))
    expect(rows[5]).toMatchObject({
      timestamp: at('10:01:34'),
      event_type: 'approval_decision',
      approver_id: 'kim',
      position: position(5),
    })
    expect(await answer(trail, 'session-trail', { session: 's' })).toEqual([])
  })

  it('sub-agents gives the tree of a session, level by level', async () => {
    const rows = await answer(trail, 'sub-agents', { session: 's1', ...RANGE })
    expect(rows.map((row) => [row.depth, row.session_id, row.parent_session_id, row.state, row.events])).toEqual([
      [0, 's1', null, 'ended', 14],
      [1, 's2', 's1', 'open', 4],
      [2, 's3', 's2', 'timeout', 2],
    ])
    expect(rows[0]).toMatchObject({ outcome: 'success', tool_calls: 3, refused: 2, input_tokens: 1_000_010 })
    expect(await answer(trail, 'sub-agents', { session: 's3', ...RANGE })).toMatchObject([
      { depth: 0, outcome: 'error' },
    ])
  })

  it('agent-activity sums up each agent, without the sessions of the trail itself', async () => {
    expect(await answer(trail, 'agent-activity', RANGE)).toMatchObject([
      { agent_id: 'helper', sessions: 2, users: 0, events: 6, tool_calls: 1, errors: 1, denied: 0 },
      {
        agent_id: 'support',
        sessions: 2,
        users: 1,
        events: 16,
        llm_calls: 3,
        errors: 1,
        denied: 1,
        blocked: 1,
        output_tokens: 10_005,
        first_at: at('10:00:00'),
        last_at: at('12:00:01'),
      },
    ])
    expect(await answer(trail, 'agent-activity', { ...RANGE, agent: 'helper' })).toHaveLength(1)
  })

  it('tool-activity counts calls and results of each tool', async () => {
    const rows = await answer(trail, 'tool-activity', RANGE)
    expect(
      rows.map((row) => [row.tool_name, row.agent_id, row.calls, row.not_taken, row.succeeded, row.failed]),
    ).toEqual([
      ['delete', 'helper', 1, 0, 0, 1],
      ['mail', 'support', 2, 1, 1, 0],
      ['refund', 'support', 1, 0, 1, 0],
    ])
    expect(rows[1]?.execution_p50_ms).toBeCloseTo(3000, -2)
    expect(await answer(trail, 'tool-activity', { ...RANGE, tool: 'mail' })).toHaveLength(1)
  })

  it('error-rates gives the share of failed calls by hour and day', async () => {
    const rows = await answer(trail, 'error-rates', { ...RANGE, every: 'hour', agent: 'support' })
    expect(rows).toMatchObject([
      {
        start: `${DAY}T10:00:00Z`,
        llm_calls: 3,
        llm_errors: 1,
        tool_results: 2,
        tool_errors: 0,
        tool_error_rate: 0,
        top_error_type: 'Overloaded',
      },
    ])
    expect(rows[0]?.llm_error_rate).toBeCloseTo(1 / 3)
    expect(await answer(trail, 'error-rates', { ...RANGE, agent: 'helper' })).toMatchObject([
      { start: `${DAY}T00:00:00Z`, llm_error_rate: 0, tool_error_rate: 1, other_errors: 0, top_error_type: 'NotFound' },
    ])
  })

  it('latency gives quantiles of each model and tool within 1 %', async () => {
    const rows = await answer(trail, 'latency', { ...RANGE, agent: 'support' })
    expect(rows.map((row) => [row.kind, row.name, row.calls, row.max_ms])).toEqual([
      ['model', 'claude-sonnet-4-5-20250929', 2, 300],
      ['tool', 'mail', 1, 3000],
      ['tool', 'refund', 1, 1000],
    ])
    expect(Math.abs((rows[2]?.p99_ms ?? 0) - 1000)).toBeLessThanOrEqual(10)
  })

  it('tokens sums up the whole days that the range touches', async () => {
    const hour = { since: new Date(`${DAY}T23:00:00Z`), until: new Date(`${DAY}T23:30:00Z`) }
    expect(await answer(trail, 'tokens', hour)).toEqual(await answer(trail, 'tokens', RANGE))
  })

  it('tokens keeps cached tokens apart, recorded from computed cost, and names what has no price', async () => {
    const [unknown, known] = await answer(trail, 'tokens', RANGE)
    expect(unknown).toMatchObject({
      day: DAY,
      agent_id: 'helper',
      model_id: 'home-made',
      calls: 1,
      computed_calls: 0,
      computed_cost_usd: null,
      recorded_cost_usd: null,
      unpriced_calls: 1,
      unpriced_because: 'no price of the model',
      price: null,
    })
    expect(known).toMatchObject({
      model_id: 'claude-sonnet-4-5-20250929',
      calls: 3,
      input_tokens: 1_000_010,
      cache_read_tokens: 400_000,
      cache_write_tokens: 100_000,
      uncached_input_tokens: 500_010,
      output_tokens: 10_005,
    })
    // The failed call has neither tokens nor a cost.
    expect(known).toMatchObject({
      recorded_calls: 1,
      recorded_cost_usd: 0.25,
      computed_calls: 1,
      unpriced_calls: 1,
      unpriced_because: 'input or output tokens not recorded',
    })
    // 500,000 at 3 USD, 400,000 at 0.30, 100,000 at 3.75 and 10,000 at 15, each a million.
    expect(known?.computed_cost_usd).toBeCloseTo(1.5 + 0.12 + 0.375 + 0.15, 10)
    expect(known?.price).toMatch(/^claude-sonnet-4-5 from 1970-01-01: https:.* read on 2026-/)
  })

  it('approvals gives what is pending, who decided, and how long that took', async () => {
    const [decided, pending] = await answer(trail, 'approvals', RANGE)
    expect(decided).toMatchObject({
      approval_id: ids(4),
      status: 'approved',
      tool_input: '{"eur":900}',
      approver_id: 'kim',
      approver_kind: 'person',
      identity_source: 'https://login.example.com',
      self_approval: false,
      seconds_to_decide: 90,
      expires_at: '2026-11-24T11:00:00Z',
      executed_at: at('10:01:35'),
    })
    expect(pending).toMatchObject({
      approval_id: ids(12),
      status: 'pending',
      approver_id: null,
      self_approval: null,
      decided_at: null,
      seconds_to_decide: null,
      executed_at: null,
    })
    expect(await answer(trail, 'approvals', { ...RANGE, status: 'pending' })).toHaveLength(1)
    expect(await answer(trail, 'approvals', { ...RANGE, approver: 'kim' })).toHaveLength(1)
    // Decided after the range: known, since the question is what became of the request.
    const early = { since: RANGE.since, until: new Date(`${DAY}T10:00:10Z`) }
    expect(await answer(trail, 'approvals', early)).toMatchObject([{ status: 'approved' }])
  })

  it('not-taken gives refused actions with policy and reason', async () => {
    expect(await answer(trail, 'not-taken', RANGE)).toMatchObject([
      {
        timestamp: at('10:02:00'),
        outcome: 'denied',
        tool_name: 'mail',
        reason_code: 'approval_required',
        policy_id: 'mail',
        policy_version: '3',
        resource: null,
        position: position(8),
      },
      { timestamp: at('10:04:00'), outcome: 'blocked', event_type: 'sandbox_crossing', resource: 'evil.example' },
    ])
  })

  it('near-misses gives what was refused, failed or corrected, and whether it went ahead after all', async () => {
    const rows = await answer(trail, 'near-misses', RANGE)
    expect(
      rows.map((row) => [row.event_id, row.kind, row.tool_name ?? row.resource, row.went_ahead, row.person]),
    ).toEqual([
      [ids(17), 'failed', 'delete', false, null],
      [ids(5), 'corrected', 'refund', false, 'kim'],
      [ids(8), 'refused', 'mail', true, null],
      [ids(11), 'refused', 'evil.example', false, null],
      [ids(21), 'corrected', 'mail', false, 'lee'],
    ])
  })

  it('version-changes gives a new prompt under the same version', async () => {
    expect(await answer(trail, 'version-changes', RANGE)).toMatchObject([
      { timestamp: at('10:00:40'), agent_id: 'helper', changed: 'model', model_before: 'home-made', model: null },
      {
        timestamp: at('12:00:00'),
        agent_id: 'support',
        changed: 'prompt',
        without_version: true,
        version: '1',
        prompt_before: digest(1),
        prompt: digest(2),
        session_id: 's4',
      },
    ])
  })

  it('data-touched gives the calls for a user that ran, with source and size of what came back', async () => {
    const rows = await answer(trail, 'data-touched', { ...RANGE, user: 'ann' })
    expect(rows).toMatchObject([
      {
        kind: 'tool',
        target: 'refund',
        tool_input: '{"eur":90}',
        source: 'bank',
        untrusted: true,
        result: 'success',
        effect: 'confirmed',
        output_bytes: 4,
      },
      { kind: 'tool', target: 'mail', source: null, untrusted: null, result: 'success', output_bytes: null },
    ])
    expect(await answer(trail, 'data-touched', { ...RANGE, user: 'bob' })).toEqual([])
  })

  it('runs and losses give what was not seen, and what the producer says of it', async () => {
    expect(await answer(trail, 'runs', RANGE)).toMatchObject([
      {
        run_id: runId(1),
        started: false,
        events: 22,
        first_run_seq: 0,
        last_run_seq: 21,
        not_seen: 0,
        reported_lost: null,
      },
      {
        run_id: runId(2),
        started: true,
        stopped: false,
        events: 2,
        not_seen: 4,
        reported_lost: 4,
        longest_lag_s: 0.499993,
      },
    ])
    expect(await answer(trail, 'losses', RANGE)).toMatchObject([
      {
        run_id: runId(2),
        of_run_id: runId(2),
        first_run_seq: 1,
        last_run_seq: 4,
        events: 4,
        reason: 'the spool is full',
        set_aside: null,
      },
    ])
  })
})
