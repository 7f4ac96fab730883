/** Writes a fleet's events into audit_events, through the constraints of the table, as the consumer's inserts pass them. */
import { EVENTS_TABLE, NEWEST_SCHEMA } from '@agent-audit/schemas'
import type { FleetEvent } from './model.ts'

export interface FleetServer {
  readonly url: string
  readonly username: string
  readonly password: string
  readonly database: string
}

const BATCH = 20_000
const PARTITIONS = 4
const LOG_ID = 'fleet001'
/** Columns that JSON gives in another form. */
const READ: Readonly<Record<string, string>> = {
  run_id: 'unhex(run_id)',
  system_prompt_hash: 'unhex(system_prompt_hash)',
  arguments_sha256: 'unhex(arguments_sha256)',
  output_sha256: 'unhex(output_sha256)',
}
const NUMBERS = new Set(['run_seq', 'session_seq', 'step_number', 'log_partition', 'log_offset'])
const POSITION = ['log_id', 'log_partition', 'log_offset', 'log_time', 'writer_schema']

/**
 * The next batch is made while the server stores the one before.
 * @returns How many events it stored
 */
export async function storeFleet(server: FleetServer, events: Iterable<readonly FleetEvent[]>): Promise<number> {
  const next = new Map<string, number>()
  const count = (key: string): number => {
    const value = next.get(key) ?? 0
    next.set(key, value + 1)
    return value
  }
  let [stored, lines, pending]: [number, string[], Promise<void>] = [0, [], Promise.resolve()]
  const store = async (): Promise<void> => {
    const batch = lines.join('\n')
    lines = []
    await pending
    pending = batch === '' ? Promise.resolve() : insertAgain(server, batch)
  }
  for (const some of events) {
    for (const event of some) lines.push(JSON.stringify(rowOf(event, count)))
    stored += some.length
    if (lines.length >= BATCH) await store()
  }
  await store()
  await pending
  return stored
}

/** The server closes an idle connection. A block that it has got already is not stored twice: it knows its last blocks. */
async function insertAgain(server: FleetServer, lines: string): Promise<void> {
  await insert(server, lines).catch((error: unknown) => {
    if (!(error instanceof TypeError)) throw error
    return insert(server, lines)
  })
}

function rowOf(event: FleetEvent, count: (key: string) => number): Record<string, unknown> {
  const partition = (Buffer.from(event.session_id).at(-1) ?? 0) % PARTITIONS
  const run = event.run_id ?? Buffer.from(event.agent_id.padEnd(16).slice(0, 16)).toString('hex')
  const row: Record<string, unknown> = {
    producer_id: 'fleet',
    retention_class: 'default',
    requires_approval: false,
    step_number: 0,
    run_seq: count(`run ${run}`),
    session_seq: count(`session ${event.session_id}`),
    ...event,
    run_id: run,
    log_id: LOG_ID,
    log_partition: partition,
    log_offset: count(`partition ${partition}`),
    log_time: event.log_time ?? event.timestamp,
    writer_schema: 1,
  }
  for (const [name, value] of Object.entries(row)) {
    if (typeof value === 'object' && value !== null) row[name] = JSON.stringify(value)
  }
  return row
}

const COLUMNS = [...NEWEST_SCHEMA.fields.map(({ name }) => name), ...POSITION]
const SELECTED = COLUMNS.map((name) => READ[name] ?? name).join(', ')

/** Types of the JSON: text, which the table's columns then read, but for binary and numbers. */
function typeOf(name: string): string {
  if (NUMBERS.has(name) || name === 'writer_schema') return 'Int64'
  if (name.endsWith('_tokens') || name.endsWith('_ms')) return 'Nullable(Int64)'
  if (name === 'cost_usd') return 'Nullable(Float64)'
  if (name === 'requires_approval') return 'Bool'
  if (name === 'timestamp') return "DateTime64(6, 'UTC')"
  if (name === 'log_time') return "DateTime64(3, 'UTC')"
  if (name === 'event_id') return 'UUID'
  return name === 'parent_event_id' || name === 'approval_id' ? 'Nullable(UUID)' : 'Nullable(String)'
}

async function insert(server: FleetServer, lines: string): Promise<void> {
  const structure = COLUMNS.map((name) => `${name} ${typeOf(name)}`).join(', ')
  const query = `INSERT INTO ${EVENTS_TABLE} (${COLUMNS.join(', ')})
    SELECT ${SELECTED} FROM input('${structure.replaceAll("'", "\\'")}') FORMAT JSONEachRow`
  const parameters = new URLSearchParams({
    database: server.database,
    query,
    date_time_input_format: 'best_effort',
    // A lease that never ends: no consumer makes these inserts.
    log_comment: '9000000000000 9000000000000',
  })
  const response = await fetch(`${server.url}/?${parameters.toString()}`, {
    method: 'POST',
    headers: { 'X-ClickHouse-User': server.username, 'X-ClickHouse-Key': server.password },
    body: lines,
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`the fleet is not stored: ${text.slice(0, 500)}`)
}
