/** A small trail whose answers are known: two agents, a sub-agent, approvals, refusals, a correction, a loss. */
import { runId, type SeedRow } from '../seed.ts'

export const DAY = '2026-11-24'
/** The day of the trail. */
export const RANGE = { since: new Date(`${DAY}T00:00:00Z`), until: new Date('2026-11-25T00:00:00Z') }
export const ids = (number: number): string => `01900000-0000-7000-8000-${number.toString(16).padStart(12, '0')}`
/** 64 hex digits that read as a number. */
export const digest = (number: number): string => number.toString(16).padStart(64, '0')
const stamped = { agent_id: 'support', agent_version: '1', model_id: 'claude-sonnet-4-5-20250929', user_id: 'ann' }
const approval = { approver_kind: 'person', identity_source: 'https://login.example.com' }

const S1: readonly SeedRow[] = [
  { at: '10:00:00', event_type: 'session_start', system_prompt_hash: digest(1), session_id: 's1' },
  {
    at: '10:00:01',
    event_type: 'llm_call',
    input_tokens: 1_000_000,
    cache_read_tokens: 400_000,
    cache_write_tokens: 100_000,
    output_tokens: 10_000,
    latency_ms: 100,
  },
  { at: '10:00:02', event_type: 'llm_call', input_tokens: 10, output_tokens: 5, cost_usd: 0.25, latency_ms: 300 },
  { at: '10:00:03', event_type: 'llm_call', error: 'overloaded', error_type: 'Overloaded', outcome: 'error' },
  // Asked for at 10:00:04, approved with another amount after 90 s, run, and confirmed.
  {
    at: '10:00:04',
    event_type: 'approval_request',
    tool_name: 'refund',
    tool_input: '{"eur":900}',
    approval_id: ids(4),
    approval_status: 'pending',
    content: { expires_at: '2026-11-24T11:00:00Z' },
  },
  {
    at: '10:01:34',
    event_type: 'approval_decision',
    tool_name: 'refund',
    approval_id: ids(4),
    approval_status: 'approved',
    approver_id: 'kim',
    approval: { ...approval, modified: ['tool_input.eur'] },
  },
  {
    at: '10:01:35',
    event_type: 'tool_call',
    tool_name: 'refund',
    tool_input: '{"eur":90}',
    arguments_sha256: digest(90),
    requires_approval: true,
    approval_id: ids(4),
    approval_status: 'approved',
    outcome: 'allowed',
  },
  {
    at: '10:01:36',
    event_type: 'tool_result',
    tool_name: 'refund',
    parent_event_id: ids(6),
    outcome: 'success',
    effect: 'confirmed',
    tool_output: 'done',
    execution_time_ms: 1000,
    content: { source: 'bank', untrusted: true },
  },
  // Refused, and then done with the same arguments.
  {
    at: '10:02:00',
    event_type: 'tool_call',
    tool_name: 'mail',
    tool_input: '{}',
    arguments_sha256: digest(7),
    requires_approval: true,
    outcome: 'denied',
    reason_code: 'approval_required',
    reason: 'needs approval',
    policy: { id: 'mail', version: '3' },
  },
  {
    at: '10:03:00',
    event_type: 'tool_call',
    tool_name: 'mail',
    tool_input: '{}',
    arguments_sha256: digest(7),
    requires_approval: true,
    outcome: 'allowed',
  },
  {
    at: '10:03:01',
    event_type: 'tool_result',
    tool_name: 'mail',
    parent_event_id: ids(9),
    outcome: 'success',
    execution_time_ms: 3000,
  },
  {
    at: '10:04:00',
    event_type: 'sandbox_crossing',
    outcome: 'blocked',
    content: { boundary: 'network', direction: 'out', resource: 'evil.example' },
  },
  {
    at: '10:04:01',
    event_type: 'approval_request',
    tool_name: 'wire',
    approval_id: ids(12),
    approval_status: 'pending',
  },
  { at: '10:05:00', event_type: 'session_end', outcome: 'success' },
].map((row) => ({ session_id: 's1', ...stamped, ...row }))

/** The sub-agent of s1, of another model, which starts one in turn; a session of a new prompt; the trail's own. */
const OTHERS: readonly SeedRow[] = [
  {
    at: '10:00:30',
    event_type: 'session_start',
    session_id: 's2',
    agent_id: 'helper',
    parent_session_id: 's1',
    model_id: 'home-made',
  },
  {
    at: '10:00:31',
    event_type: 'llm_call',
    session_id: 's2',
    agent_id: 'helper',
    model_id: 'home-made',
    input_tokens: 7,
    output_tokens: 1,
  },
  {
    at: '10:00:32',
    event_type: 'tool_call',
    session_id: 's2',
    agent_id: 'helper',
    tool_name: 'delete',
    requires_approval: true,
    outcome: 'allowed',
    arguments_sha256: digest(3),
  },
  {
    at: '10:00:33',
    event_type: 'tool_result',
    session_id: 's2',
    agent_id: 'helper',
    tool_name: 'delete',
    parent_event_id: ids(16),
    outcome: 'error',
    error: 'gone',
    error_type: 'NotFound',
    effect: 'unknown',
    execution_time_ms: 20,
  },
  { at: '10:00:40', event_type: 'session_start', session_id: 's3', agent_id: 'helper', parent_session_id: 's2' },
  { at: '10:00:41', event_type: 'session_timeout', session_id: 's3', agent_id: 'helper', outcome: 'error' },
  {
    at: '12:00:00',
    event_type: 'session_start',
    session_id: 's4',
    ...stamped,
    system_prompt_hash: digest(2),
  },
  {
    at: '12:00:01',
    event_type: 'human_intervention',
    session_id: 's4',
    ...stamped,
    approver_id: 'lee',
    tool_call_id: 'c1',
    tool_name: 'mail',
    reason: 'wrong customer',
  },
  {
    at: '12:00:02',
    event_type: 'trail_started',
    session_id: 'trail:2',
    agent_id: 'support',
    run_id: runId(2),
    run_seq: 0,
  },
  {
    at: '12:00:03',
    event_type: 'events_lost',
    session_id: 'trail:2',
    agent_id: 'support',
    run_id: runId(2),
    run_seq: 5,
    reason: 'the spool is full',
    content: { first_run_seq: 1, last_run_seq: 4, count: 4 },
  },
  // Of the day before.
  {
    at: '23:00:00',
    day: '2026-11-23',
    event_type: 'tool_call',
    session_id: 's0',
    agent_id: 'support',
    outcome: 'denied',
  },
]

/** Event n has the id `ids(n)` and the offset n. */
export const EVENTS: readonly SeedRow[] = [...S1, ...OTHERS].map(({ at, day = DAY, ...row }, index) => ({
  run_seq: index,
  ...row,
  event_id: ids(index),
  log_offset: index,
  timestamp: `${String(day)} ${String(at)}.000007`,
  log_time: `${String(day)} ${String(at)}.500`,
}))
