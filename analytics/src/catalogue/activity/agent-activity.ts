/** Figures of each agent. */
import { ERRORS, NOT_OF_THE_TRAIL } from '../../connection/sql.ts'
import { AGENT_RANGE_PARAMS, type AgentRange, EVENTS, IN_AGENT_RANGE, MAX_DAYS, type NamedQuery } from '../query.ts'

export interface AgentActivityRow {
  readonly agent_id: string
  readonly sessions: number | bigint
  readonly users: number | bigint
  readonly events: number | bigint
  readonly llm_calls: number | bigint
  readonly tool_calls: number | bigint
  readonly errors: number | bigint
  readonly denied: number | bigint
  readonly blocked: number | bigint
  readonly input_tokens: number | bigint | null
  readonly output_tokens: number | bigint | null
  readonly first_at: string
  readonly last_at: string
}

export const agentActivity: NamedQuery<AgentRange, AgentActivityRow> = {
  name: 'agent-activity',
  answers: 'What did each agent do: sessions, calls, errors, refusals, tokens?',
  reads: 'All events in the range but those in which a trail records itself.',
  cost: {
    index: 'by_time',
    passes: 1,
    note: 'Keeps each session_id and user_id of the range in memory, to count them exactly.',
  },
  params: AGENT_RANGE_PARAMS,
  columns: {
    agent_id: { kind: 'text', about: 'The agent.' },
    sessions: { kind: 'integer', about: 'Different sessions.' },
    users: { kind: 'integer', about: 'Different users that it acted for.' },
    events: { kind: 'integer', about: 'Events.' },
    llm_calls: { kind: 'integer', about: 'Calls of models.' },
    tool_calls: { kind: 'integer', about: 'Calls of tools, refused ones included.' },
    errors: { kind: 'integer', about: 'Events with an error; the end of a failed session is not counted again.' },
    denied: { kind: 'integer', about: 'Actions that were evaluated, denied and not taken.' },
    blocked: { kind: 'integer', about: 'Actions that were blocked and not taken.' },
    input_tokens: {
      kind: 'integer',
      nullable: true,
      wide: true,
      about: 'Tokens given to models, cached ones included.',
    },
    output_tokens: { kind: 'integer', nullable: true, wide: true, about: 'Tokens that models gave.' },
    first_at: { kind: 'time', about: 'Its first event in the range.' },
    last_at: { kind: 'time', about: 'Its last event in the range.' },
  },
  order: ['agent_id'],
  maxDays: MAX_DAYS.sums,
  sql: `
    SELECT e.agent_id AS agent_id, uniqExact(e.session_id) AS sessions, uniqExact(e.user_id) AS users, count() AS events,
      countIf(e.event_type = 'llm_call') AS llm_calls, countIf(e.event_type = 'tool_call') AS tool_calls,
      countIf(${ERRORS}) AS errors, countIf(e.outcome = 'denied') AS denied, countIf(e.outcome = 'blocked') AS blocked,
      sum(toInt128(e.input_tokens)) AS input_tokens, sum(toInt128(e.output_tokens)) AS output_tokens,
      min(e.timestamp) AS first_at, max(e.timestamp) AS last_at
    FROM ${EVENTS}
    WHERE ${IN_AGENT_RANGE} AND ${NOT_OF_THE_TRAIL}
    GROUP BY e.agent_id`,
}
