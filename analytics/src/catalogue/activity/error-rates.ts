/** Error rates of models and tools over time. */
import { ERRORS } from '../../connection/sql.ts'
import { AGENT_RANGE_PARAMS, type AgentRange, EVENTS, IN_AGENT_RANGE, MAX_DAYS, type NamedQuery } from '../query.ts'

export interface ErrorRatesParams extends AgentRange {
  /** @defaultValue `day` */
  readonly every?: 'hour' | 'day' | undefined
}

export interface ErrorRatesRow {
  readonly start: string
  readonly agent_id: string
  readonly llm_calls: number | bigint
  readonly llm_errors: number | bigint
  readonly llm_error_rate: number | null
  readonly tool_results: number | bigint
  readonly tool_errors: number | bigint
  readonly tool_error_rate: number | null
  readonly other_errors: number | bigint
  readonly top_error_type: string | null
}

const MODEL = `e.event_type = 'llm_call'`
const TOOL = `e.event_type = 'tool_result'`

export const errorRates: NamedQuery<ErrorRatesParams, ErrorRatesRow> = {
  name: 'error-rates',
  answers: 'Which share of the calls of models and tools failed, by agent and hour or day?',
  reads:
    'llm_call and tool_result events in the range, and every other event with an error. Refused calls are not errors.',
  cost: { index: 'by_time', passes: 1 },
  params: {
    ...AGENT_RANGE_PARAMS,
    every: { kind: 'choice', choices: ['hour', 'day'], fallback: 'day', about: 'length of an interval (UTC)' },
  },
  columns: {
    start: { kind: 'time', about: 'Start of the interval, UTC.' },
    agent_id: { kind: 'text', about: 'The agent.' },
    llm_calls: { kind: 'integer', about: 'Calls of models.' },
    llm_errors: { kind: 'integer', about: 'Those with an error.' },
    llm_error_rate: { kind: 'number', nullable: true, about: 'Their share, 0 to 1; null without calls.' },
    tool_results: { kind: 'integer', about: 'Results of tools.' },
    tool_errors: { kind: 'integer', about: 'Those with an error.' },
    tool_error_rate: { kind: 'number', nullable: true, about: 'Their share, 0 to 1; null without results.' },
    other_errors: { kind: 'integer', about: 'Errors outside of both.' },
    top_error_type: { kind: 'text', nullable: true, about: 'The most frequent error_type, about.' },
  },
  order: ['start', 'agent_id'],
  maxDays: MAX_DAYS.sums,
  sql: `
    SELECT if({every:Nullable(String)} = 'hour', toStartOfHour(e.timestamp), toDateTime(toStartOfDay(e.timestamp), 'UTC')) AS start,
      e.agent_id AS agent_id,
      countIf(${MODEL}) AS llm_calls, countIf(${MODEL} AND ${ERRORS}) AS llm_errors,
      if(llm_calls = 0, NULL, llm_errors / llm_calls) AS llm_error_rate,
      countIf(${TOOL}) AS tool_results, countIf(${TOOL} AND ${ERRORS}) AS tool_errors,
      if(tool_results = 0, NULL, tool_errors / tool_results) AS tool_error_rate,
      countIf(NOT (${MODEL}) AND NOT (${TOOL})) AS other_errors,
      topKIf(1)(e.error_type, e.error_type IS NOT NULL)[1] AS top_error_type
    FROM ${EVENTS}
    WHERE ${IN_AGENT_RANGE} AND (e.event_type IN ('llm_call', 'tool_result') OR ${ERRORS})
    GROUP BY start, e.agent_id`,
}
