/** Records that were not stored as events, with their bytes: dead letters, the events that a replay made of them, and duplicates. */
import { EVENTS_TABLE, LOGS_TABLE, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import { number, numberOrNull } from '../connection/rows.ts'
import { isoText, windowOf } from '../connection/sql.ts'

/** Position of a record in a log. */
export interface RecordPosition {
  /** 16 hex digits. */
  readonly log_id: string
  readonly partition: number
  readonly offset: number
}

export interface DeadLetter extends RecordPosition {
  /** `log_id/partition/offset`: the replay_of of the event that a replay makes of it. */
  readonly position: string
  /** Null if the log is not registered. */
  readonly topic: string | null
  /** When the log appended it, `2026-11-24T10:00:00.123Z`. */
  readonly log_time: string
  readonly reason: string
  /** 32 hex digits, and its number, where they could be read. Of a foreign message they have no meaning. */
  readonly run_id: string | null
  readonly run_seq: number | null
  /** Null for a tombstone. */
  readonly bytes: number | null
  /** The event of its replay; of several forced replays, the first. */
  readonly replayed_as: RecordPosition | null
}

/** A dead letter with its bytes; or a duplicate, which keeps its own too. */
export interface DeadRecord extends DeadLetter {
  readonly kind: 'dead' | 'duplicate'
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** JSON: pairs of name and value, binary values in base64; null where the log keeps no headers. */
  readonly headers: string | null
}

export interface DeadLettersOptions {
  readonly partition?: number | undefined
  readonly topic?: string | undefined
  /** Text that the reason contains, ignoring case. */
  readonly reason?: string | undefined
  /** By the log's clock: from `since` on, before `until`. */
  readonly since?: Date | undefined
  readonly until?: Date | undefined
  /** Most dead letters to return, the latest in the log. @defaultValue 50 */
  readonly limit?: number | undefined
}

const DEFAULT_LIMIT = 50
const POSITION = /^([0-9a-f]{16})\/(\d{1,9})\/(\d{1,16})$/

/** Parses `log_id/partition/offset`; undefined if the text has another form. */
export function parsePosition(text: string): RecordPosition | undefined {
  const [, log, partition, offset] = POSITION.exec(text) ?? []
  return log === undefined ? undefined : { log_id: log, partition: Number(partition), offset: Number(offset) }
}

/** Lists dead letters, the latest first. @throws TrailError as {@link Analytics.rows}. */
export async function deadLetters(connection: Analytics, options: DeadLettersOptions = {}): Promise<DeadLetter[]> {
  const { analytics } = await withoutQuarantined(connection)
  const { partition, topic, reason, since, until, limit = DEFAULT_LIMIT } = options
  const window = windowOf({ since, until }, 's.log_time')
  const conditions = [
    ...(partition === undefined ? [] : ['s.log_partition = {partition:Int32}']),
    ...(topic === undefined ? [] : ['l.topic = {topic:String}']),
    ...(reason === undefined ? [] : ['positionCaseInsensitiveUTF8(s.reason, {reason:String}) > 0']),
    window.condition,
  ]
  const rows = await analytics.rows<DeadLetterRow>(
    `${select('')} WHERE ${["s.kind = 'dead'", ...conditions].join(' AND ')}
     ORDER BY s.log_time DESC, log_id, log_partition, log_offset DESC LIMIT {limit:UInt32}`,
    { ...window.parameters, partition, topic, reason, limit },
  )
  return rows.map(toDeadLetter)
}

/** Reads a dead letter with its bytes; undefined if there is none at this position. */
export async function readDeadLetter(analytics: Analytics, position: RecordPosition): Promise<DeadRecord | undefined> {
  const record = await readSkipped(analytics, position)
  return record?.kind === 'dead' ? record : undefined
}

/** Reads a dead letter or a duplicate with its bytes; undefined if there is none at this position. */
export async function readSkipped(connection: Analytics, position: RecordPosition): Promise<DeadRecord | undefined> {
  const { analytics } = await withoutQuarantined(connection)
  const [row] = await analytics.rows<WholeRow>(
    `${select(', toString(s.kind) AS kind, hex(s.key) AS key, hex(s.value) AS value, s.headers AS headers')}
     WHERE s.kind IN ('dead', 'duplicate')
       AND s.log_id = unhex({log:String}) AND s.log_partition = {partition:Int32} AND s.log_offset = {offset:Int64}
     ORDER BY s.kind = 'dead' DESC LIMIT 1`,
    { log: position.log_id, partition: position.partition, offset: position.offset },
  )
  if (row === undefined) return undefined
  return {
    ...toDeadLetter(row),
    kind: row.kind,
    key: fromHex(row.key),
    value: fromHex(row.value),
    headers: row.headers,
  }
}

function fromHex(hex: string | null): Buffer | null {
  return hex === null ? null : Buffer.from(hex, 'hex')
}

interface DeadLetterRow extends Readonly<Record<string, string | number | null>> {
  readonly log_id: string
  readonly topic: string | null
  readonly log_time: string
  readonly reason: string
  readonly run_id: string | null
}

interface WholeRow extends DeadLetterRow {
  readonly kind: DeadRecord['kind']
  readonly key: string | null
  readonly value: string | null
  readonly headers: string | null
}

const POSITION_OF_S = `concat(lower(hex(s.log_id)), '/', toString(s.log_partition), '/', toString(s.log_offset))`

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
      SELECT assumeNotNull(replay_of) AS position, count() AS replays, argMin(lower(hex(log_id)), log_time) AS log_id,
        argMin(log_partition, log_time) AS partition, argMin(log_offset, log_time) AS offset
      FROM {database:Identifier}.${EVENTS_TABLE} WHERE replay_of IS NOT NULL GROUP BY position
    ) AS r ON r.position = ${POSITION_OF_S}`
}

function toDeadLetter(row: DeadLetterRow): DeadLetter {
  const { log_id } = row
  const partition = number(row, 'log_partition')
  const offset = number(row, 'log_offset')
  return {
    position: `${log_id}/${partition}/${offset}`,
    log_id,
    partition,
    offset,
    topic: row.topic,
    log_time: row.log_time,
    reason: row.reason,
    run_id: row.run_id,
    run_seq: numberOrNull(row, 'run_seq'),
    bytes: numberOrNull(row, 'bytes'),
    replayed_as: number(row, 'replays') > 0 ? replayOf(row) : null,
  }
}

function replayOf(row: DeadLetterRow): RecordPosition {
  return {
    log_id: String(row['replay_log_id']),
    partition: number(row, 'replay_partition'),
    offset: number(row, 'replay_offset'),
  }
}
