/** Records that could not be stored: what they were, why, and what became of them since. */
import { EVENTS_TABLE, LOGS_TABLE, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { countOf, countOrNull, isoText } from '../connection/sql.ts'

/** Where a record lies. */
export interface RecordPlace {
  /** 16 hex digits. */
  readonly log_id: string
  readonly partition: number
  readonly offset: number
}

export interface DeadLetter extends RecordPlace {
  /** `log_id/partition/offset`: what replay_of says of an event that was replayed. */
  readonly place: string
  /** Null if nobody registered the log. */
  readonly topic: string | null
  /** When the log took it, `2026-11-24T10:00:00.123Z`. */
  readonly log_time: string
  readonly reason: string
  /** 32 hex digits, and its number, where they could be read; of a foreign message they mean nothing. */
  readonly run_id: string | null
  readonly run_seq: number | null
  /** Null for a tombstone. */
  readonly bytes: number | null
  /** The event it became when it was replayed: the first, if it was forced more than once. */
  readonly replayed_as: RecordPlace | null
}

/** A dead letter whole. */
export interface DeadRecord extends DeadLetter {
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** JSON: pairs of name and value, values that are bytes in base64; null where the log keeps none. */
  readonly headers: string | null
}

export interface DeadLettersOptions {
  readonly partition?: number | undefined
  readonly topic?: string | undefined
  /** Part of the reason, in any case. */
  readonly reason?: string | undefined
  /** By the log's clock: from `since` on, before `until`. */
  readonly since?: Date | undefined
  readonly until?: Date | undefined
  /** At most this many, those latest in the log. @defaultValue 50 */
  readonly limit?: number | undefined
}

const DEFAULT_LIMIT = 50
const PLACE = /^([0-9a-f]{16})\/(\d{1,9})\/(\d{1,16})$/

/** Reads `log_id/partition/offset`; undefined if it is none. */
export function parsePlace(text: string): RecordPlace | undefined {
  const [, log, partition, offset] = PLACE.exec(text) ?? []
  return log === undefined ? undefined : { log_id: log, partition: Number(partition), offset: Number(offset) }
}

/** Lists dead letters, the latest first. @throws TrailError as {@link Analytics.rows}. */
export async function deadLetters(analytics: Analytics, options: DeadLettersOptions = {}): Promise<DeadLetter[]> {
  const { partition, topic, reason, since, until, limit = DEFAULT_LIMIT } = options
  const conditions = [
    ...(partition === undefined ? [] : ['s.log_partition = {partition:Int32}']),
    ...(topic === undefined ? [] : ['l.topic = {topic:String}']),
    ...(reason === undefined ? [] : ['positionCaseInsensitiveUTF8(s.reason, {reason:String}) > 0']),
    ...(since === undefined ? [] : ['s.log_time >= fromUnixTimestamp64Milli({since:Int64})']),
    ...(until === undefined ? [] : ['s.log_time < fromUnixTimestamp64Milli({until:Int64})']),
  ]
  const rows = await analytics.rows<Row>(
    `${select('')} ${['', ...conditions].join(' AND ')}
     ORDER BY s.log_time DESC, log_id, log_partition, log_offset DESC LIMIT {limit:UInt32}`,
    { partition, topic, reason, since: since?.getTime(), until: until?.getTime(), limit },
  )
  return rows.map(toDeadLetter)
}

/** Reads one with its bytes; undefined if there is no dead letter at this place. */
export async function readDeadLetter(analytics: Analytics, place: RecordPlace): Promise<DeadRecord | undefined> {
  const [row] = await analytics.rows<WholeRow>(
    `${select(', hex(s.key) AS key, hex(s.value) AS value, s.headers AS headers')}
       AND s.log_id = unhex({log:String}) AND s.log_partition = {partition:Int32} AND s.log_offset = {offset:Int64}
     LIMIT 1`,
    { log: place.log_id, partition: place.partition, offset: place.offset },
  )
  if (row === undefined) return undefined
  return { ...toDeadLetter(row), key: fromHex(row.key), value: fromHex(row.value), headers: row.headers }
}

function fromHex(hex: string | null): Buffer | null {
  return hex === null ? null : Buffer.from(hex, 'hex')
}

interface Row extends Readonly<Record<string, string | number | null>> {
  readonly log_id: string
  readonly topic: string | null
  readonly log_time: string
  readonly reason: string
  readonly run_id: string | null
}

interface WholeRow extends Row {
  readonly key: string | null
  readonly value: string | null
  readonly headers: string | null
}

const PLACE_OF_S = `concat(lower(hex(s.log_id)), '/', toString(s.log_partition), '/', toString(s.log_offset))`

function select(more: string): string {
  return `
    SELECT lower(hex(s.log_id)) AS log_id, s.log_partition AS log_partition, s.log_offset AS log_offset, l.topic AS topic,
      ${isoText('s.log_time')} AS log_time, s.reason AS reason, lower(hex(s.run_id)) AS run_id, s.run_seq AS run_seq,
      length(s.value) AS bytes, r.log_id AS replay_log_id, r.partition AS replay_partition, r.offset AS replay_offset,
      r.replays AS replays${more}
    FROM {database:Identifier}.${SKIPPED_TABLE} AS s
    LEFT JOIN (
      SELECT log_id, toNullable(argMin(topic, registered_at)) AS topic FROM {database:Identifier}.${LOGS_TABLE} GROUP BY log_id
    ) AS l ON l.log_id = s.log_id
    LEFT JOIN (
      SELECT assumeNotNull(replay_of) AS place, count() AS replays, argMin(lower(hex(log_id)), log_time) AS log_id,
        argMin(log_partition, log_time) AS partition, argMin(log_offset, log_time) AS offset
      FROM {database:Identifier}.${EVENTS_TABLE} WHERE replay_of IS NOT NULL GROUP BY place
    ) AS r ON r.place = ${PLACE_OF_S}
    WHERE s.kind = 'dead'`
}

function toDeadLetter(row: Row): DeadLetter {
  const place = placeOf(row.log_id, row['log_partition'], row['log_offset'])
  const replay = placeOf(String(row['replay_log_id']), row['replay_partition'], row['replay_offset'])
  return {
    place: `${place.log_id}/${place.partition}/${place.offset}`,
    ...place,
    topic: row.topic,
    log_time: row.log_time,
    reason: row.reason,
    run_id: row.run_id,
    run_seq: countOrNull(row['run_seq']),
    bytes: countOrNull(row['bytes']),
    replayed_as: countOf(row['replays']) > 0 ? replay : null,
  }
}

function placeOf(logId: string, partition: unknown, offset: unknown): RecordPlace {
  return { log_id: logId, partition: countOf(partition), offset: countOf(offset) }
}
