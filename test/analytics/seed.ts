/** Rows for tests that read the trail, written as the consumer writes them: with a lease and a deadline. */
import { EVENTS_TABLE, EXPIRED_RUNS_TABLE, EXPIRED_TABLE, logIdOf, SKIPPED_TABLE } from '@agent-audit/schemas'

export interface Server {
  readonly url: string
  readonly username: string
  readonly password: string
  readonly database: string
}

/** Columns of a row to seed; the others are null, or a value that keeps the row valid. Binary columns as hex. */
export type SeedRow = Readonly<Record<string, unknown>>

const LEASE_MS = 20_000
const BINARY = new Set(['run_id', 'system_prompt_hash', 'arguments_sha256', 'output_sha256', 'log_id', 'value'])

export const SOURCE_ID = 'seed-cluster'
export const TOPIC = 'audit.events'
export const LOG_ID: string = logIdOf(SOURCE_ID, TOPIC).toString('hex')

/** 32 hex digits that read as a number. */
export function runId(number: number): string {
  return number.toString(16).padStart(32, '0')
}

/** Runs any statement over HTTP. @returns the answer's text. Rejects with the server's message. */
export async function execute(server: Server, query: string, settings: Record<string, string> = {}): Promise<string> {
  const parameters = new URLSearchParams({ database: server.database, ...settings })
  const response = await fetch(`${server.url}/?${parameters.toString()}`, {
    method: 'POST',
    headers: { 'X-ClickHouse-User': server.username, 'X-ClickHouse-Key': server.password },
    body: query,
  })
  const text = await response.text()
  if (!response.ok) throw new Error(text)
  return text
}

/** The setting that an insert must carry, from the server's clock. */
export async function lease(server: Server, lengthMs: number = LEASE_MS): Promise<{ log_comment: string }> {
  const now = Number(await execute({ ...server, database: 'default' }, 'SELECT toUnixTimestamp64Milli(now64(3))'))
  return { log_comment: `${now} ${now + lengthMs}` }
}

/** Inserts events; each needs log_offset, all else has a value. */
export async function seedEvents(server: Server, rows: readonly SeedRow[]): Promise<void> {
  await insert(
    server,
    EVENTS_TABLE,
    rows.map((row, index) => ({
      run_id: runId(1),
      run_seq: index,
      producer_id: 'seed',
      session_seq: index,
      retention_class: 'default',
      event_id: `01900000-0000-7000-8000-${index.toString(16).padStart(12, '0')}`,
      timestamp: '2026-11-24 10:00:00.000001',
      event_type: 'llm_call',
      session_id: 's1',
      agent_id: 'support',
      step_number: 0,
      requires_approval: false,
      writer_schema: '1',
      ...POSITION,
      ...row,
    })),
  )
}

/** Inserts rows of audit_skipped; each needs kind and log_offset. */
export async function seedSkipped(server: Server, rows: readonly SeedRow[]): Promise<void> {
  await insert(
    server,
    SKIPPED_TABLE,
    rows.map((row) => ({ reason: 'seeded', retention_class: 'default', ...POSITION, ...row })),
  )
}

/** Inserts notes of expired offsets; each needs first_offset and last_offset. */
export async function seedNotes(server: Server, notes: readonly SeedRow[]): Promise<void> {
  const { log_id, log_partition } = POSITION
  await insert(
    server,
    EXPIRED_TABLE,
    notes.map((note) => ({ log_id, log_partition, retention_class: 'default', month: 202601, ...note })),
  )
}

/** Inserts notes of expired numbers of runs; each needs first_run_seq and last_run_seq. */
export async function seedRunNotes(server: Server, notes: readonly SeedRow[]): Promise<void> {
  await insert(
    server,
    EXPIRED_RUNS_TABLE,
    notes.map((note) => ({ run_id: runId(1), kind: 'event', retention_class: 'default', month: 202601, ...note })),
  )
}

const POSITION = { log_id: LOG_ID, log_partition: 0, log_time: '2026-11-24 10:00:00.500' }

async function insert(server: Server, table: string, rows: readonly SeedRow[]): Promise<void> {
  if (rows.length === 0) return
  const columns = [...new Set(rows.flatMap(Object.keys))]
  const values = rows.map((row) => `(${columns.map((column) => literal(column, row[column])).join(', ')})`)
  await execute(
    server,
    `INSERT INTO ${table} (${columns.join(', ')}) VALUES ${values.join(',\n')}`,
    await lease(server),
  )
}

function literal(column: string, value: unknown): string {
  if (value === null || value === undefined) return 'NULL'
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  const quoted = `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
  return BINARY.has(column) ? `unhex(${quoted})` : quoted
}
