/** Grants of the roles in ClickHouse, and the check that a user has no more than these. */
import {
  ALERTS_TABLE,
  CHECKPOINTS_TABLE,
  DETECTOR_CURSORS_TABLE,
  DETECTOR_RUNS_TABLE,
  EVENTS_TABLE,
  EXPIRED_TABLE,
  FINDINGS_TABLE,
  LOGS_TABLE,
  QUARANTINED_TABLE,
  SEALS_TABLE,
  SKIPPED_TABLE,
} from '../names.ts'

/**
 * Columns that the consumer may read, by table: enough to find its position, its duplicates and conflicts, and to seal again what an
 * owner before it has stored; no content. The reason of a skipped row is the consumer's own text.
 */
const BOOKKEEPING: Readonly<Record<string, readonly string[]>> = {
  [EVENTS_TABLE]: [
    'run_id',
    'run_seq',
    'event_id',
    'retention_class',
    'log_id',
    'log_partition',
    'log_offset',
    'log_time',
  ],
  [SKIPPED_TABLE]: [
    'kind',
    'reason',
    'run_id',
    'run_seq',
    'retention_class',
    'log_id',
    'log_partition',
    'log_offset',
    'log_time',
  ],
  [EXPIRED_TABLE]: ['log_id', 'log_partition', 'first_offset', 'last_offset'],
  [QUARANTINED_TABLE]: [
    'log_id',
    'log_partition',
    'log_offset',
    'kind',
    'run_id',
    'run_seq',
    'event_id',
    'log_time',
    'released',
    'quarantined_at',
  ],
}

/**
 * Tables that the consumer inserts into: not the expiry notes, which would hide a row that it has not stored, nor the quarantine,
 * which would hide one that it has.
 */
const WRITTEN: readonly string[] = [EVENTS_TABLE, SKIPPED_TABLE]

/**
 * Columns of the server's own tables. system.processes: the ids of inserts under way, and not their settings, which hold the
 * deduplication token. system.parts: the consumer paces its inserts by the number of parts.
 */
const SYSTEM_COLUMNS: Readonly<Record<string, readonly string[]>> = {
  'system.processes': ['query_id'],
  'system.parts': ['database', 'table', 'partition_id', 'active'],
}

/** Grants of the consumer: it inserts and reads its bookkeeping; it reads no content, and changes or removes nothing. */
export function writerGrants(database: string): string[] {
  const tables = Object.entries(BOOKKEEPING)
  return [
    ...WRITTEN.map((table) => `GRANT INSERT ON ${database}.${table}`),
    ...tables.map(([table, columns]) => `GRANT SELECT(${columns.join(', ')}) ON ${database}.${table}`),
    `GRANT SELECT ON ${database}.${LOGS_TABLE}`,
    ...Object.entries(SYSTEM_COLUMNS).map(([table, columns]) => `GRANT SELECT(${columns.join(', ')}) ON ${table}`),
  ]
}

/** Grants of people and programs that read the whole trail. */
export function readerGrants(database: string): string[] {
  return [`GRANT SELECT ON ${database}.*`]
}

/** Tables that the detectors insert into: none of those that the consumer writes. */
const FOUND: readonly string[] = [FINDINGS_TABLE, DETECTOR_CURSORS_TABLE, DETECTOR_RUNS_TABLE, ALERTS_TABLE]

/** Grants of the detectors: they read the whole trail, and insert what they find. */
export function detectorGrants(database: string): string[] {
  return [...readerGrants(database), ...FOUND.map((table) => `GRANT INSERT ON ${database}.${table}`)]
}

/** Tables that the notary inserts into, and reads to go on from where it was. */
const NOTED: readonly string[] = [SEALS_TABLE, CHECKPOINTS_TABLE]

/** Grants of the notary: it reads no event, only the seal log that it writes and which logs there are. */
export function notaryGrants(database: string): string[] {
  return [
    ...NOTED.map((table) => `GRANT SELECT, INSERT ON ${database}.${table}`),
    `GRANT SELECT ON ${database}.${LOGS_TABLE}`,
  ]
}

/** A role with rights of its own beside reading. */
export type Role = 'writer' | 'detector' | 'notary'

/** Tables that a role must be able to insert into. */
const INSERTED: Readonly<Record<Role, readonly string[]>> = { writer: WRITTEN, detector: FOUND, notary: NOTED }

const ALLOWED: Readonly<Record<Role, (privilege: string, target: string, database: string) => boolean>> = {
  writer: isWriters,
  detector: isDetectors,
  notary: isNotarys,
}

/**
 * Finds the grants of a user beyond those of its role.
 * @param shown - Lines of `SHOW GRANTS`, such as `GRANT SELECT(a, b), INSERT ON audit.audit_events TO audit_writer`.
 * @returns The excess grants, such as `ALTER ON audit.audit_events`; empty for a correct user.
 */
export function excessiveGrants(shown: readonly string[], database: string, role: Role = 'writer'): string[] {
  const isAllowed = ALLOWED[role]
  return shown.flatMap((line) => {
    const [, granted, target] = /^GRANT (.+) ON (\S+) TO .+?$/.exec(line) ?? []
    if (granted === undefined || target === undefined) return [line]
    if (line.endsWith('WITH GRANT OPTION')) return [`${granted} ON ${target} WITH GRANT OPTION`]
    const privileges = granted.match(/[^,(]+(\([^)]*\))?/g) ?? []
    const excess = privileges.filter((privilege) => !isAllowed(privilege.trim(), target.replaceAll('`', ''), database))
    return excess.map((privilege) => `${privilege.trim()} ON ${target}`)
  })
}

/**
 * Finds the grants to insert that a user of a role lacks.
 * @param shown - As {@link excessiveGrants} takes them, of a user without excess.
 * @returns Such as `INSERT ON audit.audit_findings`; empty for a correct user.
 */
export function lackingInserts(shown: readonly string[], database: string, role: Role): string[] {
  const lines = shown.flatMap((line) => {
    const [, privileges = '', target = ''] = /^GRANT (.+) ON (\S+) TO .+$/.exec(line) ?? []
    return /(^|, )INSERT(,|$)/.test(privileges) ? [target.replaceAll('`', '')] : []
  })
  const granted = new Set(lines)
  const needed = INSERTED[role].map((table) => `${database}.${table}`)
  return needed.filter((table) => !granted.has(table)).map((table) => `INSERT ON ${table}`)
}

function isWriters(privilege: string, target: string, database: string): boolean {
  if (privilege === 'SELECT' && target === `${database}.${LOGS_TABLE}`) return true
  const table = target.startsWith(`${database}.`) ? target.slice(database.length + 1) : ''
  if (privilege === 'INSERT') return WRITTEN.includes(table)
  const columns = SYSTEM_COLUMNS[target] ?? BOOKKEEPING[table] ?? []
  const read = /^SELECT\((.+)\)$/.exec(privilege)?.[1]
  return read !== undefined && read.split(',').every((column) => columns.includes(column.trim().replaceAll('`', '')))
}

function isDetectors(privilege: string, target: string, database: string): boolean {
  if (!target.startsWith(`${database}.`)) return false
  if (/^SELECT(\(.+\))?$/.test(privilege)) return true
  return privilege === 'INSERT' && FOUND.includes(target.slice(database.length + 1))
}

function isNotarys(privilege: string, target: string, database: string): boolean {
  const table = target.startsWith(`${database}.`) ? target.slice(database.length + 1) : ''
  if (/^SELECT(\(.+\))?$/.test(privilege)) return NOTED.includes(table) || table === LOGS_TABLE
  return privilege === 'INSERT' && NOTED.includes(table)
}
