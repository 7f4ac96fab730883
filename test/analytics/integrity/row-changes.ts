/** Changes of rows, as an administrator of ClickHouse makes them. */
import { at, type Change, drawRow, type Kind, nameOf, namesRow, rewritten, type TrailRow } from './change.ts'
import { type Column, type Draw, otherValue } from './values.ts'

/** Another value in one column. */
export function columnChange(row: TrailRow, column: Column, draw: Draw): Change {
  const value = otherValue(column, draw)
  return {
    kind: 'change a column',
    title: `${nameOf(row)} ${column.name} = ${value}`,
    tables: [row.table],
    statements: rewritten(row.table, {
      replace: `CAST(if(${at(row)}, ${value}, ${column.name}) AS ${column.type}) AS ${column.name}`,
    }),
    expected: 'tampering',
    names: namesRow(row),
  }
}

export const changeColumn: Kind = (target, draw) => {
  const row = drawRow(target, draw)
  const columns = target.columns[row.table]
  return columnChange(row, columns[draw(columns.length)] as Column, draw)
}

export const removeRow: Kind = (target, draw) => {
  const row = drawRow(target, draw)
  return {
    kind: 'remove a row',
    title: nameOf(row),
    tables: [row.table],
    statements: rewritten(row.table, { where: `NOT ${at(row)}` }),
    expected: 'tampering',
    names: namesRow(row),
  }
}

/** A range of offsets: also a prefix, a tail or all. */
export const removeRange: Kind = (target, draw) => {
  const row = drawRow(target, draw)
  const first = draw(4) === 0 ? 0 : row.offset - draw(50)
  const last = draw(4) === 0 ? 1e9 : row.offset + draw(50)
  const gone = `log_partition = ${row.partition} AND log_offset BETWEEN ${first} AND ${last}`
  return {
    kind: 'remove a range',
    title: `${nameOf(row)}: ${first}..${last}`,
    tables: [row.table],
    statements: rewritten(row.table, { where: `NOT (${gone})` }),
    expected: 'tampering',
    names: namesRow(row),
  }
}

/** The row alone. Beside new values under the names of its columns, a condition would mean those. */
const only = (row: TrailRow): string => `(SELECT * FROM {true}.${row.table} WHERE ${at(row)})`

/** Inserts a row like a true one. */
function inserted(row: TrailRow, change: { kind: string; replace: string; fresh?: boolean; place?: TrailRow }): Change {
  const { kind, replace, fresh = false, place = row } = change
  return {
    kind,
    title: `${nameOf(row)} with ${replace}`,
    tables: [row.table],
    statements: [`INSERT INTO {db}.${row.table} SELECT * REPLACE (${replace}) FROM ${only(row)}`],
    expected: fresh ? 'found' : 'tampering',
    names: namesRow(place),
  }
}

export const insertAtUsed: Kind = (target, draw) => {
  const row = drawRow(target, draw)
  const columns = target.columns[row.table].filter(({ name }) => !/^(log_(id|partition|offset)|run_id)$/.test(name))
  const column = columns[draw(columns.length)] as Column
  return inserted(row, { kind: 'insert at a used offset', replace: `${otherValue(column, draw)} AS ${column.name}` })
}

const FREE_OFFSETS = [
  '100000',
  '9007199254740991',
  '9007199254740993',
  '4611686018427387904',
  '9223372036854775807',
  '-1',
  '-7',
]

/** A record of a run that goes on, of one that has ended or of one that never was; stored long ago, just now, or tomorrow. */
export const insertAtFree: Kind = (target, draw) => {
  const row = drawRow(target, draw, 'audit_events')
  const offset = FREE_OFFSETS[draw(FREE_OFFSETS.length)] ?? '100000'
  const run = draw(2) === 0 ? `unhex('00112233445566778899aabbccddeeff') AS run_id, ` : ''
  const seq = ['0', '1000000', '4611686018427387904', '-1'][draw(4)]
  const age = ['7200', '86400 * 40', '0', '-86400'][draw(4)] ?? '0'
  return inserted(row, {
    kind: 'insert at a free offset',
    replace: `toInt64(${offset}) AS log_offset, ${run}toInt64(${seq}) AS run_seq, generateUUIDv4() AS event_id, now64(3) - ${age} AS log_time`,
    fresh: age === '0',
    // A finding gives the largest that a number holds.
    place: { ...row, offset: Math.min(Number(offset), 2 ** 63 - 1024) },
  })
}

export const replay: Kind = (target, draw) => {
  const row = drawRow(target, draw, 'audit_events')
  if (draw(3) === 0) return inserted(row, { kind: 'store a true row again', replace: 'run_id AS run_id' })
  const offset = 100_000 + draw(1_000_000)
  return inserted(row, { kind: 'store a true row again', replace: `${offset} AS log_offset` })
}

/** Exchanges all that two rows say but their offsets, within a seal or across seals. */
export const swap: Kind = (target, draw) => {
  const [one, other] = [drawRow(target, draw, 'audit_events'), drawRow(target, draw, 'audit_events')]
  if (one === other) return swap(target, draw)
  const exchanged = (column: string, of: 'partition' | 'offset', type: string): string =>
    `CAST(multiIf(${at(one)}, ${other[of]}, ${at(other)}, ${one[of]}, ${column}) AS ${type}) AS ${column}`
  const replace = [exchanged('log_offset', 'offset', 'Int64'), exchanged('log_partition', 'partition', 'Int32')]
  // An expression sees the columns of the table, not those that the others make.
  const from = `(SELECT * FROM {true}.audit_events)`
  return {
    kind: 'swap two rows',
    title: `${nameOf(one)} and ${nameOf(other)}`,
    tables: ['audit_events'],
    statements: rewritten('audit_events', { replace: replace.join(', '), from }),
    expected: 'tampering',
    names: (finding) => namesRow(one)(finding) || namesRow(other)(finding),
  }
}

/** An event becomes a skipped row of some kind. */
export const moveToSkipped: Kind = (target, draw) => {
  const row = drawRow(target, draw, 'audit_events')
  const kind = ['dead', 'duplicate', 'hole'][draw(3)]
  const columns = 'retention_class, run_id, run_seq, log_id, log_partition, log_offset, log_time'
  return {
    kind: 'move a row to the other table',
    title: `${nameOf(row)} as ${kind}`,
    tables: ['audit_events', 'audit_skipped'],
    statements: [
      ...rewritten('audit_events', { where: `NOT ${at(row)}` }),
      `INSERT INTO {db}.audit_skipped (${columns}, kind) SELECT ${columns}, '${kind}' FROM {true}.audit_events WHERE ${at(row)}`,
    ],
    expected: 'tampering',
    names: namesRow(row),
  }
}

export const moveToPartition: Kind = (target, draw) => {
  const row = drawRow(target, draw)
  const to = draw(2) === 0 ? 1 - row.partition : 2 + draw(10)
  const offset = draw(2) === 0 ? row.offset : 200_000
  return {
    kind: 'move a row to another partition',
    title: `${nameOf(row)} to ${to}/${offset}`,
    tables: [row.table],
    statements: [
      ...rewritten(row.table, { where: `NOT ${at(row)}` }),
      `INSERT INTO {db}.${row.table} SELECT * REPLACE (${to} AS log_partition, ${offset} AS log_offset) FROM ${only(row)}`,
    ],
    expected: 'tampering',
    names: namesRow(row),
  }
}

/** Hides a true row by the quarantine of forged ones. */
export const quarantine: Kind = (target, draw) => {
  const row = drawRow(target, draw)
  const isEvent = row.table === 'audit_events'
  return {
    kind: 'quarantine a true row',
    title: nameOf(row),
    tables: ['audit_quarantined'],
    statements: [
      `INSERT INTO {db}.audit_quarantined (log_id, log_partition, log_offset, kind, run_id, run_seq, event_id, log_time, reason)
      SELECT log_id, log_partition, log_offset, ${isEvent ? `'event'` : 'kind'}, run_id, run_seq, ${isEvent ? 'event_id' : 'NULL'}, log_time, 'x'
      FROM {true}.${row.table} WHERE ${at(row)}`,
    ],
    expected: 'tampering',
    names: namesRow(row),
  }
}
