/** What a change of a sealed trail is made of, and what the verdict on it has to name. */
import type { Finding, Integrity } from '@agent-audit/analytics'
import { generateKey, type KeySigner, signerFromPem } from '@agent-audit/seals'
import type { SealedTrail } from '../../support/sealed-trail.ts'
import type { Copies, Table } from './copies.ts'
import type { Column, Draw } from './values.ts'

type RowTable = 'audit_events' | 'audit_skipped'
export const ROW_TABLES: readonly RowTable[] = ['audit_events', 'audit_skipped']

export interface TrailRow {
  readonly table: RowTable
  readonly partition: number
  readonly offset: number
  /** 32 hex digits, or null. */
  readonly run: string | null
  readonly seq: number | null
}

/** A sealed trail, as the changes choose from it. */
export interface Target {
  readonly rows: Readonly<Record<RowTable, readonly TrailRow[]>>
  /** Without the columns that are computed from others when they are read. */
  readonly columns: Readonly<Record<RowTable, readonly Column[]>>
  readonly trail: SealedTrail
  readonly stranger: KeySigner
}

export interface Change {
  readonly kind: string
  readonly title: string
  /** Tables whose rows are no longer those of the trail. */
  readonly tables: readonly (Table | 'audit_quarantined')[]
  readonly statements: readonly string[]
  /** A row that may still be on its way to a seal is no tampering yet. */
  readonly expected: 'tampering' | 'found'
  /** Whether a finding names the place of the change. */
  readonly names: (finding: Finding) => boolean
}

export async function targetOf(copies: Copies): Promise<Target> {
  const trail = await copies.trail()
  const columnsOf = (table: RowTable): Promise<Column[]> =>
    copies.store.rows<Column>(
      `SELECT name, type FROM system.columns WHERE database = 'audit' AND table = '${table}' AND default_kind = '' ORDER BY position`,
    )
  const rowsOf = (table: RowTable): Promise<TrailRow[]> =>
    copies.store.rows<TrailRow>(
      `SELECT '${table}' AS table, log_partition AS partition, log_offset AS offset, lower(hex(run_id)) AS run, run_seq AS seq
      FROM audit.${table} ORDER BY log_partition, log_offset`,
    )
  const rows = { audit_events: await rowsOf('audit_events'), audit_skipped: await rowsOf('audit_skipped') }
  const columns = { audit_events: await columnsOf('audit_events'), audit_skipped: await columnsOf('audit_skipped') }
  const stranger = signerFromPem(generateKey('agent'))
  return { trail, rows, columns, stranger }
}

/** The first row of the trail that a condition selects. */
export async function rowAt(copies: Copies, condition: string, table: RowTable = 'audit_events'): Promise<TrailRow> {
  await copies.trail()
  const [row] = await copies.store.rows<TrailRow>(
    `SELECT '${table}' AS table, log_partition AS partition, log_offset AS offset, lower(hex(run_id)) AS run, run_seq AS seq
    FROM ${table} WHERE ${condition} ORDER BY log_partition, log_offset LIMIT 1`,
  )
  if (row === undefined) throw new Error(`no row is ${condition}`)
  return row
}

export type Kind = (target: Target, draw: Draw) => Change

export const drawRow = ({ rows }: Target, draw: Draw, table: RowTable = drawTable(draw)): TrailRow =>
  rows[table][draw(rows[table].length)] as TrailRow
export const drawTable = (draw: Draw): RowTable => (draw(5) === 0 ? 'audit_skipped' : 'audit_events')
export const at = ({ partition, offset }: TrailRow): string =>
  `(log_partition = ${partition} AND log_offset = ${offset})`
export const nameOf = ({ table, partition, offset }: TrailRow): string => `${table} ${partition}/${offset}`

/** The rows of the trail, with other values, or without some. */
export function rewritten(table: Table, change: { replace?: string; where?: string; from?: string }): string[] {
  const { replace, where = '1', from = `{true}.${table}` } = change
  const columns = replace === undefined ? '*' : `* REPLACE (${replace})`
  return [`TRUNCATE TABLE {db}.${table}`, `INSERT INTO {db}.${table} SELECT ${columns} FROM ${from} WHERE ${where}`]
}

const covers = (first: number | undefined, last: number | undefined, value: number | null): boolean =>
  value !== null && first !== undefined && last !== undefined && first <= value && value <= last

/** Names the row by its offset, or by the number in its run. */
export function namesRow({ partition, offset, run, seq }: TrailRow): Change['names'] {
  return (finding) =>
    (finding.partition === partition && covers(finding.first_offset, finding.last_offset, offset)) ||
    (finding.run_id === run && covers(finding.first_run_seq, finding.last_run_seq, seq))
}

/** The root differs from the first checkpoint on that holds the leaf: no place is nearer. */
export const namesLeaf =
  (leaf: number): Change['names'] =>
  (finding) =>
    finding.leaf !== undefined && (finding.leaf === leaf || (finding.code === 'log-forked' && finding.leaf >= leaf))

/** What the verdict on a change lacks; undefined, if it is right. */
export function faultOf({ expected, names }: Change, { verdict, findings }: Integrity): string | undefined {
  if (verdict !== 'tampering' && (expected === 'tampering' || verdict === 'verified')) return `verdict ${verdict}`
  if (!findings.some(names)) return `not named: ${JSON.stringify(findings.slice(0, 5))}`
  return undefined
}
