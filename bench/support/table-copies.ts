/** Copies of the trail's table side by side on one server, each with its own definition, for measuring what a definition costs. */
import { type Analytics, connectAnalytics } from '@agent-audit/analytics'
import {
  blockLengths,
  CONTAINER_SYNC,
  containerHeader,
  EVENTS_TABLE,
  MAX_VARINT_BYTES,
  NEWEST_SCHEMA,
  readMigrations,
  SINGLE_OBJECT_BYTES,
  statementsIn,
  writeLong,
} from '@agent-audit/schemas'
import { type ClickHouseServer, startClickHouse } from '@agent-audit/stack'
import { readUsage } from './process-usage.ts'
import { fieldsOf, Run } from './records.ts'
import { readSizeMix } from './size-mix.ts'

const POSITION = [
  { name: 'log_id', type: { type: 'fixed', name: 'log_id', size: 8 } },
  { name: 'log_partition', type: 'int' },
  { name: 'log_offset', type: 'long' },
  { name: 'log_time', type: { type: 'long', logicalType: 'timestamp-millis' } },
  { name: 'writer_schema', type: 'long' },
]
const BODIES = 60_000
const MAX_MEMORY_BYTES = 6_000_000_000

/** The server of the copies, and its administrator. */
export interface CopyServer {
  readonly server: ClickHouseServer
  readonly admin: Analytics
}

/** One of the copies: its tables are in a database of its own. */
export interface TableCopy {
  readonly name: string
  readonly database: string
  /** Of the blocks, with the columns of the position in the log. */
  readonly schema: { readonly fields: readonly { readonly name: string }[] }
  /** Bodies of the records that are inserted in turn. */
  readonly bodies: readonly Buffer[]
  /** Settings of each insert beside the consumer's. */
  readonly settings: Readonly<Record<string, string>>
  offset: number
}

/** CPU of the server, microseconds an event: to insert it, and to merge it once. */
export interface CopyCost {
  readonly insertUs: number
  readonly mergeUs: number
}

/** Starts a server for the copies, and ends it after `work`. */
export async function onCopyServer(work: (on: CopyServer) => Promise<void>): Promise<void> {
  // Its processor time is read by its process id.
  process.env['AUDIT_SERVERS'] = 'local'
  await using server = await startClickHouse({ users: [], maxMemoryBytes: MAX_MEMORY_BYTES })
  await using admin = connectAnalytics({ url: server.url, database: 'default', ...server.credentials.admin })
  await work({ server, admin })
}

/** The copies in the order of a round: each is the first of a round as often as the others. */
export function inTurn<T>(copies: readonly T[], round: number): T[] {
  const first = round % copies.length
  return [...copies.slice(first), ...copies.slice(0, first)]
}

export function tableCopy(
  copy: Pick<TableCopy, 'name' | 'database' | 'bodies'> & { schemaText?: string; settings?: TableCopy['settings'] },
): TableCopy {
  const { schemaText = NEWEST_SCHEMA.text, settings = {}, ...own } = copy
  const schema = JSON.parse(schemaText) as TableCopy['schema']
  return { ...own, settings, schema: { ...schema, fields: [...schema.fields, ...POSITION] }, offset: 0 }
}

/** Makes the tables, as the migrations up to this one have them. */
export async function migrateCopy(
  admin: Analytics,
  database: string,
  newest: number = Number.POSITIVE_INFINITY,
): Promise<void> {
  await admin.command(`CREATE DATABASE ${database}`)
  const chosen = readMigrations().filter(({ number }) => number <= newest)
  for (const statement of chosen.flatMap((migration) => statementsIn(migration, database)))
    await admin.command(statement)
}

/** The server's CPU for some inserts alone, then for one merge of all of their parts. */
export async function measureCopy(
  { server, admin }: CopyServer,
  copy: TableCopy,
  { rows, count }: { readonly rows: number; readonly count: number },
): Promise<CopyCost> {
  const table = `${copy.database}.${EVENTS_TABLE}`
  const blocks = Array.from({ length: count }, () => makeBlock(copy, rows))
  await admin.command(`TRUNCATE TABLE ${table} SETTINGS max_table_size_to_drop = 0`)
  await admin.command(`SYSTEM STOP MERGES ${table}`)
  const begin = readUsage(server.pid).cpuUs
  for (const block of blocks) await insert(server, copy, block)
  const inserted = readUsage(server.pid).cpuUs
  await admin.command(`SYSTEM START MERGES ${table}`)
  await admin.command(`OPTIMIZE TABLE ${table} FINAL`)
  const merged = readUsage(server.pid).cpuUs
  return { insertUs: (inserted - begin) / (rows * count), mergeUs: (merged - inserted) / (rows * count) }
}

export async function bytesAnEvent(admin: Analytics, { database }: TableCopy): Promise<number> {
  const [row] = await admin.rows<{ bytes: number }>(
    `SELECT sum(bytes_on_disk) / sum(rows) AS bytes FROM system.parts
     WHERE active AND table = '${EVENTS_TABLE}' AND database = '${database}'`,
  )
  return row?.bytes ?? Number.NaN
}

function makeBlock(copy: TableCopy, rows: number): Buffer {
  const pieces: Buffer[] = []
  const tail = Buffer.alloc(8 + 4 * MAX_VARINT_BYTES)
  for (let row = 0; row < rows; row++) {
    const offset = copy.offset++
    let end = writeLong(tail, 8, 0)
    end = writeLong(tail, end, offset)
    end = writeLong(tail, end, Date.now())
    end = writeLong(tail, end, 1)
    pieces.push(copy.bodies[offset % copy.bodies.length] as Buffer, Buffer.from(tail.subarray(0, end)))
  }
  const data = Buffer.concat(pieces)
  return Buffer.concat([containerHeader(copy.schema), blockLengths(rows, data.length), data, CONTAINER_SYNC])
}

async function insert(
  server: ClickHouseServer,
  { database, schema, settings }: TableCopy,
  body: Buffer,
): Promise<void> {
  const now = Date.now()
  const parameters = new URLSearchParams({
    database,
    query: `INSERT INTO ${EVENTS_TABLE} (${schema.fields.map(({ name }) => name).join(', ')}) FORMAT Avro`,
    log_comment: `${now} ${now + 600_000}`,
    wait_end_of_query: '1',
    async_insert: '0',
    max_insert_threads: '1',
    input_format_parallel_parsing: '0',
    min_insert_block_size_rows: '1000000000',
    max_insert_block_size: '1000000000',
    min_insert_block_size_bytes: '0',
    ...settings,
  })
  const { username, password } = server.credentials.admin
  const headers = { 'X-ClickHouse-User': username, 'X-ClickHouse-Key': password }
  const send = (): Promise<Response> =>
    fetch(`${server.url}/?${parameters.toString()}`, { method: 'POST', body, headers })
  // The server may have closed the idle connection. It drops a block that it has already.
  const answer = await send().catch(send)
  if (!answer.ok) throw new Error(await answer.text())
}

/** Median, and range. */
export function spread(values: readonly number[]): string {
  const sorted = values.toSorted((one, other) => one - other)
  const [low, middle, high] = [0, 0.5, 1].map((share) => sorted[Math.floor(share * (sorted.length - 1))]?.toFixed(2))
  return `${middle} (${low} to ${high})`
}

/** Bodies of records of one run with the size mix of real sessions; the fields of version 2 are null. */
export function makeBodies(): Buffer[] {
  const plans = readSizeMix(process.env['AUDIT_SESSIONS_FILE']).sessions.map(fieldsOf)
  const run = new Run(1, plans, 1)
  return Array.from({ length: BODIES }, () => run.next().value.subarray(SINGLE_OBJECT_BYTES))
}
