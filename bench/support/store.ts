/** The tables of the consumers: ours as migrated, and a twin for each of the others. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Analytics, connectAnalytics } from '@agent-audit/analytics'
import { EVENTS_TABLE, LOGS_TABLE, NEWEST_SCHEMA, readMigrations, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { DataDir, DataDirUser } from '@agent-audit/embedded'

/** Counts of a consumer's rows: all, distinct records, distinct positions in the topic. */
export interface Stored {
  readonly rows: number
  readonly records: number
  readonly positions: number
}

export interface Store extends AsyncDisposable {
  readonly admin: Analytics
  /** Empties all tables, so that each measurement starts equal. */
  clear(): Promise<void>
  count(table: string): Promise<number>
  check(table: string): Promise<Stored>
  version(): Promise<string>
}

/** Table of the obvious consumer: bytes are hex, since JSON cannot carry bytes. */
export const HEX_TWIN_TABLE = 'obvious_events'
/** Table of the Kafka engine. */
export const TWIN_TABLE = 'engine_events'
const POLL_MS = 50

export async function openStore(dataDir: DataDir): Promise<Store> {
  const admin = connectAnalytics(dataDir.admin)
  const { database } = dataDir.admin
  await admin.command(twinStatement(`${database}.${TWIN_TABLE}`))
  await admin.command(bytesAsHex(twinStatement(`${database}.${HEX_TWIN_TABLE}`)))
  for (const twin of [TWIN_TABLE, HEX_TWIN_TABLE]) {
    const own = twin === HEX_TWIN_TABLE ? bytesAsHex : (statement: string): string => statement
    for (const statement of laterChanges(`${database}.${twin}`)) await admin.command(own(statement))
  }
  const countOf = async (from: string): Promise<number> => {
    const [row] = await admin.rows<{ count: number }>(`SELECT toFloat64(count()) AS count FROM ${from}`)
    return row?.count ?? 0
  }
  return {
    admin,
    async clear() {
      for (const table of [EVENTS_TABLE, SKIPPED_TABLE, LOGS_TABLE, TWIN_TABLE, HEX_TWIN_TABLE]) {
        await admin.command(`TRUNCATE TABLE {database:Identifier}.${table} SETTINGS max_table_size_to_drop = 0`)
      }
      while ((await countOf('system.merges')) > 0) await sleep(POLL_MS)
    },
    count: (table) => countOf(`{database:Identifier}.${table}`),
    async check(table) {
      const [row] = await admin.rows<Stored>(
        `SELECT toFloat64(count()) AS rows, toFloat64(uniqExact(run_id, run_seq)) AS records,
           toFloat64(uniqExact(log_partition, log_offset)) AS positions FROM {database:Identifier}.${table}`,
      )
      return row ?? { rows: 0, records: 0, positions: 0 }
    },
    async version() {
      const [row] = await admin.rows<{ version: string }>('SELECT version() AS version')
      return row?.version ?? 'unknown'
    },
    [Symbol.asyncDispose]: () => admin.close(),
  }
}

/** Environment of a process that connects as this user. */
export function environmentOf({ url, username, password, database }: DataDirUser): Record<string, string> {
  return {
    CLICKHOUSE_URL: url,
    CLICKHOUSE_USER: username,
    CLICKHOUSE_PASSWORD: password,
    CLICKHOUSE_DATABASE: database,
  }
}

/** Columns of the table that the Avro record fills: names and types of those before the position in the topic. */
export function recordColumns(): { name: string; type: string }[] {
  const ofEvents = allStatements().filter(
    (statement) =>
      statement.includes(`TABLE IF NOT EXISTS ${EVENTS_TABLE}`) || statement.includes(`ALTER TABLE ${EVENTS_TABLE}`),
  )
  const lines = ofEvents.flatMap((statement) => [
    ...statement.matchAll(/^ {2}(?:ADD COLUMN IF NOT EXISTS )?([a-z_0-9]+) (.+?)(?: CODEC\(.*\))?(?: AFTER \w+)?,$/gm),
  ])
  const types = new Map(lines.map(([, name = '', type = '']) => [name, type]))
  return NEWEST_SCHEMA.fields.map(({ name }) => ({ name, type: types.get(name) ?? '' }))
}

/** Same columns, codecs, order, indexes, projection and settings as audit_events; no constraints: only our consumer meets them. */
function twinStatement(table: string): string {
  return eventsStatement()
    .replace(EVENTS_TABLE, table)
    .replaceAll(/^ {2}CONSTRAINT [\s\S]*?,\n(?= {2}(?:CONSTRAINT|INDEX))/gm, '')
    .replaceAll(/^ {2}\w+_hex .*\n/gm, '')
}

function bytesAsHex(statement: string): string {
  return statement.replaceAll(/FixedString\((\d+)\)/g, (_, bytes: string) => `FixedString(${2 * Number(bytes)})`)
}

/** What later migrations changed on audit_events, without constraints and without the bytes as hex. */
function laterChanges(table: string): string[] {
  const altered = `ALTER TABLE ${EVENTS_TABLE}`
  const statements = allStatements().filter((statement) => statement.includes(altered))
  return statements.map((statement) =>
    statement
      .replace(altered, `ALTER TABLE ${table}`)
      .replaceAll(/,\n {2}ADD COLUMN IF NOT EXISTS \w+_hex .*?(?=,?$)/gm, '')
      .replace(/,\n {2}ADD CONSTRAINT [\s\S]*$/, ''),
  )
}

function allStatements(): string[] {
  return readMigrations().flatMap((migration) => migration.statements)
}

function eventsStatement(): string {
  return allStatements().find((statement) => statement.includes(`CREATE TABLE IF NOT EXISTS ${EVENTS_TABLE}`)) ?? ''
}
