/** The queries of an export: which files a round has, and the rows of a file. */
import { EVENTS_TABLE, NEWEST_SCHEMA, type RecordField } from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { number, type Row, text } from '../connection/rows.ts'
import { clockOf, windowOf } from '../connection/sql.ts'
import type { RecordPosition } from '../queries/dead-letters.ts'
import type { ExportColumn, ExportRange, PlannedFile, Round, Stretch } from './manifest.ts'

const TABLE = `{database:Identifier}.${EVENTS_TABLE}`
const DAY_MS = 86_400_000
const ORDER = 'e.log_id, e.log_partition, e.log_offset'

/** The columns of the record as notebooks read them: digests and ids as text, times as times in UTC, JSON as its text. */
const COLUMNS = [
  ...NEWEST_SCHEMA.fields.map(readable),
  'lower(hex(e.log_id)) AS log_id',
  'e.log_partition AS log_partition',
  'e.log_offset AS log_offset',
  'e.log_time AS log_time',
  `leftPad(lower(hex(reinterpretAsUInt64(e.writer_schema))), 16, '0') AS writer_schema`,
].join(', ')

function readable({ name, kind }: RecordField): string {
  if (kind === 'fixed') return `lower(hex(e.${name})) AS ${name}`
  return kind === 'uuid' ? `toString(e.${name}) AS ${name}` : `e.${name} AS ${name}`
}

interface Condition {
  readonly condition: string
  readonly parameters: Readonly<Record<string, unknown>>
}

function inStretches(stretches: readonly Stretch[]): Condition {
  const conditions = stretches.map(
    (_, at) => `e.log_id = unhex({log${at}:String}) AND e.log_partition = {partition${at}:Int32}
      AND e.log_offset >= {from${at}:Int64} AND e.log_offset < {to${at}:Int64}`,
  )
  const parameters = stretches.flatMap(({ log_id, partition, from, to }, at) => [
    [`log${at}`, log_id],
    [`partition${at}`, partition],
    [`from${at}`, from],
    [`to${at}`, to],
  ])
  return { condition: `(${conditions.join(' OR ') || 'false'})`, parameters: Object.fromEntries(parameters) }
}

/** @param day - Only this day of the range. */
function inRange(range: ExportRange, { day, agent = range.agent }: { day?: string; agent?: string | null }): Condition {
  const since = new Date(Math.max(Date.parse(range.since), day === undefined ? -Infinity : Date.parse(day)))
  const end = Math.min(
    range.until === null ? Infinity : Date.parse(range.until),
    day === undefined ? Infinity : Date.parse(day) + DAY_MS,
  )
  const until = end === Infinity ? undefined : new Date(end)
  const { condition, parameters } = windowOf({ since, until }, columnOf(range))
  if (agent === null) return { condition, parameters }
  return { condition: `${condition} AND e.agent_id = {agent:String}`, parameters: { ...parameters, agent } }
}

function columnOf({ clock }: ExportRange): string {
  return `e.${clockOf({ by: clock })}`
}

function both(range: ExportRange, stretches: readonly Stretch[], of: { day?: string; agent?: string } = {}): Condition {
  const [one, other] = [inRange(range, of), inStretches(stretches)]
  return {
    condition: `${one.condition} AND ${other.condition}`,
    parameters: { ...one.parameters, ...other.parameters },
  }
}

/**
 * The files of a round, by day and agent.
 * @param of - Only the file of this day and agent.
 * @param limit - Most files; one more is given if there are more.
 */
export async function planFiles(
  analytics: Analytics,
  { range, round, of, limit }: { range: ExportRange; round: Round; of?: { day: string; agent: string }; limit: number },
): Promise<PlannedFile[]> {
  const { condition, parameters } = both(range, round.stretches, of)
  const query = `
    SELECT toString(toDate(${columnOf(range)}, 'UTC')) AS day, agent_id AS agent, count() AS rows,
      min((lower(hex(e.log_id)), e.log_partition, e.log_offset)) AS first,
      max((lower(hex(e.log_id)), e.log_partition, e.log_offset)) AS last
    FROM ${TABLE} AS e WHERE ${condition}
    GROUP BY day, agent ORDER BY day, agent LIMIT {limit:UInt64}`
  const rows = await analytics.rows<Row>(query, { ...parameters, limit: limit + 1 })
  return rows.map((row) => ({
    day: text(row, 'day'),
    agent: text(row, 'agent'),
    round: round.round,
    rows: number(row, 'rows'),
    first: positionOf(row['first']),
    last: positionOf(row['last']),
  }))
}

/** A tuple is an array or an object in JSON, as the server is set. */
function positionOf(value: unknown): RecordPosition {
  const [log_id, partition, offset] = Object.values(value as Readonly<Record<string, unknown>>)
  return { log_id: String(log_id), partition: Number(partition), offset: Number(offset) }
}

/** The rows of one file, as ClickHouse writes them: in the order of the log, which takes no sort. */
export function fileBytes(
  analytics: Analytics,
  {
    range,
    round,
    file,
    signal,
  }: { range: ExportRange; round: Round; file: PlannedFile; signal?: AbortSignal | undefined },
): AsyncGenerator<Buffer> {
  const { condition, parameters } = both(range, round.stretches, file)
  const query = `SELECT ${COLUMNS} FROM ${TABLE} AS e WHERE ${condition} ORDER BY ${ORDER}`
  return analytics.bytes(query, { format: 'Parquet', params: parameters, signal })
}

/** How many events of the range are in these stretches. */
export async function countRows(
  analytics: Analytics,
  range: ExportRange,
  stretches: readonly Stretch[],
): Promise<number> {
  const { condition, parameters } = both(range, stretches)
  const [row] = await analytics.rows<Row>(`SELECT count() AS rows FROM ${TABLE} AS e WHERE ${condition}`, parameters)
  return row === undefined ? 0 : number(row, 'rows')
}

/** The columns of a file, and the server's version. */
export async function readWriter(analytics: Analytics): Promise<{ clickhouse: string; columns: ExportColumn[] }> {
  const columns = await analytics.rows<Row>(`DESCRIBE TABLE (SELECT ${COLUMNS} FROM ${TABLE} AS e)`)
  const [row] = await analytics.rows<Row>('SELECT version() AS version')
  return {
    clickhouse: row === undefined ? '' : text(row, 'version'),
    columns: columns.map((column) => ({ name: text(column, 'name'), type: text(column, 'type') })),
  }
}
