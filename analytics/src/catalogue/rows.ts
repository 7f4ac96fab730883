/** Rows of a query: how each kind of column is asked for, and what a value of the answer becomes. */
import type { FieldReader } from '@agent-audit/erasure'
import type { RowSchema } from '../connection/clickhouse.ts'
import { isoText } from '../connection/sql.ts'
import type { AnyQuery } from './params.ts'
import type { Column, ColumnKind } from './query.ts'

/** The type of a value in the order of a query, as the server binds it. */
export const KEY_TYPES: Readonly<Record<ColumnKind, string>> = {
  text: 'String',
  time: `DateTime64(6, 'UTC')`,
  day: 'Date',
  integer: 'Int64',
  number: 'Float64',
  boolean: 'Bool',
}

/** The columns of the rows of a query in a format. A text has the same bytes in each, a file keeps times and numbers as such. */
export function selectOf({ columns, encrypted = {} }: AnyQuery, format: 'json' | 'file'): string {
  const selected = Object.entries(columns).map(
    ([name, column]) => `${format === 'json' ? jsonOf(name, column) : fileOf(name, column)} AS ${name}`,
  )
  // A file is written by the server, with the texts as they are stored.
  const places = format === 'json' ? Object.keys(encrypted).map((name) => `q.${name} AS ${name}`) : []
  return [...selected, ...places].join(', ')
}

function jsonOf(name: string, { kind }: Column): string {
  if (kind === 'time') return isoText(`q.${name}`)
  // Digits, whatever the server does with large numbers in JSON.
  return kind === 'number' || kind === 'boolean' ? `q.${name}` : `toString(q.${name})`
}

function fileOf(name: string, { kind, wide }: Column): string {
  if (kind === 'text') return `toString(q.${name})`
  // Parquet has no integer of 128 bits: readers would get 16 bytes.
  return wide === true ? `toDecimal128(q.${name}, 0)` : `q.${name}`
}

/** Checks and converts a row of the answer, as the columns say, and decrypts it or marks what it cannot. */
export function schemaOf<Row>({ columns, encrypted = {} }: AnyQuery, fields: FieldReader): RowSchema<Row> {
  const entries = Object.entries(columns)
  return {
    parse(row) {
      const given = row as Record<string, unknown>
      for (const [place, names] of Object.entries(encrypted)) reveal(given, given[place], { names, fields })
      const parsed: Record<string, unknown> = {}
      for (const [name, column] of entries) parsed[name] = valueOf(given[name], name, column)
      return parsed as Row
    },
  }
}

/** @param place - As encryptionOf has it. */
function reveal(
  row: Record<string, unknown>,
  place: unknown,
  { names, fields }: { readonly names: readonly string[]; readonly fields: FieldReader },
): void {
  if (typeof place !== 'string') return
  const [, run_id, run_seq, event_id, field_notes] = /^(\S+) (\S+) (\S+) ([^]*)$/.exec(place) ?? []
  const texts = Object.fromEntries(names.map((name) => [name, row[name]]))
  const event = { ...texts, run_id, run_seq, event_id, field_notes }
  fields.reveal(event)
  for (const name of names) row[name] = (event as Record<string, unknown>)[name]
}

function valueOf(value: unknown, name: string, { kind, nullable }: Column): unknown {
  if (value === null && nullable === true) return null
  if (kind === 'integer' && typeof value === 'string' && /^-?\d+$/.test(value)) return integerOf(value)
  // The server writes a large double without a point: read as an integer.
  if (kind === 'number' && (typeof value === 'number' || typeof value === 'bigint')) return Number(value)
  if (kind === 'boolean' && (typeof value === 'boolean' || value === 0 || value === 1)) return Boolean(value)
  if (kind !== 'integer' && kind !== 'number' && kind !== 'boolean' && typeof value === 'string') return value
  const message = `expected ${kind}, got ${value === null ? 'null' : typeof value}`
  throw Object.assign(new TypeError(message), { issues: [{ path: [name], message }] })
}

function integerOf(digits: string): number | bigint {
  const value = Number(digits)
  return Number.isSafeInteger(value) ? value : BigInt(digits)
}
