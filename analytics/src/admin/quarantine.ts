/** Puts a forged row into quarantine, and takes it out again: entries are added, none is changed. */
import {
  EVENTS_TABLE,
  InvalidInputError,
  LOGS_TABLE,
  QUARANTINED_TABLE,
  ROW_KEY,
  SKIPPED_TABLE,
} from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { parsePosition, type RecordPosition } from '../queries/dead-letters.ts'

/** A row at a position: which record it says it is. */
export interface RowAtPosition {
  /** Names the row among those of its position: 16 hex digits. */
  readonly row: string
  /** `event`, or the kind of a skipped row. */
  readonly kind: string
  readonly run_id: string | null
  readonly run_seq: number | null
  readonly event_id: string | null
  /** By the log's clock, as the row says; `2026-11-24 10:00:00.123`. */
  readonly log_time: string
  /** Rows that are the same in all of these. */
  readonly copies: number
  readonly quarantined: boolean
}

const AT = 'log_id = unhex({log:String}) AND log_partition = {partition:Int32} AND log_offset = {offset:Int64}'
const COLUMNS = 'log_id, log_partition, log_offset, kind, run_id, run_seq, event_id, log_time'
const ROWS = `
  SELECT log_id, log_partition, log_offset, 'event' AS kind, toNullable(run_id) AS run_id, toNullable(run_seq) AS run_seq,
    toNullable(event_id) AS event_id, log_time
  FROM {database:Identifier}.${EVENTS_TABLE} WHERE ${AT}
  UNION ALL
  SELECT log_id, log_partition, log_offset, toString(kind), run_id, run_seq, NULL, log_time
  FROM {database:Identifier}.${SKIPPED_TABLE} WHERE ${AT}`
const ROW = `lower(hex(sipHash64(${ROW_KEY})))`

/** The rows at a position, quarantined or not. */
export async function rowsAt(analytics: Analytics, position: RecordPosition): Promise<RowAtPosition[]> {
  const query = `
    SELECT row, kind, lower(hex(run_id)) AS run_id, run_seq, toString(event_id) AS event_id, toString(log_time) AS log_time,
      count() AS copies, row IN (
        SELECT ${ROW} FROM {database:Identifier}.${QUARANTINED_TABLE} WHERE ${AT}
        GROUP BY ${COLUMNS} HAVING argMax(released, quarantined_at) = 0) AS quarantined
    FROM (SELECT ${COLUMNS}, ${ROW} AS row FROM (${ROWS})) GROUP BY ALL ORDER BY kind, row`
  const rows = await analytics.rows<Omit<RowAtPosition, 'quarantined'> & { quarantined: number }>(query, at(position))
  return rows.map((row) => ({ ...row, quarantined: row.quarantined === 1 }))
}

/**
 * Adds an entry for a row. Needs the rights of an administrator.
 * @param row - As {@link rowsAt} names it.
 * @throws TrailError as {@link Analytics.rows}
 */
export async function quarantineRow(
  analytics: Analytics,
  position: RecordPosition,
  { row, reason, release }: { readonly row: string; readonly reason: string; readonly release: boolean },
): Promise<void> {
  const statement = `
    INSERT INTO {database:Identifier}.${QUARANTINED_TABLE} (${COLUMNS}, reason, released)
    SELECT DISTINCT ${COLUMNS}, {reason:String}, {released:UInt8} FROM (${ROWS}) WHERE ${ROW} = {row:String}`
  await analytics.command(statement, { ...at(position), row, reason, released: release ? 1 : 0 })
}

/**
 * Finds the position that `TOPIC/PARTITION/OFFSET` or `log_id/partition/offset` names.
 * @throws InvalidInputError `OPTIONS_INVALID` if no log, or more than one, is registered for the topic
 */
export async function findPosition(analytics: Analytics, text: string): Promise<RecordPosition> {
  const known = parsePosition(text)
  if (known !== undefined) return known
  const [, topic, partition, offset] = /^(.+)\/(\d{1,9})\/(\d{1,19})$/.exec(text) ?? []
  const query = `SELECT DISTINCT lower(hex(log_id)) AS log FROM {database:Identifier}.${LOGS_TABLE} WHERE topic = {topic:String}`
  const logs = topic === undefined ? [] : await analytics.rows<{ log: string }>(query, { topic })
  const [log] = logs
  if (log !== undefined && logs.length === 1) {
    return { log_id: log.log, partition: Number(partition), offset: Number(offset) }
  }
  const found = logs.length === 0 ? 'no log has this topic' : `${logs.length} logs have this topic: give the log_id`
  throw new InvalidInputError(
    'OPTIONS_INVALID',
    `"${text}": expected TOPIC/PARTITION/OFFSET or LOG_ID/PARTITION/OFFSET; ${found}`,
  )
}

function at({ log_id, partition, offset }: RecordPosition): Record<string, unknown> {
  return { log: log_id, partition, offset }
}
