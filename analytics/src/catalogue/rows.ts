/** Rows of a query: how each kind of column is asked for, and what a value of the answer becomes. */
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
export function selectOf({ columns }: AnyQuery, format: 'json' | 'file'): string {
  return Object.entries(columns)
    .map(([name, column]) => `${format === 'json' ? jsonOf(name, column) : fileOf(name, column)} AS ${name}`)
    .join(', ')
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

/** Checks and converts a row of the answer, as the columns say. */
export function schemaOf<Row>({ columns }: AnyQuery): RowSchema<Row> {
  const entries = Object.entries(columns)
  return {
    parse(row) {
      const given = row as Readonly<Record<string, unknown>>
      const parsed: Record<string, unknown> = {}
      for (const [name, column] of entries) parsed[name] = valueOf(given[name], name, column)
      return parsed as Row
    },
  }
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
