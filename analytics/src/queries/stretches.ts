/**
 * Where the events of sessions stand in the log, from the projection `sessions` of the table. A query that names these
 * stretches beside the session reads only the granules that they touch: the rows are in the order of the log.
 */
import { EVENTS_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { number, type Row, text } from '../connection/rows.ts'

/** A condition on the position of `e`, with its parameters. It holds for all events of the sessions, and for others. */
export interface Stretches {
  readonly condition: string
  readonly parameters: Readonly<Record<string, unknown>>
  /** Events of the sessions, quarantined ones included. */
  readonly events: number
}

interface Stretch {
  readonly log: string
  readonly partition: number
  readonly first: number
  readonly last: number
}

/** A condition on `session_id`, with its parameters. */
export interface SessionSet {
  readonly condition: string
  readonly parameters: Readonly<Record<string, unknown>>
}

/** Stretches that are no farther apart are one: a granule of the table has 8192 rows. */
const NEAR = 8192
/** Conditions that one query may have. With more, it has one for each partition of a log. */
const MOST = 50

const QUERY = (sessions: string): string => `
  SELECT session_id, lower(hex(log_id)) AS log, log_partition AS partition, min(log_offset) AS first, max(log_offset) AS last, count() AS events
  FROM {database:Identifier}.${EVENTS_TABLE} AS e
  WHERE ${sessions}
  GROUP BY session_id, log_id, log_partition
  ORDER BY log, partition, first`

/** @param connection - Unfiltered: the projection does not know which rows are quarantined, and needs not to. */
export async function stretchesOf(connection: Analytics, sessions: SessionSet): Promise<Stretches> {
  const rows = await connection.rows<Row>(QUERY(sessions.condition), sessions.parameters)
  const found = rows.map((row) => ({
    log: text(row, 'log'),
    partition: number(row, 'partition'),
    first: number(row, 'first'),
    last: number(row, 'last'),
  }))
  const near = merge(found, NEAR)
  const merged = near.length > MOST ? merge(found, Infinity) : near
  const condition = merged.map((_, index) => conditionOf(index)).join(' OR ')
  return {
    condition: condition === '' ? 'false' : `(${condition})`,
    parameters: Object.assign({}, ...merged.map(parametersOf)) as Record<string, unknown>,
    events: rows.reduce((sum, row) => sum + number(row, 'events'), 0),
  }
}

/** Sessions by their ids, which are in the address of each query. */
export function byIds(sessionIds: readonly string[]): SessionSet {
  return { condition: 'session_id IN {sessionIds:Array(String)}', parameters: { sessionIds } }
}

/** Of sorted stretches. */
function merge(stretches: readonly Stretch[], gap: number): Stretch[] {
  const merged: Stretch[] = []
  for (const next of stretches) {
    const last = merged.at(-1)
    const joins = last?.log === next.log && last.partition === next.partition && next.first - last.last <= gap
    if (last !== undefined && joins) merged.splice(-1, 1, { ...last, last: Math.max(last.last, next.last) })
    else merged.push(next)
  }
  return merged
}

function conditionOf(index: number): string {
  return `e.log_id = unhex({log${index}:String}) AND e.log_partition = {partition${index}:Int32}
    AND e.log_offset BETWEEN {first${index}:Int64} AND {last${index}:Int64}`
}

function parametersOf({ log, partition, first, last }: Stretch, index: number): Record<string, unknown> {
  return { [`log${index}`]: log, [`partition${index}`]: partition, [`first${index}`]: first, [`last${index}`]: last }
}
