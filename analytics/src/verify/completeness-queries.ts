/**
 * The queries of `verify --completeness`. Three figures a group show exactly whether a position is missing or repeated: the
 * number of rows, the number of different positions (by a bitmap: exact, and one bit a position, unlike a hash set), and the
 * first and last position. Only where these disagree does a query sort the positions, to name the ranges.
 */
import { EVENTS_TABLE, LOGS_TABLE, NEWEST_SCHEMA, SKIPPED_TABLE } from '@agent-audit/schemas'

const EVENTS = `{database:Identifier}.${EVENTS_TABLE}`
const SKIPPED = `{database:Identifier}.${SKIPPED_TABLE}`

const OFFSETS = `(
  SELECT log_id, log_partition, log_offset, 'event' AS kind FROM ${EVENTS}
  UNION ALL SELECT log_id, log_partition, log_offset, toString(kind) FROM ${SKIPPED})`

/** Partitions of all logs. span: positions between the first and the last, both included. */
export const PARTITIONS: string = `
  SELECT lower(hex(log_id)) AS log_id_hex, log_partition, count() AS rows, groupBitmap(toUInt64(log_offset)) AS different,
    min(log_offset) AS first, max(log_offset) AS last, toInt128(last) - first + 1 AS span,
    countIf(kind = 'event') AS events, countIf(kind = 'duplicate') AS duplicates, countIf(kind = 'dead') AS dead_letters,
    countIf(kind = 'hole') AS holes
  FROM ${OFFSETS}
  GROUP BY log_id, log_partition
  ORDER BY log_id_hex, log_partition`

/**
 * A partition is divided into stretches of 1024 offsets. Rows are sorted only in the uneven stretches, those with a gap or a
 * repeat; a gap between two stretches shows at their ends.
 */
const STRETCH = 'log_id, log_partition, intDiv(log_offset, 1024)'
const STRETCHES = `
  SELECT log_id, log_partition, intDiv(log_offset, 1024) AS stretch, min(log_offset) AS first, max(log_offset) AS last,
    groupBitmap(toUInt64(log_offset)) != count() OR count() != last - first + 1 AS uneven
  FROM ${OFFSETS} GROUP BY log_id, log_partition, stretch`

/** Each offset of a partition that is not one higher than the offset before it: a gap before it, or a repeat. */
export const OFFSET_STEPS: string = `
  WITH stretches AS (${STRETCHES})
  SELECT lower(hex(log_id)) AS log_id_hex, log_partition, before, at, count() AS times
  FROM (
    SELECT log_id, log_partition, log_offset AS at, lagInFrame(log_offset, 1, log_offset - 1) OVER (
      PARTITION BY ${STRETCH} ORDER BY log_offset ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before
    FROM ${OFFSETS}
    WHERE (${STRETCH}) IN (SELECT log_id, log_partition, stretch FROM stretches WHERE uneven)
    UNION ALL
    SELECT log_id, log_partition, first AS at, lagInFrame(last, 1, first - 1) OVER (
      PARTITION BY log_id, log_partition ORDER BY stretch ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before
    FROM stretches)
  WHERE at != before + 1
  GROUP BY log_id, log_partition, before, at
  ORDER BY log_id_hex, log_partition, at, before
  LIMIT {limit:UInt32}`

/** About how many runs have an event. */
export const RUN_COUNT: string = `SELECT uniq(run_id) AS runs FROM ${EVENTS}`

/**
 * Runs with an event, those of one bucket: all events of a run are in the same one. Their numbers begin at 0. By a hash, since
 * a producer may begin all its run ids alike.
 */
export const RUNS: string = `
  SELECT lower(hex(run_id)) AS run_id_hex, any(producer_id) AS producer_id, count() AS events,
    groupBitmap(toUInt64(run_seq)) AS different, min(run_seq) AS first, max(run_seq) AS last,
    countIf(event_type = 'trail_stopped' OR (run_seq = 0 AND replay_of IS NOT NULL)) > 0 AS closed
  FROM ${EVENTS}
  WHERE sipHash64(run_id) % {buckets:UInt32} = {bucket:UInt32}
  GROUP BY run_id
  ORDER BY min(timestamp), run_id`

// Where a FixedString column is looked up in a set of String, ClickHouse compares without the zero bytes at the ends: an id
// that ends in a zero byte, one in 256, is in no such set. So the queries convert parameters to FixedString first.

/** The runs to check, and the last number of each. */
const GIVEN_RUNS = `
  SELECT toFixedString(unhex(run.1), 16) AS run_id, run.2 AS last
  FROM (SELECT arrayJoin(arrayZip({runs:Array(String)}, {lasts:Array(Int64)})) AS run)`

const POSITION = '(lower(hex(log_id)), log_partition, log_offset)'

/** Each number of the given runs that is not one higher than the number before it, and the position of its row. */
export const RUN_STEPS: string = `
  SELECT lower(hex(run_id)) AS run_id_hex, before, at, count() AS times, min(${POSITION}) AS position
  FROM (
    SELECT run_id, run_seq AS at, log_id, log_partition, log_offset, lagInFrame(run_seq, 1, toInt64(-1)) OVER (
      PARTITION BY run_id ORDER BY run_seq ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before
    FROM ${EVENTS} WHERE run_id IN (SELECT run_id FROM (${GIVEN_RUNS})))
  WHERE at != before + 1
  GROUP BY run_id, before, at
  ORDER BY run_id_hex, at, before
  LIMIT {limit:UInt32}`

/**
 * Ranges of numbers of the given runs that dead letters have, and the position of the first one. A dead letter never extends a
 * run, because the numbers of a record that could not be stored are not reliable.
 */
export const DEAD_NUMBERS: string = `
  SELECT lower(hex(run_id)) AS run_id_hex, min(run_seq) AS first, max(run_seq) AS last, min(${POSITION}) AS position
  FROM (
    SELECT run_id, run_seq, log_id, log_partition, log_offset,
      run_seq - dense_rank() OVER (PARTITION BY run_id ORDER BY run_seq) AS island
    FROM (
      SELECT assumeNotNull(s.run_id) AS run_id, assumeNotNull(s.run_seq) AS run_seq, s.log_id AS log_id,
        s.log_partition AS log_partition, s.log_offset AS log_offset
      FROM ${SKIPPED} AS s INNER JOIN (${GIVEN_RUNS}) AS r ON s.run_id = r.run_id
      WHERE s.kind = 'dead' AND s.run_seq >= 0 AND s.run_seq < r.last))
  GROUP BY run_id, island
  ORDER BY run_id_hex, first
  LIMIT {limit:UInt32}`

/** The hash of a row's content: rows with the same content have the same hash. */
const EVENT_CONTENT = `hex(sipHash128(formatRow('RowBinary', ${NEWEST_SCHEMA.fields.map(({ name }) => name).join(', ')})))`
const SKIPPED_CONTENT = `hex(sipHash128(formatRow('RowBinary', kind, reason, key, value, headers)))`

/** Positions and content of the copies of repeated events. */
export const COPIES: string = `
  SELECT lower(hex(run_id)) AS run_id_hex, run_seq, lower(hex(log_id)) AS log_id_hex, log_partition, log_offset,
    ${EVENT_CONTENT} AS content
  FROM ${EVENTS}
  PREWHERE (run_id, run_seq) IN (
    SELECT toFixedString(unhex(run.1), 16), run.2
    FROM (SELECT arrayJoin(arrayZip({runs:Array(String)}, {numbers:Array(Int64)})) AS run))
  ORDER BY run_id_hex, run_seq, log_id_hex, log_partition, log_offset`

const AT_OFFSETS = `
  PREWHERE (log_id, log_partition, log_offset) IN (
    SELECT toFixedString(unhex(position.1), 8), position.2, position.3
    FROM (SELECT arrayJoin(arrayZip({logs:Array(String)}, {partitions:Array(Int32)}, {offsets:Array(Int64)})) AS position))`

/** Those of the given repeated offsets whose rows differ. */
export const ALTERED_OFFSETS: string = `
  SELECT lower(hex(log_id)) AS log_id_hex, log_partition, log_offset
  FROM (
    SELECT log_id, log_partition, log_offset, ${EVENT_CONTENT} AS content FROM ${EVENTS} ${AT_OFFSETS}
    UNION ALL SELECT log_id, log_partition, log_offset, ${SKIPPED_CONTENT} FROM ${SKIPPED} ${AT_OFFSETS})
  GROUP BY log_id, log_partition, log_offset
  HAVING uniqExact(content) > 1`

/**
 * Those of the given gaps that may still fill; the run and the number after the gap name it. A gap may fill while a
 * partition of the log has no higher number of the run, and is not read beyond the time of the number after the gap. An hour
 * after the log has appended any higher number it counts as missing: a party that goes on to send records with numbers far
 * ahead does not keep it pending.
 */
export const PENDING: string = `
  SELECT DISTINCT lower(hex(f.run_id)) AS run_id_hex, f.run_seq AS at
  FROM (
    SELECT run_id, run_seq, log_id, log_time FROM ${EVENTS}
    WHERE log_time > now64(3) - INTERVAL 1 HOUR AND (run_id, run_seq) IN (
      SELECT toFixedString(unhex(run.1), 16), run.2
      FROM (SELECT arrayJoin(arrayZip({runs:Array(String)}, {numbers:Array(Int64)})) AS run))
  ) AS f
  INNER JOIN (
    SELECT log_id, log_partition, max(log_time) AS read_to
    FROM (
      SELECT log_id, log_partition, log_time FROM ${EVENTS}
      UNION ALL SELECT log_id, log_partition, log_time FROM ${SKIPPED})
    GROUP BY log_id, log_partition
  ) AS p ON p.log_id = f.log_id
  LEFT JOIN (
    SELECT run_id, log_id, log_partition, max(run_seq) AS highest FROM ${EVENTS}
    WHERE run_id IN (SELECT toFixedString(unhex(arrayJoin({runs:Array(String)})), 16))
    GROUP BY run_id, log_id, log_partition
  ) AS r ON r.run_id = f.run_id AND r.log_id = f.log_id AND r.log_partition = p.log_partition
  LEFT JOIN (
    SELECT run_id, max(run_seq) AS highest FROM ${EVENTS}
    WHERE log_time <= now64(3) - INTERVAL 1 HOUR
      AND run_id IN (SELECT toFixedString(unhex(arrayJoin({runs:Array(String)})), 16))
    GROUP BY run_id
  ) AS o ON o.run_id = f.run_id
  WHERE p.read_to < f.log_time + INTERVAL 1 MINUTE AND r.highest < f.run_seq AND o.highest < f.run_seq`

/**
 * Ranges of the given runs that an events_lost event names, those of the run itself first: another run names the numbers of a
 * dead run whose spool it has adopted.
 */
export const LOST: string = `
  SELECT coalesce(JSONExtract(content, 'run_id', 'Nullable(String)'), lower(hex(run_id))) AS run_id_hex,
    lower(hex(run_id)) AS by_run, JSONExtract(content, 'first_run_seq', 'Nullable(Int64)') AS first,
    JSONExtract(content, 'last_run_seq', 'Nullable(Int64)') AS last, min(${POSITION}) AS position
  FROM ${EVENTS}
  WHERE event_type = 'events_lost' AND content IS NOT NULL AND run_id_hex IN {runs:Array(String)}
  GROUP BY run_id_hex, by_run, first, last
  ORDER BY by_run != run_id_hex, run_id_hex, first
  LIMIT {limit:UInt32}`

export const LOGS: string = `
  SELECT lower(hex(log_id)) AS log_id_hex, argMin(topic, registered_at) AS topic,
    argMin(source_id, registered_at) AS source_id
  FROM {database:Identifier}.${LOGS_TABLE}
  GROUP BY log_id
  ORDER BY log_id_hex`
