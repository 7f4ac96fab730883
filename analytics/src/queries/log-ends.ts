/** Where each log ends: for readers that begin at the end, or that read up to one fixed end. */
import { EVENTS_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import { number, type Row, text } from '../connection/rows.ts'
import { windowOf } from '../connection/sql.ts'
import type { Cursor } from './changes.ts'
import type { RecordPosition } from './dead-letters.ts'
import { finalEnd, storedPartitions } from './log-ranges.ts'

export interface LogEnds {
  /** The offset of each partition below which nothing is stored later. A {@link Cursor} that begins there misses nothing. */
  readonly ends: Cursor
  /** Those of `ends` that stand at a gap with rows above it: an insert under way fills it soon, or it is a loss. */
  readonly held: Cursor
}

/**
 * Inserts under way fill gaps this near to the end: a few batches of a consumer. A gap below is a loss, which `verify
 * --completeness` names, and stops no reader.
 */
const UNDER_WAY = 262_144

const FIRST_SINCE = `
  SELECT lower(hex(log_id)) AS log, log_partition, min(log_offset) AS first
  FROM {database:Identifier}.${EVENTS_TABLE} WHERE`

/** The end of each partition of each log. */
export async function logEnds(connection: Analytics): Promise<LogEnds> {
  const { analytics } = await withoutQuarantined(connection)
  const ends: RecordPosition[] = []
  const held: RecordPosition[] = []
  for (const { log, partition, first, last } of await storedPartitions(analytics)) {
    const from = Math.max(first, last + 1 - UNDER_WAY)
    const end = { log_id: log, partition, offset: await finalEnd(analytics, { log, partition, from, to: last + 1 }) }
    ends.push(end)
    if (end.offset <= last) held.push(end)
  }
  return { ends, held }
}

/** A cursor at the first event of each partition that its log has appended at `time` or later; else at the partition's end. */
export async function cursorAt(connection: Analytics, time: Date): Promise<Cursor> {
  const { ends } = await logEnds(connection)
  const { condition, parameters } = windowOf({ since: time, by: 'log_time' })
  const rows = await connection.rows<Row>(`${FIRST_SINCE} ${condition} GROUP BY log_id, log_partition`, parameters)
  const firsts = new Map(
    rows.map((row) => [`${text(row, 'log')}/${number(row, 'log_partition')}`, number(row, 'first')]),
  )
  return ends.map((end) => {
    const first = firsts.get(`${end.log_id}/${end.partition}`) ?? end.offset
    return { ...end, offset: Math.min(first, end.offset) }
  })
}
