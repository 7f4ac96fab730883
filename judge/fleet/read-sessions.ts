/** The sessions of a made fleet that a session detector asks for: whole, in order, as the engine gives them. */
import { type Analytics, EVENT_COLUMNS, toEvent } from '@agent-audit/analytics'
import type { QueryWindow, Session, SessionEvent } from '@agent-audit/detect'

/** Sessions of a query. */
const PAGE = 500
const EVENTS = '{database:Identifier}.audit_events'
const AS_EVENT = { parse: (row: unknown): SessionEvent => toEvent(row as Record<string, unknown>) }

/**
 * Sessions of the window's agents with an event in it.
 * @param candidates - SQL of the detector, over the rows of a session
 */
export async function readSessions(analytics: Analytics, window: QueryWindow, candidates: string): Promise<Session[]> {
  const rows = await analytics.rows<{ session_id: string }>(
    `SELECT session_id FROM ${EVENTS}
    WHERE session_id IN (
      SELECT session_id FROM ${EVENTS}
      WHERE agent_id IN {agents:Array(String)} AND timestamp >= {since:DateTime64(6)} AND timestamp < {until:DateTime64(6)}
    )
    GROUP BY session_id HAVING ${candidates} ORDER BY session_id`,
    { ...window },
  )
  const sessions: Session[] = []
  for (let from = 0; from < rows.length; from += PAGE) {
    const ids = rows.slice(from, from + PAGE).map(({ session_id }) => session_id)
    sessions.push(...(await readPage(analytics, ids)))
  }
  return sessions
}

async function readPage(analytics: Analytics, ids: readonly string[]): Promise<Session[]> {
  const sql = `SELECT ${EVENT_COLUMNS} FROM ${EVENTS} AS e WHERE e.session_id IN {ids:Array(String)}
    ORDER BY e.session_id, e.timestamp, e.run_seq`
  const events: SessionEvent[] = []
  for await (const event of analytics.query(sql, { schema: AS_EVENT, params: { ids } })) events.push(event)
  return [...Map.groupBy(events, ({ session_id }) => session_id)].map(([session_id, own]) => ({
    session_id,
    agent_id: own[0]?.agent_id ?? '',
    events: own,
  }))
}
