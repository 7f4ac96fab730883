/** Figures of each agent, and the number of stored events by type. */
import { EVENTS_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import { exactSum, number, numbersOf, text } from '../connection/rows.ts'
import { ERRORS, isoText, NOT_OF_THE_TRAIL, type TimeWindow, windowOf } from '../connection/sql.ts'

export interface AgentsOptions extends TimeWindow {
  /** Most agents to return, those with the most events. @defaultValue 50 */
  readonly limit?: number | undefined
}

/** One agent's events in a window. Null tokens were not recorded, which differs from 0. */
export interface AgentSummary {
  readonly agent_id: string
  readonly sessions: number
  readonly events: number
  readonly llm_calls: number
  readonly tool_calls: number
  readonly errors: number
  /** Actions that were evaluated and not taken. */
  readonly denied: number
  readonly blocked: number
  readonly input_tokens: number | null
  readonly output_tokens: number | null
  /** Of its last event, `2026-11-24T10:00:00.123456Z`. */
  readonly last_at: string
  /** Exact digits of the sums that a double cannot hold, by field; those fields themselves are rounded. Absent without such sums. */
  readonly exact?: Readonly<Record<string, string>> | undefined
}

export interface EventCount {
  readonly event_type: string
  readonly events: number
}

const DEFAULT_LIMIT = 50

/** Sums up the window by agent, busiest first. Excludes the trail's own sessions (`trail:<run>`). */
export async function agents(connection: Analytics, options: AgentsOptions = {}): Promise<AgentSummary[]> {
  const { analytics } = await withoutQuarantined(connection)
  const { condition, parameters } = windowOf(options)
  const rows = await analytics.rows<Record<keyof AgentSummary, unknown>>(
    `SELECT agent_id, uniqExact(session_id) AS sessions, count() AS events,
       countIf(event_type = 'llm_call') AS llm_calls, countIf(event_type = 'tool_call') AS tool_calls,
       countIf(${ERRORS}) AS errors, countIf(e.outcome = 'denied') AS denied, countIf(e.outcome = 'blocked') AS blocked,
       ${exactSum('e.input_tokens')} AS input_tokens, ${exactSum('e.output_tokens')} AS output_tokens, ${isoText('max(timestamp)')} AS last_at
     FROM {database:Identifier}.${EVENTS_TABLE} AS e
     WHERE ${condition} AND ${NOT_OF_THE_TRAIL}
     GROUP BY agent_id
     ORDER BY events DESC, agent_id
     LIMIT {limit:UInt32}`,
    { ...parameters, limit: options.limit ?? DEFAULT_LIMIT },
  )
  return rows.map((row) => ({
    agent_id: text(row, 'agent_id'),
    sessions: number(row, 'sessions'),
    events: number(row, 'events'),
    llm_calls: number(row, 'llm_calls'),
    tool_calls: number(row, 'tool_calls'),
    errors: number(row, 'errors'),
    denied: number(row, 'denied'),
    blocked: number(row, 'blocked'),
    ...numbersOf(row, ['input_tokens', 'output_tokens']),
    last_at: text(row, 'last_at'),
  }))
}

/** Counts the stored events by type, most frequent first: all events, or those of one run (`runId`, 32 hex digits). */
export async function eventCounts(
  connection: Analytics,
  options: { readonly runId?: string | undefined } = {},
): Promise<EventCount[]> {
  const { analytics } = await withoutQuarantined(connection)
  const ofRun = options.runId === undefined ? '' : 'WHERE run_id = unhex({runId:String})'
  const rows = await analytics.rows<Record<keyof EventCount, unknown>>(
    `SELECT event_type, count() AS events
     FROM {database:Identifier}.${EVENTS_TABLE} ${ofRun}
     GROUP BY event_type
     ORDER BY events DESC, event_type`,
    { runId: options.runId ?? '' },
  )
  return rows.map((row) => ({ event_type: text(row, 'event_type'), events: number(row, 'events') }))
}
