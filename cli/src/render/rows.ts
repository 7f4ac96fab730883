/** Rows of a query in the formats of the command. Recorded text is hostile in each of them. */
import { type AnyQuery, type Column, describeCost } from '@agent-audit/analytics'
import { table } from './table.ts'
import { asJson, figure, type Paint, printable, shortened } from './text.ts'

export type QueryRow = Readonly<Record<string, string | number | bigint | boolean | null>>

/** Longest text in a table, characters: JSON has it whole. */
const CELL_LENGTH = 48

/** A table of rows, without the columns that have no value in any of them. */
export function rowTable({ columns }: AnyQuery, rows: readonly QueryRow[], paint: Paint): string {
  const shown = Object.entries(columns).filter(([name]) => rows.some((row) => row[name] !== null))
  return table(
    shown.map(([name, column]) => ({
      title: name.toUpperCase().replaceAll('_', ' '),
      value: (row: QueryRow) => cell(row[name], column),
      right: column.kind === 'integer' || column.kind === 'number',
    })),
    rows,
    paint,
  )
}

function cell(value: QueryRow[string] | undefined, { kind }: Column): string {
  if (value === null || value === undefined) return '-'
  if (kind === 'integer') return figure(value as number | bigint)
  if (kind === 'number') return (value as number).toLocaleString('en-US', { maximumSignificantDigits: 6 })
  return typeof value === 'string' ? shortened(value, CELL_LENGTH) : String(value)
}

/** One JSON object; an integer has all of its digits. */
export function rowJson(row: QueryRow): string {
  return asJson(row, (_, value: unknown) => (typeof value === 'bigint' ? rawJson(value) : value))
}

function rawJson(value: bigint): unknown {
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(String(value))
}

/** The line of titles. */
export function csvHead({ columns }: AnyQuery): string {
  return `${Object.keys(columns).join(',')}\r\n`
}

/** A line of RFC 4180. Null is an empty field, an empty text is `""`. */
export function csvLine({ columns }: AnyQuery, row: QueryRow): string {
  return `${Object.entries(columns)
    .map(([name, { kind }]) => csvField(row[name], kind === 'text'))
    .join(',')}\r\n`
}

/** A spreadsheet takes a text that begins so for a formula (OWASP, CSV injection); wide forms are taken for the plain ones. */
const FORMULA = /^[=+\-@\t\r\n＝＋－＠]/

function csvField(value: QueryRow[string] | undefined, isText: boolean): string {
  if (value === null || value === undefined) return ''
  if (!isText) return String(value)
  const text = value as string
  // Before and after: printable turns a carriage return into an escape.
  const safe = `${FORMULA.test(text) ? "'" : ''}${printable(text, true)}`
  return /^$|["\r\n,]|^\s|\s$/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/** A query with its parameters and columns, for `--describe` and the help. */
export function queryHelp(query: AnyQuery): string {
  const { cost, maxDays, name } = query
  const params = Object.entries(query.params).map(([param, { kind, about, required, choices, fallback }]) => {
    const extra = [
      required === true ? 'needed' : undefined,
      choices?.join(' | '),
      fallback === undefined ? undefined : `default: ${fallback}`,
    ].filter((each) => each !== undefined)
    return [`${param} (${kind})`, `${about}${extra.length > 0 ? ` (${extra.join('; ')})` : ''}`]
  })
  const columns = Object.entries(query.columns).map(([column, { kind, about, nullable }]) => [
    `${column} (${kind}${nullable === true ? ' or null' : ''})`,
    about,
  ])
  const range = maxDays === undefined ? [] : [`Range: at most ${maxDays} days.`]
  const costs = `Costs: ${describeCost(cost)}. ${cost.note ?? ''}`
  const parts = [`${name}: ${query.answers}`, `Reads: ${query.reads}`, costs.trim(), ...range]
  return `${[...parts, '', 'Parameters (--param name=value):', ...listed(params), '', `Columns, in order of ${query.order.join(', ')}:`, ...listed(columns)].join('\n')}\n`
}

function listed(pairs: readonly (readonly string[])[]): string[] {
  const width = Math.max(...pairs.map(([name = '']) => name.length))
  return pairs.map(([name = '', about = '']) => `  ${name.padEnd(width)}  ${about}`)
}
