/** Queries about the rows of one partition themselves: which record each says it is, and which are quarantined. */
import { EVENTS_TABLE, IntegrityError, QUARANTINED_TABLE, ROW_KEY, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { OffsetRange, StoredRow } from '../pipeline/sink.ts'
import { type PartitionStore, IN_PARTITION } from './question.ts'

/** Rows with the columns that tell one from another (docs/adr/0031-a-stolen-writer-password.md). */
const rowsWhere = (condition: string): string => `
  SELECT log_offset, 'event' AS kind, toNullable(run_id) AS run_id, toNullable(run_seq) AS run_seq, toNullable(event_id) AS event_id, log_time,
    retention_class, NULL AS reason
  FROM ${EVENTS_TABLE} WHERE ${IN_PARTITION} AND ${condition}
  UNION ALL
  SELECT log_offset, toString(kind), run_id, run_seq, NULL, log_time, retention_class, reason FROM ${SKIPPED_TABLE} WHERE ${IN_PARTITION} AND ${condition}`
/** The key of a row of audit_events, whose columns say no kind. */
export const EVENT_KEY: string = ROW_KEY.replace('toString(kind)', "'event'")
export const QUARANTINED_KEYS: string = `
  SELECT log_offset, ${ROW_KEY} FROM ${QUARANTINED_TABLE} WHERE ${IN_PARTITION}
  GROUP BY ALL HAVING argMax(released, quarantined_at) = 0`

const ROWS = `
  SELECT DISTINCT toFloat64(log_offset) AS offset, kind, lower(hex(run_id)) AS runId, toFloat64(run_seq) AS runSeq,
    toString(event_id) AS eventId, toFloat64(toUnixTimestamp64Milli(log_time)) AS logTimeMs,
    retention_class AS retentionClass, reason
  FROM (${rowsWhere('log_offset BETWEEN {from:Int64} AND {to:Int64}')})
  WHERE ((log_offset, ${ROW_KEY}) IN (${QUARANTINED_KEYS})) = {quarantined:UInt8}
  ORDER BY offset LIMIT {limit:UInt64}`
/** Rows of an answer: some 2 MB. */
const ROWS_A_QUERY = 2 ** 14

export async function rowsBetween(
  store: PartitionStore,
  { first, last }: OffsetRange,
  which: 'counting' | 'quarantined',
): Promise<StoredRow[]> {
  const rows: StoredRow[] = []
  for (let from = first; from <= last; from += ROWS_A_QUERY) {
    const to = Math.min(from + ROWS_A_QUERY - 1, last)
    const parameters = { from, to, limit: to - from + 2, quarantined: which === 'quarantined' ? 1 : 0 }
    const what = `the rows at offsets ${from} to ${to}`
    for (const row of await store.ask<StoredRow>({ what, query: ROWS, parameters })) rows.push(row)
  }
  return rows
}

/** Above so many the answer would fill the memory. */
const MOST_QUARANTINED = 1_000_000
const ALL_QUARANTINED = `
  SELECT toFloat64(log_offset) AS o
  FROM (${rowsWhere(`log_offset IN (SELECT log_offset FROM ${QUARANTINED_TABLE} WHERE ${IN_PARTITION})`)})
  GROUP BY log_offset HAVING min((log_offset, ${ROW_KEY}) IN (${QUARANTINED_KEYS})) = 1
  ORDER BY o LIMIT ${MOST_QUARANTINED + 1}`

/** Offsets whose every row is quarantined. @throws IntegrityError `STORE_UNFIT` for more than a million. */
export async function quarantined(store: PartitionStore): Promise<number[]> {
  const rows = await store.ask<{ o: number }>({ what: 'the quarantined offsets', query: ALL_QUARANTINED })
  if (rows.length <= MOST_QUARANTINED) return rows.map(({ o }) => o)
  throw new IntegrityError('STORE_UNFIT', `more than ${MOST_QUARANTINED} offsets of ${store.name} are quarantined`)
}
