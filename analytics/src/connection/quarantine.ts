/** Quarantined rows: forged ones that count no more (docs/runbooks/forged-rows.md). They stay in the tables. */
import { EVENTS_TABLE, QUARANTINED_TABLE, ROW_KEY, SKIPPED_TABLE } from '@agent-audit/schemas'
import type { Analytics } from './clickhouse.ts'

const POSITION = 'log_id, log_partition, log_offset'
const quarantinedIn = (database: string): string => `
  SELECT ${POSITION}, ${ROW_KEY} FROM ${database}.${QUARANTINED_TABLE}
  GROUP BY ALL HAVING argMax(released, quarantined_at) = 0`
const COUNT = `SELECT count() AS rows FROM (${quarantinedIn('{database:Identifier}')})`
/** The keys of the rows of each table, which has only some of the columns of the quarantine. */
const KEYS: Readonly<Record<string, string>> = {
  [EVENTS_TABLE]: ROW_KEY.replace('toString(kind)', "'event'"),
  [SKIPPED_TABLE]: ROW_KEY.replace("ifNull(toString(event_id), '')", "''"),
}

/** A connection whose queries leave quarantined rows out, and how many there are. Without any its queries are the same. */
export async function withoutQuarantined(analytics: Analytics): Promise<{ analytics: Analytics; rows: number }> {
  const [found] = await analytics.rows<{ rows: number }>(COUNT)
  const rows = found?.rows ?? 0
  if (rows === 0) return { analytics, rows }
  const settings = filterOf(`\`${analytics.database.replaceAll('`', '\\`')}\``, analytics.database)
  const filtered = (sql: string): string => `${sql.replace(/[;\s]+$/, '')}\n${settings}`
  return {
    rows,
    analytics: {
      ...analytics,
      query: (sql, options) => analytics.query(filtered(sql), options),
      bytes: (sql, options) => analytics.bytes(filtered(sql), options),
      rows: (sql, parameters) => analytics.rows(filtered(sql), parameters),
    },
  }
}

function filterOf(identifier: string, database: string): string {
  const filters = Object.entries(KEYS).map(([table, key]) => {
    const condition = `(${POSITION}, ${key}) NOT IN (${quarantinedIn(identifier)})`
    return `${quoted(`${database}.${table}`)}: ${quoted(condition)}`
  })
  return `SETTINGS additional_table_filters = {${filters.join(', ')}}`
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
