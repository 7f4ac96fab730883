/** The list of sessions: one row a session. */
import { EVENTS_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import { exactSum, number, numbersOf, text } from '../connection/rows.ts'
import { clockOf, ERRORS, isoText, NOT_OF_THE_TRAIL, type TimeWindow, windowOf } from '../connection/sql.ts'

export interface SessionsOptions extends TimeWindow {
  /** Most sessions to return, the latest ones. @defaultValue 50 */
  readonly limit?: number | undefined
  /** Only sessions of this agent. */
  readonly agent?: string | undefined
}

/** One session over all runs that wrote to it. Null tokens were not recorded, which differs from 0. */
export interface SessionSummary {
  readonly session_id: string
  /** The agent that started it. */
  readonly agent_id: string
  readonly user_id: string | null
  /** Of the first and last event, `2026-11-24T10:00:00.123456Z`. */
  readonly started_at: string
  readonly last_at: string
  /** open: neither ended nor timed out, or resumed since. */
  readonly state: 'open' | 'ended' | 'timeout'
  /** The outcome of its last end. */
  readonly outcome: string | null
  readonly events: number
  readonly llm_calls: number
  readonly tool_calls: number
  readonly errors: number
  readonly input_tokens: number | null
  readonly output_tokens: number | null
  /** Exact digits of the sums that a double cannot hold, by field; those fields themselves are rounded. Absent without such sums. */
  readonly exact?: Readonly<Record<string, string>> | undefined
}

const DEFAULT_LIMIT = 50

/**
 * Lists the sessions with an event in the window, the latest by the window's time first. The figures of a session count all of its events, also those
 * outside of the window. Excludes the trail's own sessions (`trail:<run>`).
 */
export async function sessions(connection: Analytics, options: SessionsOptions = {}): Promise<SessionSummary[]> {
  const { analytics } = await withoutQuarantined(connection)
  const { condition, parameters } = windowOf(options)
  const clock = clockOf(options)
  const ofAgent = options.agent === undefined ? '' : 'AND agent_id = {agent:String}'
  const table = `{database:Identifier}.${EVENTS_TABLE}`
  const rows = await analytics.rows<Record<keyof SessionSummary, unknown>>(
    `SELECT session_id,
       argMin(e.agent_id, e.timestamp) AS agent_id, any(e.user_id) AS user_id,
       ${isoText('min(e.timestamp)')} AS started_at, ${isoText('max(e.timestamp)')} AS last_at,
       argMaxIf(event_type, e.timestamp, event_type IN ('session_start', 'session_resumed', 'session_end', 'session_timeout')) AS state,
       argMaxIf(tuple(e.outcome), e.timestamp, event_type IN ('session_end', 'session_timeout')).1 AS outcome,
       count() AS events, countIf(event_type = 'llm_call') AS llm_calls, countIf(event_type = 'tool_call') AS tool_calls,
       countIf(${ERRORS}) AS errors, ${exactSum('e.input_tokens')} AS input_tokens, ${exactSum('e.output_tokens')} AS output_tokens
     FROM ${table} AS e
     WHERE session_id IN (
       SELECT session_id FROM ${table} WHERE ${condition} AND ${NOT_OF_THE_TRAIL} ${ofAgent}
       GROUP BY session_id ORDER BY max(${clock}) DESC LIMIT {limit:UInt32})
     GROUP BY session_id
     ORDER BY max(e.${clock}) DESC, session_id`,
    { ...parameters, agent: options.agent ?? '', limit: options.limit ?? DEFAULT_LIMIT },
  )
  return rows.map((row) => ({
    session_id: text(row, 'session_id'),
    agent_id: text(row, 'agent_id'),
    user_id: row.user_id as string | null,
    started_at: text(row, 'started_at'),
    last_at: text(row, 'last_at'),
    state: stateAfter(text(row, 'state')),
    outcome: row.outcome as string | null,
    events: number(row, 'events'),
    llm_calls: number(row, 'llm_calls'),
    tool_calls: number(row, 'tool_calls'),
    errors: number(row, 'errors'),
    ...numbersOf(row, ['input_tokens', 'output_tokens']),
  }))
}

function stateAfter(lastTurn: string): SessionSummary['state'] {
  if (lastTurn === 'session_end') return 'ended'
  return lastTurn === 'session_timeout' ? 'timeout' : 'open'
}
