/** The cursor of a page: the query, its parameters with both ends of the range, and the last row that was given. */
import { InvalidInputError } from '@agent-audit/schemas'
import { type AnyQuery, type Resolved, resolveParams, serverTime } from './params.ts'
import type { ColumnKind } from './query.ts'
import { KEY_TYPES } from './rows.ts'

export interface Cursor {
  readonly params: Resolved
  /** Of the columns of the order. */
  readonly key: readonly string[]
}

export function writeCursor({ name, params: described }: AnyQuery, { params, key }: Cursor): string {
  const plain = Object.keys(described).map((each) => params[each] ?? null)
  return Buffer.from(JSON.stringify([name, plain, key])).toString('base64url')
}

/** The texts of a key that the server can bind. */
const KEY_FORMS: Readonly<Record<ColumnKind, RegExp>> = {
  text: /^/,
  time: /^[1-9]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z$/,
  day: /^[1-9]\d{3}-\d\d-\d\d$/,
  integer: /^-?\d{1,19}$/,
  number: /^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/,
  boolean: /^(?:true|false)$/,
}

/** @throws InvalidInputError `OPTIONS_INVALID` if it is no cursor of this query. Its values are checked as given ones are. */
export function readCursor(query: AnyQuery, text: string): Cursor {
  const names = Object.keys(query.params)
  const fault = new InvalidInputError('OPTIONS_INVALID', `query ${query.name}: after: this is no cursor of this query`)
  const [name, plain, key] = decode(text, fault)
  if (name !== query.name || !isTexts(key) || key.length !== query.order.length) throw fault
  if (key.some((each, index) => !KEY_FORMS[kindOf(query, index)].test(each))) throw fault
  if (!Array.isArray(plain) || plain.length !== names.length) throw fault
  const given = names.map((each, index) => {
    const value: unknown = plain[index]
    const isTime = query.params[each]?.kind === 'time' && typeof value === 'string'
    return [each, isTime ? new Date(value) : value] as const
  })
  return { params: resolveParams(query, Object.fromEntries(given)), key }
}

function decode(text: string, fault: InvalidInputError): unknown[] {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))
    if (Array.isArray(value)) return value
  } catch {
    // No JSON: no cursor.
  }
  throw fault
}

function kindOf({ order, columns }: AnyQuery, index: number): ColumnKind {
  return columns[order[index] ?? '']?.kind ?? 'text'
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string')
}

/** The rows behind a key, as a condition with its parameters. */
export function behind(query: AnyQuery, key: readonly string[]): { condition: string; values: Record<string, string> } {
  const kinds = query.order.map((_, index) => kindOf(query, index))
  const bound = kinds.map((kind, index) => `{key${index}:${KEY_TYPES[kind]}}`)
  const condition = `(${query.order.map((name) => `q.${name}`).join(', ')}) > (${bound.join(', ')})`
  const texts = key.map((text, index) => (kinds[index] === 'time' ? serverTime(text) : text))
  return { condition, values: Object.fromEntries(texts.map((text, index) => [`key${index}`, text])) }
}
