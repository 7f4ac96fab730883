/** Who may do what in ClickHouse, and the check that a user may do no more than that. */
import { EVENTS_TABLE, LOGS_TABLE, SKIPPED_TABLE } from '../names.ts'

/** Columns the consumer may read, by table: what it needs to find its place and its duplicates, and no content. */
const BOOKKEEPING: Readonly<Record<string, readonly string[]>> = {
  [EVENTS_TABLE]: ['run_id', 'run_seq', 'retention_class', 'log_id', 'log_partition', 'log_offset', 'log_time'],
  [SKIPPED_TABLE]: ['kind', 'run_id', 'run_seq', 'log_id', 'log_partition', 'log_offset', 'log_time'],
}

/** Of system.parts: how many there are, by which the consumer paces its inserts. */
const PARTS_COLUMNS = ['database', 'table', 'partition_id', 'active']

/** The consumer's user: it inserts, and reads its own bookkeeping; no content, and nothing that changes or removes. */
export function writerGrants(database: string): string[] {
  const tables = Object.entries(BOOKKEEPING)
  return [
    ...tables.map(([table]) => `GRANT INSERT ON ${database}.${table}`),
    ...tables.map(([table, columns]) => `GRANT SELECT(${columns.join(', ')}) ON ${database}.${table}`),
    `GRANT SELECT ON ${database}.${LOGS_TABLE}`,
    'GRANT SELECT ON system.processes',
    `GRANT SELECT(${PARTS_COLUMNS.join(', ')}) ON system.parts`,
  ]
}

/** People and programs that read the whole trail. */
export function readerGrants(database: string): string[] {
  return [`GRANT SELECT ON ${database}.*`]
}

/**
 * Finds what a user may do beyond {@link writerGrants}.
 * @param shown - Lines of `SHOW GRANTS`, such as `GRANT SELECT(a, b), INSERT ON audit.audit_events TO audit_writer`.
 * @returns What is too much, such as `ALTER ON audit.audit_events`; empty for a writer as it should be.
 */
export function excessiveGrants(shown: readonly string[], database: string): string[] {
  return shown.flatMap((line) => {
    const [, granted, target] = /^GRANT (.+) ON (\S+) TO .+?$/.exec(line) ?? []
    if (granted === undefined || target === undefined) return [line]
    if (line.endsWith('WITH GRANT OPTION')) return [`${granted} ON ${target} WITH GRANT OPTION`]
    const privileges = granted.match(/[^,(]+(\([^)]*\))?/g) ?? []
    const excess = privileges.filter((privilege) => !isAllowed(privilege.trim(), target.replaceAll('`', ''), database))
    return excess.map((privilege) => `${privilege.trim()} ON ${target}`)
  })
}

function isAllowed(privilege: string, target: string, database: string): boolean {
  if (privilege === 'SELECT' && [`${database}.${LOGS_TABLE}`, 'system.processes'].includes(target)) return true
  const table = target.startsWith(`${database}.`) ? BOOKKEEPING[target.slice(database.length + 1)] : undefined
  if (privilege === 'INSERT') return table !== undefined
  const columns = target === 'system.parts' ? PARTS_COLUMNS : (table ?? [])
  const read = /^SELECT\((.+)\)$/.exec(privilege)?.[1]
  return read !== undefined && read.split(',').every((column) => columns.includes(column.trim().replaceAll('`', '')))
}
