/**
 * The trail of one session, event by event: JSON parsed, digests in hex, times with microseconds. A session that fits into a
 * page of some megabytes, as most do, is one query of the stretch of the log that has it. A session may have any size, so a
 * larger one is read page by page: the server sums up the sizes of the events in order and gives the bounds of the pages, then
 * each page is one query. One long answer instead would break as soon as its reader pauses for longer than the server's
 * send_timeout (a person in a pager).
 */
import { FieldReader } from '@agent-audit/erasure'
import { EVENTS_TABLE, JSON_FIELDS, NEWEST_SCHEMA, type RecordField } from '@agent-audit/schemas'
import type { Analytics, RowSchema } from '../connection/clickhouse.ts'
import { withoutQuarantined } from '../connection/quarantine.ts'
import type { Row } from '../connection/rows.ts'
import { isoText } from '../connection/sql.ts'
import { parseJsonField } from './json-field.ts'
import { byIds, type Stretches, stretchesOf } from './stretches.ts'

/**
 * One stored event: the fields of the record, and its position in the log. Null means "does not apply or was not recorded".
 * JSON fields are parsed. One that another producer wrote stays text where it is no JSON, nests deeper than 256 levels, or has
 * an integer that a double cannot hold.
 */
export interface TrailEvent {
  /** 32 hex digits. */
  readonly run_id: string
  readonly run_seq: number
  readonly producer_id: string
  readonly session_seq: number
  readonly retention_class: string
  readonly event_id: string
  /** When it happened, by the producer's clock: `2026-11-24T10:00:00.123456Z`. */
  readonly timestamp: string
  readonly event_type: string
  readonly session_id: string
  readonly agent_id: string
  readonly user_id: string | null
  readonly agent_version: string | null
  readonly model_id: string | null
  /** SHA-256, 64 hex digits. */
  readonly system_prompt_hash: string | null
  readonly step_number: number
  readonly parent_event_id: string | null
  readonly parent_session_id: string | null
  readonly trace_id: string | null
  readonly span_id: string | null
  readonly outcome: string | null
  readonly reason: string | null
  readonly provider: string | null
  readonly stop_reason: string | null
  readonly reasoning: string | null
  readonly output_text: string | null
  /** An array, where our producer wrote it. */
  readonly input_messages: unknown
  /** An array of `{id, name, input}`, where our producer wrote it. */
  readonly tool_calls_requested: unknown
  readonly input_tokens: number | null
  readonly output_tokens: number | null
  readonly cache_read_tokens: number | null
  readonly cache_write_tokens: number | null
  readonly latency_ms: number | null
  readonly cost_usd: number | null
  readonly tool_call_id: string | null
  readonly tool_name: string | null
  readonly tool_input: unknown
  /** As recorded: text, or the JSON text of any other value. */
  readonly tool_output: string | null
  /** SHA-256, 64 hex digits. */
  readonly arguments_sha256: string | null
  readonly error: string | null
  readonly error_type: string | null
  readonly execution_time_ms: number | null
  readonly requires_approval: boolean
  readonly approval_id: string | null
  readonly approval_status: string | null
  readonly approver_id: string | null
  /** An object, where our producer wrote it. */
  readonly content: unknown
  readonly field_notes: unknown
  readonly replay_of: string | null
  readonly environment: string | null
  readonly on_behalf_of: string | null
  readonly idempotency_key: string | null
  readonly reason_code: string | null
  readonly effect: string | null
  /** SHA-256, 64 hex digits; null where tool_output is the whole result. */
  readonly output_sha256: string | null
  /** An object, where our producer wrote it. */
  readonly policy: unknown
  /** An object, where our producer wrote it. */
  readonly approval: unknown
  /** 16 hex digits; table audit_logs names the log. */
  readonly log_id: string
  readonly log_partition: number
  readonly log_offset: number
  /** When the log appended it, milliseconds: `2026-11-24T10:00:00.123Z`. */
  readonly log_time: string
  /** CRC-64-AVRO of the schema it was written with, 16 hex digits. */
  readonly writer_schema: string
  /**
   * Exact digits of the integers of this event that a double cannot hold, by field; those fields themselves are rounded.
   * Absent without such integers; our producer writes none.
   */
  readonly exact?: Readonly<Record<string, string>> | undefined
}

const WITHOUT_KEYS = new FieldReader()
const FIELDS = NEWEST_SCHEMA.fields
const DOUBLE_FIELDS = FIELDS.filter(({ kind }) => kind === 'double').map(({ name }) => name)
const LONG_FIELDS = [...FIELDS.filter(isLong).map((field) => field.name), 'log_offset']

/** Size of a page: the fields of its events, and what each field costs as a value of a JavaScript object. */
const PAGE_BYTES = 4 * 2 ** 20
/** Events that may be one page: the server sorts them before it sends the first one. */
const PAGE_EVENTS = 2000
const FIELD_BYTES = 24

/** The columns of the position in the log, as a TrailEvent has them. */
const POSITION = `lower(hex(e.log_id)) AS log_id, e.log_partition AS log_partition, toString(e.log_offset) AS log_offset,
  ${isoText('e.log_time')} AS log_time, leftPad(lower(hex(reinterpretAsUInt64(e.writer_schema))), 16, '0') AS writer_schema`

/** The columns of a TrailEvent, of the table `e`; {@link toEvent} makes one of such a row. */
export const EVENT_COLUMNS: string = [...FIELDS.map(readable), POSITION].join(', ')

/** The columns of some fields, of the table `e`, as {@link EVENT_COLUMNS} has them. */
export function columnsOf(fields: readonly TrailField[]): string {
  return FIELDS.filter(({ name }) => fields.includes(name as TrailField))
    .map(readable)
    .join(', ')
}

/** A field of the record, not of its position in the log. */
export type TrailField = Exclude<
  keyof TrailEvent,
  'log_id' | 'log_partition' | 'log_offset' | 'log_time' | 'writer_schema' | 'exact'
>

/**
 * Reads one whole session, over all runs that wrote to it, in order of time, then of run_seq. (The log's order is only the
 * order of arrival: the spool of a killed process arrives late.) For a session that may be large: {@link sessionEvents}.
 * @returns Its events; empty if no event of the session is stored.
 * @throws TrailError as {@link Analytics.rows}.
 */
export async function sessionTrail(analytics: Analytics, sessionId: string): Promise<TrailEvent[]> {
  const events: TrailEvent[] = []
  for await (const event of sessionEvents(analytics, sessionId)) events.push(event)
  return events
}

/** The events of {@link sessionTrail}, in the same order, a page of about 4 MiB in memory at a time. */
export function sessionEvents(analytics: Analytics, sessionId: string): AsyncGenerator<TrailEvent>
/** Only these fields of each event: a page holds more events. */
export function sessionEvents<Field extends TrailField>(
  analytics: Analytics,
  sessionId: string,
  fields: readonly Field[],
): AsyncGenerator<Pick<TrailEvent, Field | 'exact'>>
export async function* sessionEvents(
  connection: Analytics,
  sessionId: string,
  only?: readonly TrailField[],
): AsyncGenerator<TrailEvent> {
  const [{ analytics }, stretches] = await Promise.all([
    withoutQuarantined(connection),
    stretchesOf(connection, byIds([sessionId])),
  ])
  if (stretches.events === 0) return
  const fields = only === undefined ? FIELDS : FIELDS.filter(({ name }) => only.includes(name as TrailField))
  const columns = only === undefined ? EVENT_COLUMNS : fields.map(readable).join(', ')
  const reader = new SessionReader(analytics, { columns, stretches, sessionId })
  const whole = stretches.events <= PAGE_EVENTS ? await reader.readWhole() : undefined
  if (whole !== undefined) return yield* whole
  for (const page of await reader.findPages(fields)) yield* await reader.readPage(page)
}

interface SessionQuery {
  readonly columns: string
  readonly stretches: Stretches
  readonly sessionId: string
}

class SessionReader {
  readonly #analytics: Analytics
  readonly #columns: string
  readonly #from: string
  readonly #parameters: Readonly<Record<string, unknown>>

  constructor(analytics: Analytics, { columns, stretches, sessionId }: SessionQuery) {
    this.#analytics = analytics
    this.#columns = columns
    this.#from = `FROM {database:Identifier}.${EVENTS_TABLE} AS e
      WHERE e.session_id = {sessionId:String} AND ${stretches.condition}`
    this.#parameters = { ...stretches.parameters, sessionId }
  }

  /** @returns undefined if the session is larger than a page. */
  async readWhole(): Promise<TrailEvent[] | undefined> {
    const events: TrailEvent[] = []
    let bytes = 0
    const rows = this.#analytics.query(`SELECT ${this.#columns} ${this.#from} ${IN_ORDER}`, {
      schema: asEvent(this.#analytics),
      params: this.#parameters,
    })
    for await (const event of rows) {
      events.push(event)
      bytes += bytesOf(event)
      if (bytes > PAGE_BYTES) return undefined
    }
    return events
  }

  /**
   * The bounds of the pages, in order. Events of the same time and run_seq have the same sum, so they are in one page: an event
   * is never in two.
   */
  findPages(fields: readonly RecordField[]): Promise<Row[]> {
    const size = `byteSize(${fields.map(({ name }) => `e.${name}`).join(', ')}) + ${fields.length * FIELD_BYTES}`
    return this.#analytics.rows<Row>(
      `SELECT toString(min(place).1) AS firstTime, toString(min(place).2) AS firstSeq,
        toString(max(place).1) AS lastTime, toString(max(place).2) AS lastSeq
      FROM (
        SELECT (toUnixTimestamp64Micro(e.timestamp), e.run_seq) AS place,
          intDiv(sum(${size}) OVER (ORDER BY e.timestamp, e.run_seq) - 1, ${PAGE_BYTES}) AS page
        ${this.#from})
      GROUP BY page
      ORDER BY page`,
      this.#parameters,
    )
  }

  async readPage(page: Row): Promise<TrailEvent[]> {
    const sql = `SELECT ${this.#columns} ${this.#from} AND ${IN_PAGE} ${IN_ORDER}`
    const rows = await this.#analytics.rows<Record<string, unknown>>(sql, { ...this.#parameters, ...page })
    return rows.map((row) => toEvent(row, this.#analytics.fields))
  }
}

const [FIRST_TIME, LAST_TIME] = ['firstTime', 'lastTime'].map(
  (name) => `fromUnixTimestamp64Micro({${name}:Int64}, 'UTC')`,
)
/** The condition on the time alone uses the index by_time. */
const IN_PAGE = `e.timestamp BETWEEN ${FIRST_TIME} AND ${LAST_TIME}
  AND (e.timestamp, e.run_seq) >= (${FIRST_TIME}, {firstSeq:Int64})
  AND (e.timestamp, e.run_seq) <= (${LAST_TIME}, {lastSeq:Int64})`
const IN_ORDER = 'ORDER BY e.timestamp, e.run_seq, e.run_id, e.log_id, e.log_partition, e.log_offset'

function readable(field: RecordField): string {
  const { name, kind } = field
  if (name === 'timestamp') return `${isoText('e.timestamp')} AS timestamp`
  if (kind === 'fixed') return `lower(hex(e.${name})) AS ${name}`
  if (kind === 'long') return `toString(e.${name}) AS ${name}`
  return `e.${name} AS ${name}`
}

function isLong(field: RecordField): boolean {
  return field.kind === 'long' && field.name !== 'timestamp'
}

/**
 * Makes an event of a row with {@link EVENT_COLUMNS}, or with some of them.
 * @param fields - Decrypts the fields that a producer has encrypted. @defaultValue they are shown as `[encrypted]`
 */
export function toEvent(row: Record<string, unknown>, fields: FieldReader = WITHOUT_KEYS): TrailEvent {
  fields.reveal(row)
  const exact: Record<string, string> = {}
  for (const name of LONG_FIELDS) {
    const digits = row[name]
    if (typeof digits !== 'string') continue
    row[name] = Number(digits)
    if (!Number.isSafeInteger(row[name])) exact[name] = digits
  }
  // The server writes a large double without a point: read as an integer.
  for (const name of DOUBLE_FIELDS) if (typeof row[name] === 'bigint') row[name] = Number(row[name])
  for (const name of JSON_FIELDS) if (name in row) row[name] = parseJsonField(row[name])
  if (Object.keys(exact).length > 0) row['exact'] = exact
  return row as unknown as TrailEvent
}

/** Makes a TrailEvent of a row with {@link EVENT_COLUMNS}. */
export function asEvent({ fields }: Analytics): RowSchema<TrailEvent> {
  return { parse: (row) => toEvent(row as Record<string, unknown>, fields) }
}

/** About what an event takes in memory. */
export function bytesOf(event: TrailEvent): number {
  let bytes = 0
  for (const value of Object.values(event) as unknown[]) {
    bytes += FIELD_BYTES
    if (typeof value === 'string') bytes += value.length
    else if (typeof value === 'object' && value !== null) bytes += JSON.stringify(value).length
  }
  return bytes
}
