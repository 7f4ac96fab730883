/** What agents did by hour: the history of each, and the largest session of each hour of the window. */
import type { RowSchema } from '@agent-audit/analytics'
import { AGENTS, agentRow, type AgentRow, EVENTS, history, HISTORY_DAYS, HOUR_NUMBER, LEAD_HOURS } from './rows.ts'
import { OF_THE_AGENT } from './rows.ts'

export interface HourlyRow extends AgentRow {
  readonly hours: readonly number[]
  readonly events: readonly number[]
  readonly sessions: readonly number[]
  readonly top_hours: readonly number[]
  /** The largest sessions of the hour, `hash:events`, parted by spaces. */
  readonly top_sessions: readonly string[]
  /** Ids of events of the largest sessions of the hour, parted by spaces. */
  readonly top_ids: readonly string[]
}

export const HOURLY_ROW: RowSchema<HourlyRow> = agentRow({
  hours: 'numbers',
  events: 'numbers',
  sessions: 'numbers',
  top_hours: 'numbers',
  top_sessions: 'texts',
  top_ids: 'texts',
})

/** Largest sessions of an hour that are looked at. */
const LARGEST = 5

/**
 * Grouped by agent, type and hour first, which an aggregate of the table may answer. Sessions are looked at one by one only in the
 * window and the hours before it in which an incident may have begun.
 */
export const HOURLY_SQL: string = `
SELECT agent_id, hours, events, sessions, top_hours, top_sessions, top_ids
FROM (
  SELECT agent_id, groupArray(hour) AS hours, groupArray(n) AS events, groupArray(started) AS sessions
  FROM (
    SELECT agent_id, hour, sumIf(count, ${OF_THE_AGENT}) AS n, sumIf(count, event_type = 'session_start') AS started
    FROM (
      SELECT agent_id, event_type, ${HOUR_NUMBER} AS hour, count() AS count
      FROM ${EVENTS} WHERE ${AGENTS} AND ${history(HISTORY_DAYS)}
      GROUP BY agent_id, event_type, toStartOfHour(timestamp)
    )
    GROUP BY agent_id, hour
  )
  GROUP BY agent_id
) AS history
LEFT JOIN (
  SELECT agent_id, groupArray(hour) AS top_hours, groupArray(counts) AS top_sessions, groupArray(ids) AS top_ids
  FROM (
    SELECT agent_id, hour, arraySlice(arraySort(groupArray((-toInt64(count), toString(first), cityHash64(session_id)))), 1, ${LARGEST}) AS largest,
      arrayStringConcat(arrayMap(each -> concat(toString(each.3), ':', toString(-each.1)), largest), ' ') AS counts,
      arrayStringConcat(arrayMap(each -> each.2, largest), ' ') AS ids
    FROM (
      SELECT agent_id, session_id, ${HOUR_NUMBER} AS hour, count() AS count, argMin(event_id, timestamp) AS first
      FROM ${EVENTS}
      WHERE ${AGENTS} AND ${OF_THE_AGENT}
        AND timestamp >= {since:DateTime64(6)} - INTERVAL ${LEAD_HOURS + 6} HOUR AND timestamp < {until:DateTime64(6)}
      GROUP BY agent_id, session_id, hour
    )
    GROUP BY agent_id, hour
  )
  GROUP BY agent_id
) AS latest USING (agent_id)`

/** Events of the largest session of the hours up to one. */
export function largestSession(row: HourlyRow, { until, width }: { until: number; width: number }): number {
  const sizes = new Map<string, number>()
  for (const [index, hour] of row.top_hours.entries()) {
    if (hour > until || hour <= until - width) continue
    for (const [name = '', events] of (row.top_sessions[index] ?? '').split(' ').map((each) => each.split(':'))) {
      sizes.set(name, (sizes.get(name) ?? 0) + Number(events ?? 0))
    }
  }
  return Math.max(0, ...sizes.values())
}

/** How many sessions had at least so many events in one of the hours up to one. */
export function largeSessions(
  row: HourlyRow,
  { until, width, least }: { until: number; width: number; least: number },
): number {
  const large = row.top_hours.flatMap((hour, index) => {
    if (hour > until || hour <= until - width) return []
    const sessions = (row.top_sessions[index] ?? '').split(' ').map((each) => each.split(':'))
    return sessions.flatMap(([name, events]) => (Number(events) >= least ? [name] : []))
  })
  return new Set(large).size
}

export function idsOf(row: HourlyRow, hour: number): readonly string[] {
  const ids = row.top_ids[row.top_hours.indexOf(hour)] ?? ''
  return ids === '' ? [] : ids.split(' ')
}
