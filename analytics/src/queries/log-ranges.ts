/**
 * Which offsets of the log are final: stored without a gap, or noted as expired. A job that reads by position goes no further,
 * since an insert may land in a gap later.
 */
import { EVENTS_TABLE, EXPIRED_TABLE, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { number, type Row, text } from '../connection/rows.ts'

/** A partition of a log, from its first stored offset to its last. */
export interface StoredPartition {
  /** 16 hex digits. */
  readonly log: string
  readonly partition: number
  readonly first: number
  readonly last: number
}

/** Offsets of a partition, from `from` on and below `to`. */
export interface LogRange {
  readonly log: string
  readonly partition: number
  readonly from: number
  readonly to: number
}

const TABLES = [EVENTS_TABLE, SKIPPED_TABLE].map((table) => `{database:Identifier}.${table}`)
const partitionsIn = (table: string): string => `
  SELECT lower(hex(log_id)) AS log, log_partition, min(log_offset) AS first, max(log_offset) AS last
  FROM {database:Identifier}.${table} GROUP BY log_id, log_partition`
/** The condition of a {@link LogRange}, with its parameters `log`, `partition`, `from` and `to`. */
export const IN_RANGE: string = `log_id = unhex({log:String}) AND log_partition = {partition:Int32}
  AND log_offset >= {from:Int64} AND log_offset < {to:Int64}`
const STORED = TABLES.map((table) => `SELECT log_offset AS at FROM ${table} WHERE ${IN_RANGE}`)
/** What retention has dropped keeps no job waiting. Notes may overlap. */
const EXPIRED = `
  SELECT arrayJoin(range(greatest(first_offset, {from:Int64}), least(last_offset + 1, {to:Int64}))) AS at
  FROM {database:Identifier}.${EXPIRED_TABLE}
  WHERE log_id = unhex({log:String}) AND log_partition = {partition:Int32}
    AND first_offset < {to:Int64} AND last_offset >= {from:Int64}`
/** How many offsets from `from` on are accounted for without a gap. */
const CONTIGUOUS = `
  SELECT countIf(at = {from:Int64} + place - 1) AS offsets
  FROM (
    SELECT at, row_number() OVER (ORDER BY at) AS place
    FROM (SELECT DISTINCT at FROM (${[...STORED, EXPIRED].join(' UNION ALL ')})))`

/**
 * The partitions that have rows, by log and number.
 *
 * Skipped rows are asked for first: the events of their batches are there already when the second question is asked. ClickHouse
 * promises no common snapshot of two tables: one query over both might see the skipped rows of a partition's first batch
 * without its events, which would never be read then.
 */
export async function storedPartitions(analytics: Analytics): Promise<StoredPartition[]> {
  const found = new Map<string, StoredPartition>()
  for (const table of [SKIPPED_TABLE, EVENTS_TABLE]) {
    for (const row of await analytics.rows<Row>(partitionsIn(table))) {
      const [log, partition] = [text(row, 'log'), number(row, 'log_partition')]
      const [first, last] = [number(row, 'first'), number(row, 'last')]
      const other = found.get(`${log}/${partition}`) ?? { first, last }
      const ends = { first: Math.min(first, other.first), last: Math.max(last, other.last) }
      found.set(`${log}/${partition}`, { log, partition, ...ends })
    }
  }
  return [...found.values()].toSorted((a, b) => a.log.localeCompare(b.log) || a.partition - b.partition)
}

/** The end of the offsets of a range that are final: its own end, or its first gap. The server sorts the offsets of the range. */
export async function finalEnd(analytics: Analytics, range: LogRange): Promise<number> {
  const [row] = await analytics.rows<Row>(CONTIGUOUS, { ...range })
  return range.from + (row === undefined ? 0 : number(row, 'offsets'))
}
