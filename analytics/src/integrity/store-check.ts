/** Whether the tables are tables, and whether this user sees all of their rows. */
import {
  CHECKPOINTS_TABLE,
  EVENTS_TABLE,
  IntegrityError,
  SEALS_TABLE,
  SKIPPED_TABLE,
  TrailError,
} from '@agent-audit/schemas'
import type { Analytics } from '../connection/clickhouse.ts'
import { number, type Row, text } from '../connection/rows.ts'
import type { Findings } from './findings.ts'
import { ROW_COLUMNS } from './rows/row-columns.ts'

const TABLES = [EVENTS_TABLE, SKIPPED_TABLE, SEALS_TABLE, CHECKPOINTS_TABLE]
const ENGINES = `SELECT name, engine FROM system.tables WHERE database = {database:String} AND name IN {tables:Array(String)}`
const COMPUTED = `
  SELECT table, name, default_kind FROM system.columns
  WHERE database = {database:String} AND table IN {tables:Array(String)} AND default_kind IN ('ALIAS', 'MATERIALIZED', 'EPHEMERAL')`
const POLICIES = `
  SELECT count() AS policies FROM system.row_policies
  WHERE database = {database:String} AND table IN {tables:Array(String)}`
const PLAN = `EXPLAIN actions = 1 SELECT log_offset FROM {database:Identifier}.`

/**
 * A view in the place of a table shows what its author likes, to this user.
 * @returns a text for what was not checked, if row policies cannot be seen.
 * @throws IntegrityError `STORE_UNFIT`, if a table is none, or a column is computed
 */
export async function checkStore(analytics: Analytics, findings: Findings): Promise<string | undefined> {
  const params = { database: analytics.database, tables: TABLES }
  const engines = new Map(
    (await analytics.rows<Row>(ENGINES, params)).map((row) => [text(row, 'name'), text(row, 'engine')]),
  )
  for (const table of TABLES) {
    const engine = engines.get(table)
    if (engine !== undefined && /^(Replicated|Shared)?MergeTree$/.test(engine)) continue
    const found = engine === undefined ? 'no such table' : `the engine ${engine}`
    throw new IntegrityError('STORE_UNFIT', `${table}: expected a MergeTree table, found ${found}`)
  }
  for (const row of await analytics.rows<Row>(COMPUTED, params)) {
    const [table, column] = [text(row, 'table'), text(row, 'name')]
    if ((ROW_COLUMNS as Record<string, readonly string[]>)[table]?.includes(column) !== true) continue
    const message = `${table}.${column}: expected a stored column, found one of kind ${text(row, 'default_kind')}`
    throw new IntegrityError('STORE_UNFIT', message)
  }
  return checkPolicies(analytics, params, findings)
}

async function checkPolicies(
  analytics: Analytics,
  params: Record<string, unknown>,
  findings: Findings,
): Promise<string | undefined> {
  if (await isFiltered(analytics)) {
    const message = 'a row policy hides rows from this user: verify as a user without one'
    findings.add('unchecked', 'row-policy', message)
    return undefined
  }
  try {
    const [row] = await analytics.rows<Row>(POLICIES, params)
    const policies = row === undefined ? 0 : number(row, 'policies')
    return policies === 0 ? undefined : `${policies} row policies of the tables, which hide rows from other users`
  } catch (error) {
    if (!(error instanceof TrailError) || error.code !== 'ACCESS_DENIED') throw error
    return 'row policies of other users: this user may not see system.row_policies'
  }
}

/** Whether the plan of a query of this user has a filter that the query has not. */
async function isFiltered(analytics: Analytics): Promise<boolean> {
  for (const table of [EVENTS_TABLE, SKIPPED_TABLE]) {
    const plan = await analytics.rows<Row>(`${PLAN}${table}`)
    if (plan.some((row) => /filter|prewhere/i.test(text(row, 'explain')))) return true
  }
  return false
}
