/** The queries of `verify --completeness` about expiry notes. They run only where there are notes. */
import { EVENTS_TABLE, EXPIRED_RUNS_TABLE, EXPIRED_TABLE, SKIPPED_TABLE } from '@agent-audit/schemas'

const NOTES = `{database:Identifier}.${EXPIRED_TABLE}`
const RUN_NOTES = `{database:Identifier}.${EXPIRED_RUNS_TABLE}`
const IN_BUCKET = 'sipHash64(run_id) % {buckets:UInt32} = {bucket:UInt32}'

/** Ranges `[first, next)` of a table of notes, joined where they touch or overlap, within each group of equal columns. */
function joined(notes: string, columns: string, [first, last]: readonly [string, string]): string {
  const before = (frame: string): string =>
    `OVER (PARTITION BY ${columns} ORDER BY f, n ROWS BETWEEN UNBOUNDED PRECEDING AND ${frame})`
  return `
    SELECT ${columns}, min(f) AS first, max(n) AS next
    FROM (
      SELECT ${columns}, f, n, sum(apart) ${before('CURRENT ROW')} AS island
      FROM (
        SELECT ${columns}, ${first} AS f, ${last} + 1 AS n, f > max(n) ${before('1 PRECEDING')} AS apart
        FROM ${notes}))
    GROUP BY ${columns}, island`
}

const POSITION = 'log_id, log_partition'
const CLAIM = `${POSITION}, retention_class, month`
const OFFSETS = ['first_offset', 'last_offset'] as const

const rowsOf = (table: string): string => `
  SELECT ${POSITION}, log_offset, retention_class, toYYYYMM(log_time) AS month FROM {database:Identifier}.${table}
  WHERE (${POSITION}) IN (SELECT ${POSITION} FROM ${NOTES})`
/** Rows of the partitions that have notes. */
const ROWS = `${rowsOf(EVENTS_TABLE)} UNION ALL ${rowsOf(SKIPPED_TABLE)}`

/** The noted ranges of all partitions, both ends included, in order. */
export const NOTED: string = `
  SELECT lower(hex(log_id)) AS log_id_hex, log_partition, first, next - 1 AS last
  FROM (${joined(NOTES, POSITION, OFFSETS)})
  ORDER BY log_id_hex, log_partition, first`

/** Noted offsets that have a row, by partition. own: the row has the class and month of a note that covers it. */
export const NOTED_ROWS: string = `
  SELECT lower(hex(log_id)) AS log_id_hex, log_partition, groupBitmap(toUInt64(log_offset)) AS present,
    groupBitmapIf(toUInt64(log_offset), own) AS own
  FROM (
    SELECT r.log_id AS log_id, r.log_partition AS log_partition, r.log_offset AS log_offset, r.log_offset < c.next AS own
    FROM (
      SELECT a.log_id AS log_id, a.log_partition AS log_partition, a.log_offset AS log_offset,
        a.retention_class AS retention_class, a.month AS month
      FROM (${ROWS}) AS a ASOF INNER JOIN (${joined(NOTES, POSITION, OFFSETS)}) AS n
        ON a.log_id = n.log_id AND a.log_partition = n.log_partition AND a.log_offset >= n.first
      WHERE a.log_offset < n.next) AS r
    ASOF LEFT JOIN (${joined(NOTES, CLAIM, OFFSETS)}) AS c
      ON r.log_id = c.log_id AND r.log_partition = c.log_partition AND r.retention_class = c.retention_class
        AND r.month = c.month AND r.log_offset >= c.first)
  GROUP BY log_id, log_partition`

const monthsOf = (month: string): string => `intDiv(${month}, 100) * 12 + ${month} % 100`

/**
 * What the notes of each partition claim. claimed: offsets, those that two classes or months claim twice. late: offsets above
 * a row that is two months younger than the note says. log_time rises with the offsets, up to what the brokers' clocks
 * differ, so no record of that month was there: the note names offsets that did not exist when the month ended.
 */
export const CLAIMS: string = `
  SELECT lower(hex(log_id)) AS log_id_hex, log_partition, sum(next - first) AS claimed,
    sum(if(younger < next, next - greatest(first, younger), 0)) AS late
  FROM (
    SELECT c.log_id AS log_id, c.log_partition AS log_partition, c.first AS first, c.next AS next,
      minIf(m.first, m.rows > 0 AND ${monthsOf('m.month')} >= ${monthsOf('c.month')} + 2) AS earliest,
      countIf(m.rows > 0 AND ${monthsOf('m.month')} >= ${monthsOf('c.month')} + 2) > 0 AS found,
      if(found, earliest, c.next) AS younger
    FROM (${joined(NOTES, CLAIM, OFFSETS)}) AS c
    LEFT JOIN (
      SELECT ${POSITION}, month, min(log_offset) AS first, count() AS rows FROM (${ROWS}) GROUP BY ${POSITION}, month) AS m
      ON c.log_id = m.log_id AND c.log_partition = m.log_partition
    GROUP BY c.log_id, c.log_partition, c.retention_class, c.month, c.first, c.next)
  GROUP BY log_id, log_partition`

/** Whether any number of a run is noted as expired. */
export const RUN_NOTES_EXIST: string = `SELECT 1 AS one FROM ${RUN_NOTES} LIMIT 1`

/** Noted ranges of the given runs, both ends included. */
export const RUN_NOTES_OF: string = `
  SELECT lower(hex(run_id)) AS run_id_hex, kind, first, next - 1 AS last
  FROM (${joined(
    `${RUN_NOTES} WHERE run_id IN (SELECT toFixedString(unhex(arrayJoin({runs:Array(String)})), 16))`,
    'run_id, kind',
    ['first_run_seq', 'last_run_seq'],
  )})`

/**
 * Numbers of the runs of one bucket that are noted as expired events, and whose row has another class than the note, or is
 * older than its month. A younger row is no contradiction: its record was sent again after it had expired.
 */
export const OVERSTATED_NUMBERS: string = `
  SELECT lower(hex(e.run_id)) AS run_id_hex, groupBitmap(toUInt64(e.run_seq)) AS numbers
  FROM (
    SELECT run_id, run_seq, retention_class, toYYYYMM(log_time) AS month FROM {database:Identifier}.${EVENTS_TABLE}
    WHERE ${IN_BUCKET}) AS e
  ASOF INNER JOIN (${joined(
    `${RUN_NOTES} WHERE kind = 'event' AND ${IN_BUCKET}
      AND run_id IN (SELECT run_id FROM {database:Identifier}.${EVENTS_TABLE} WHERE ${IN_BUCKET})`,
    'run_id, retention_class, month',
    ['first_run_seq', 'last_run_seq'],
  )}) AS c ON e.run_id = c.run_id AND e.run_seq >= c.first
  WHERE e.run_seq < c.next AND (e.retention_class != c.retention_class OR e.month < c.month)
  GROUP BY e.run_id`
