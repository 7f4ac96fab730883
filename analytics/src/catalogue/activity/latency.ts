/** How long models and tools take. */
import { AGENT_RANGE_PARAMS, type AgentRange, EVENTS, IN_AGENT_RANGE, MAX_DAYS, type NamedQuery } from '../query.ts'

export interface LatencyRow {
  readonly kind: string
  readonly name: string
  readonly agent_id: string
  readonly calls: number | bigint
  readonly p50_ms: number
  readonly p90_ms: number
  readonly p95_ms: number
  readonly p99_ms: number
  readonly max_ms: number | bigint
}

const QUANTILES = ['p50', 'p90', 'p95', 'p99'].map((name, index) => `quantiles[${index + 1}] AS ${name}_ms`).join(', ')

export const latency: NamedQuery<AgentRange, LatencyRow> = {
  name: 'latency',
  answers: 'How long do calls of each model and each tool take?',
  reads: 'latency_ms of llm_call and execution_time_ms of tool_result events in the range, where they were recorded.',
  cost: {
    index: 'by_time',
    passes: 1,
    note: 'A sketch of some KiB for each model, tool and agent; quantiles are within 1 %.',
  },
  params: AGENT_RANGE_PARAMS,
  columns: {
    kind: { kind: 'text', about: 'model or tool.' },
    name: { kind: 'text', about: 'The model or the tool; empty where it was not recorded.' },
    agent_id: { kind: 'text', about: 'The agent.' },
    calls: { kind: 'integer', about: 'Calls with a recorded time.' },
    p50_ms: { kind: 'number', about: 'Median, milliseconds.' },
    p90_ms: { kind: 'number', about: '90th percentile, milliseconds.' },
    p95_ms: { kind: 'number', about: '95th percentile, milliseconds.' },
    p99_ms: { kind: 'number', about: '99th percentile, milliseconds.' },
    max_ms: { kind: 'integer', about: 'The longest, milliseconds, exact.' },
  },
  order: ['kind', 'name', 'agent_id'],
  maxDays: MAX_DAYS.sums,
  sql: `
    SELECT kind, name, agent_id, calls, ${QUANTILES}, max_ms
    FROM (
      SELECT if(e.event_type = 'llm_call', 'model', 'tool') AS kind,
        ifNull(if(e.event_type = 'llm_call', e.model_id, e.tool_name), '') AS name, e.agent_id AS agent_id, count() AS calls,
        quantilesDD(0.01, 0.5, 0.9, 0.95, 0.99)(assumeNotNull(if(e.event_type = 'llm_call', e.latency_ms, e.execution_time_ms))) AS quantiles,
        max(assumeNotNull(if(e.event_type = 'llm_call', e.latency_ms, e.execution_time_ms))) AS max_ms
      FROM ${EVENTS}
      WHERE ${IN_AGENT_RANGE} AND (
        (e.event_type = 'llm_call' AND e.latency_ms IS NOT NULL) OR (e.event_type = 'tool_result' AND e.execution_time_ms IS NOT NULL))
      GROUP BY kind, name, e.agent_id)`,
}
