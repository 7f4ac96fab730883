/** Figures of each tool, by the agent that called it. */
import {
  EVENTS,
  IN_AGENT_RANGE,
  AGENT_RANGE_PARAMS,
  type AgentRange,
  MAX_DAYS,
  type NamedQuery,
  optional,
} from '../query.ts'

export interface ToolActivityParams extends AgentRange {
  readonly tool?: string | undefined
}

export interface ToolActivityRow {
  readonly tool_name: string
  readonly agent_id: string
  readonly calls: number | bigint
  readonly not_taken: number | bigint
  readonly succeeded: number | bigint
  readonly failed: number | bigint
  readonly sessions: number | bigint
  readonly execution_p50_ms: number | null
  readonly execution_p95_ms: number | null
  readonly last_at: string
}

export const toolActivity: NamedQuery<ToolActivityParams, ToolActivityRow> = {
  name: 'tool-activity',
  answers: 'How often did each agent call each tool, and how did the calls end?',
  reads:
    'tool_call and tool_result events in the range. A result counts in the range that it lies in, not in that of its call.',
  cost: { index: 'by_time', passes: 1, note: 'Keeps the session_ids of each tool in memory, to count them exactly.' },
  params: { ...AGENT_RANGE_PARAMS, tool: { kind: 'text', about: 'only this tool_name' } },
  columns: {
    tool_name: { kind: 'text', about: 'The tool.' },
    agent_id: { kind: 'text', about: 'The agent.' },
    calls: { kind: 'integer', about: 'Calls, refused ones included.' },
    not_taken: { kind: 'integer', about: 'Calls that did not run: denied, blocked, or their judge failed.' },
    succeeded: { kind: 'integer', about: 'Results with outcome success.' },
    failed: { kind: 'integer', about: 'Results with an error.' },
    sessions: { kind: 'integer', about: 'Different sessions.' },
    execution_p50_ms: { kind: 'number', nullable: true, about: 'Median run time, milliseconds, within 1 %.' },
    execution_p95_ms: {
      kind: 'number',
      nullable: true,
      about: '95th percentile of the run time, milliseconds, within 1 %.',
    },
    last_at: { kind: 'time', about: 'Its last event in the range.' },
  },
  order: ['tool_name', 'agent_id'],
  maxDays: MAX_DAYS.sums,
  sql: `
    SELECT assumeNotNull(e.tool_name) AS tool_name, e.agent_id AS agent_id, countIf(e.event_type = 'tool_call') AS calls,
      countIf(e.event_type = 'tool_call' AND e.outcome IN ('denied', 'blocked', 'error')) AS not_taken,
      countIf(e.event_type = 'tool_result' AND e.outcome = 'success') AS succeeded,
      countIf(e.event_type = 'tool_result' AND (e.outcome = 'error' OR e.error IS NOT NULL)) AS failed,
      uniqExact(e.session_id) AS sessions,
      if(count(e.execution_time_ms) = 0, NULL, quantilesDD(0.01, 0.5, 0.95)(e.execution_time_ms)[1]) AS execution_p50_ms,
      if(count(e.execution_time_ms) = 0, NULL, quantilesDD(0.01, 0.5, 0.95)(e.execution_time_ms)[2]) AS execution_p95_ms,
      max(e.timestamp) AS last_at
    FROM ${EVENTS}
    WHERE ${IN_AGENT_RANGE} AND e.event_type IN ('tool_call', 'tool_result') AND e.tool_name IS NOT NULL
      AND ${optional('tool', 'e.tool_name')}
    GROUP BY e.tool_name, e.agent_id`,
}
