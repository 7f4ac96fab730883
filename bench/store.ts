/** The tables the consumers write to: ours as migrated, and a twin for the obvious consumer. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Analytics, connectAnalytics } from '@agent-audit/analytics'
import { EVENTS_TABLE, LOGS_TABLE, readMigrations, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { DataDir } from '@agent-audit/stack'

/** Of what a consumer has written: rows, distinct records, distinct places in the log. */
export interface Stored {
  readonly rows: number
  readonly records: number
  readonly places: number
}

export interface Store extends AsyncDisposable {
  readonly admin: Analytics
  /** Empties all tables: the next measurement starts on the same ground. */
  clear(): Promise<void>
  count(table: string): Promise<number>
  check(table: string): Promise<Stored>
  version(): Promise<string>
}

export const TWIN_TABLE = 'obvious_events'
const POLL_MS = 50

export async function openStore(dataDir: DataDir): Promise<Store> {
  const admin = connectAnalytics(dataDir.admin)
  await admin.command(twinStatement(dataDir.admin.database))
  const countOf = async (from: string): Promise<number> => {
    const [row] = await admin.rows<{ count: number }>(`SELECT toFloat64(count()) AS count FROM ${from}`)
    return row?.count ?? 0
  }
  return {
    admin,
    async clear() {
      for (const table of [EVENTS_TABLE, SKIPPED_TABLE, LOGS_TABLE, TWIN_TABLE]) {
        await admin.command(`TRUNCATE TABLE {database:Identifier}.${table} SETTINGS max_table_size_to_drop = 0`)
      }
      while ((await countOf('system.merges')) > 0) await sleep(POLL_MS)
    },
    count: (table) => countOf(`{database:Identifier}.${table}`),
    async check(table) {
      const [row] = await admin.rows<Stored>(
        `SELECT toFloat64(count()) AS rows, toFloat64(uniqExact(run_id, run_seq)) AS records,
           toFloat64(uniqExact(log_partition, log_offset)) AS places FROM {database:Identifier}.${table}`,
      )
      return row ?? { rows: 0, records: 0, places: 0 }
    },
    async version() {
      const [row] = await admin.rows<{ version: string }>('SELECT version() AS version')
      return row?.version ?? 'unknown'
    },
    [Symbol.asyncDispose]: () => admin.close(),
  }
}

/**
 * Same columns, codecs, order, indexes, projection and settings as audit_events. Without its constraints, which only our
 * consumer's inserts can meet; bytes are hex, since JSON carries none.
 */
function twinStatement(database: string): string {
  const statements = readMigrations().flatMap((migration) => migration.statements)
  const events = statements.find((statement) => statement.includes(`CREATE TABLE IF NOT EXISTS ${EVENTS_TABLE}`)) ?? ''
  return events
    .replace(EVENTS_TABLE, `${database}.${TWIN_TABLE}`)
    .replaceAll(/^ {2}CONSTRAINT [\s\S]*?,\n(?= {2}(?:CONSTRAINT|INDEX))/gm, '')
    .replaceAll(/^ {2}\w+_hex .*\n/gm, '')
    .replaceAll(/FixedString\((\d+)\)/g, (_, bytes: string) => `FixedString(${2 * Number(bytes)})`)
}
