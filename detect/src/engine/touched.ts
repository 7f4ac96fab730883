/** What new rows touch: sessions that a detector may find something in, and agents with the time of their events. */
import type { Analytics, LogRange } from '@agent-audit/analytics'
import { DECISION_TYPES } from '../findings/decisions.ts'
import { inRanges } from './final-log.ts'

/** Decisions on findings are events too, and no detector judges them. */
export const NOT_OF_FINDINGS: string = `event_type NOT IN (${DECISION_TYPES})`

/** All the events of some ranges together. Times are milliseconds since 1970. */
export interface Touched {
  readonly events: number
  /** By the log's clock. */
  readonly firstLogTime: number
  /** By the server's clock. */
  readonly now: number
}

export async function touchedBy(analytics: Analytics, ranges: readonly LogRange[]): Promise<Touched> {
  const { condition, params } = inRanges(ranges)
  const [row] = await analytics.rows<Record<keyof Touched, number | string>>(
    `SELECT count() AS events, toUnixTimestamp64Milli(min(log_time)) AS firstLogTime,
       toUnixTimestamp64Milli(now64(3)) AS now
     FROM {database:Identifier}.audit_events WHERE ${condition} AND ${NOT_OF_FINDINGS}`,
    params,
  )
  return { events: Number(row?.events), firstLogTime: Number(row?.firstLogTime), now: Number(row?.now) }
}

/** A session that some detectors want to see. */
export interface Candidate {
  readonly session_id: string
  readonly events: number
  /** A `1` for each detector, in their order, that may find something in it. */
  readonly mask: string
  /** Where its rows are: in one partition, between two offsets; null where they are in more. */
  readonly at: {
    readonly log: string
    readonly partition: number
    readonly first: number
    readonly last: number
  } | null
}

interface CandidateRow extends Readonly<Record<string, string | number>> {
  readonly session_id: string
  readonly mask: string
  readonly log: string
}

export interface SessionsTouched {
  readonly ranges: readonly LogRange[]
  /** SQL of the detectors, in their order. */
  readonly conditions: readonly string[]
  /** Rows that the log appended earlier are not looked at, milliseconds since 1970. */
  readonly sinceMs: number
}

/** The sessions with rows in the ranges that a detector wants, over all their rows: one query. */
export async function candidatesIn(
  analytics: Analytics,
  { ranges, conditions, sinceMs }: SessionsTouched,
): Promise<Candidate[]> {
  const { condition, params } = inRanges(ranges)
  // Each expression on a line of its own: a comment at its end hides nothing else.
  const flags = conditions.map((wanted) => `if(ifNull(toBool((${wanted}\n)), false), '1', '0')`)
  const sql = `
    SELECT session_id, count() AS session_events, concat(${flags.join(', ')}, '') AS mask,
      lower(hex(min(log_id))) AS log, min(log_partition) AS partition,
      if(uniqExact(log_id, log_partition) = 1, min(log_offset), -1) AS first_offset, max(log_offset) AS last_offset
    FROM {database:Identifier}.audit_events
    WHERE log_time >= fromUnixTimestamp64Milli({sinceMs:Int64}) AND ${NOT_OF_FINDINGS} AND session_id IN (
      SELECT session_id FROM {database:Identifier}.audit_events WHERE ${condition} AND ${NOT_OF_FINDINGS})
    GROUP BY session_id HAVING position(mask, '1') > 0`
  const candidates: Candidate[] = []
  const options = { schema: { parse: toCandidate }, params: { ...params, sinceMs: Math.floor(sinceMs) } }
  for await (const candidate of analytics.query(sql, options)) candidates.push(candidate)
  return candidates
}

function toCandidate(value: unknown): Candidate {
  const row = value as CandidateRow
  const [first, last] = [Number(row['first_offset']), Number(row['last_offset'])]
  const at = first < 0 ? null : { log: row.log, partition: Number(row['partition']), first, last }
  return { session_id: row.session_id, events: Number(row['session_events']), mask: row.mask, at }
}

/** An agent with new events, and when the earliest and the latest of them happened, milliseconds since 1970. */
export interface TouchedAgent {
  readonly agent_id: string
  readonly first: number
  readonly last: number
}

export async function agentsIn(analytics: Analytics, ranges: readonly LogRange[]): Promise<TouchedAgent[]> {
  const { condition, params } = inRanges(ranges)
  const rows = await analytics.rows<{ agent_id: string; first: number | string; last: number | string }>(
    `SELECT agent_id, toUnixTimestamp64Milli(min(timestamp)) AS first, toUnixTimestamp64Milli(max(timestamp)) AS last
     FROM {database:Identifier}.audit_events WHERE ${condition} AND ${NOT_OF_FINDINGS}
     GROUP BY agent_id ORDER BY agent_id`,
    params,
  )
  return rows.map(({ agent_id, first, last }) => ({ agent_id, first: Number(first), last: Number(last) }))
}
