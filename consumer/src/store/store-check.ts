/**
 * Checks at start that ClickHouse has all that the protocol rests on. Names all findings at once: otherwise an operator would
 * find the next one only at the next start.
 */
import {
  EVENTS_TABLE,
  EXPIRED_TABLE,
  excessiveGrants,
  IntegrityError,
  LOGS_TABLE,
  QUARANTINED_TABLE,
  readMigrations,
  SKIPPED_TABLE,
  TrailError,
} from '@agent-audit/schemas'
import { BLOCK_COLUMNS } from '../pipeline/block.ts'

export type Settings = Readonly<Record<string, string | number>>
export type Ask = <Row>(query: string, parameters?: Record<string, unknown>, settings?: Settings) => Promise<Row[]>

export interface StoreCheck {
  /** Address and user, for messages. */
  readonly where: string
  readonly database: string
  /** Settings of every insert. */
  readonly insertSettings: Settings
}

/** Parts that a constraint must contain. The server reformats the expression, so the whole of it is not compared. */
const CONSTRAINTS: Readonly<Record<string, readonly string[]>> = {
  deadline: ['nowInBlock64', 'log_comment'],
  fenced_since_start: ['uptime', 'log_comment'],
}
/** A column of each table that the consumer reads, the newest grant first: without them a question fails later, amid the work. */
const NEEDED: readonly (readonly [column: string, table: string])[] = [
  ['event_id', EVENTS_TABLE],
  ['reason', SKIPPED_TABLE],
  ['first_offset', EXPIRED_TABLE],
  ['released', QUARANTINED_TABLE],
]
/** SETTING_CONSTRAINT_VIOLATION, READONLY. */
const FORCED = new Set(['452', '164'])

/**
 * @throws IntegrityError `GRANTS_TOO_WIDE` or `STORE_UNFIT` naming all findings; else as `ask` does, such as when a table is
 * missing.
 */
export async function checkStore(ask: Ask, { where, database, insertSettings }: StoreCheck): Promise<void> {
  for (const [column, table] of NEEDED) await ask(`SELECT ${column} FROM ${table} LIMIT 0`)
  const grants = await findExcess(ask, database)
  const others = [...(await findMissingParts(ask)), ...(await findForcedSettings(ask, insertSettings))]
  const excess = grants.length === 0 ? [] : [`its user may do more than insert: revoke ${grants.join(', ')}`]
  if (grants.length + others.length === 0) return
  const message = `${where} is not fit to be written to: ${[...excess, ...others].join('; ')}`
  throw new IntegrityError(others.length === 0 ? 'GRANTS_TOO_WIDE' : 'STORE_UNFIT', message)
}

async function findExcess(ask: Ask, database: string): Promise<string[]> {
  const grants = await ask<Record<string, string>>('SHOW GRANTS')
  return excessiveGrants(
    grants.map((row) => Object.values(row)[0] ?? ''),
    database,
  )
}

async function findMissingParts(ask: Ask): Promise<string[]> {
  const found: string[] = []
  for (const table of [EVENTS_TABLE, SKIPPED_TABLE] as const) {
    const [row] = await ask<{ statement: string }>(`SHOW CREATE TABLE ${table}`)
    const statement = row?.statement ?? ''
    for (const [name, parts] of Object.entries(CONSTRAINTS)) {
      const expression = new RegExp(`CONSTRAINT \`?${name}\`? CHECK (.*)`).exec(statement)?.[1] ?? ''
      if (parts.some((part) => !expression.includes(part))) {
        found.push(`table ${table} lacks its constraint ${name}, which refuses late inserts`)
      }
    }
    const columns = BLOCK_COLUMNS[table].filter((name) => !new RegExp(`^\\s*\`${name}\` `, 'm').test(statement))
    if (columns.length > 0) found.push(describeMissing(table, columns, 'writes'))
  }
  const [logs] = await ask<{ statement: string }>(`SHOW CREATE TABLE ${LOGS_TABLE}`)
  if (logs?.statement.includes('`topic_id`') !== true) found.push(describeMissing(LOGS_TABLE, ['topic_id'], 'reads'))
  return found
}

/** The migrations are read only now: a table without columns is rare, and a consumer that runs needs no .sql file. */
function describeMissing(table: string, columns: readonly string[], use: 'reads' | 'writes'): string {
  const adds = (statement: string): boolean =>
    columns.some((name) => new RegExp(`ADD COLUMN IF NOT EXISTS ${name} `).test(statement))
  const migrations = readMigrations().filter(({ statements }) => statements.some(adds))
  const run = `run 'agent-audit setup' to apply ${migrations.map(({ name }) => name).join(', ')}`
  return `table ${table} lacks ${columns.join(', ')}, which this consumer ${use}${migrations.length === 0 ? '' : `: ${run}`}`
}

/** Settings that the user's profile forbids an insert to choose. Asks the server itself, until it refuses none. */
async function findForcedSettings(ask: Ask, wanted: Settings): Promise<string[]> {
  const found: string[] = []
  const left = { ...wanted }
  for (;;) {
    try {
      await ask('SELECT 1', {}, left)
      return found
    } catch (error) {
      const { code, message } = ((error as Error).cause ?? {}) as { code?: string; message?: string }
      const name = Object.keys(left).find((setting) => new RegExp(`\\b${setting}\\b`).test(message ?? ''))
      if (!(error instanceof TrailError) || !FORCED.has(code ?? '') || name === undefined) throw error
      found.push(`its profile forbids the setting ${name} = ${left[name]}, which an insert needs (${message})`)
      delete left[name]
    }
  }
}
