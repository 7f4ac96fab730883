/** Parameters of a query: checked strictly, then bound to its SQL by name. */
import { InvalidInputError, type Issue, noSuch } from '@agent-audit/schemas'
import type { Column, NamedQuery, Parameter } from './query.ts'

/** A query, whatever its parameters and rows are. */
export type AnyQuery = Omit<NamedQuery, 'params' | 'columns' | 'order' | 'encrypted'> & {
  readonly params: Readonly<Record<string, Parameter>>
  readonly columns: Readonly<Record<string, Column>>
  readonly order: readonly string[]
  readonly encrypted?: Readonly<Record<string, readonly string[]>>
}

/** Checked parameters, with the defaults filled in; those that are not given are absent. */
export type Resolved = Readonly<Record<string, string | Date>>

/** A longer text is no id of the trail, and the server takes it in the address of a request. */
export const MAX_TEXT_CHARACTERS = 32_768
const DAY_MS = 86_400_000

/** @throws InvalidInputError `OPTIONS_INVALID`, naming every wrong parameter, and near names of those that do not exist. */
export function resolveParams(query: AnyQuery, given: Readonly<Record<string, unknown>>): Resolved {
  const issues = Object.keys(given)
    .filter((name) => !Object.hasOwn(query.params, name))
    .map((name) => ({ path: name, expected: noSuch('parameter', name, Object.keys(query.params)) }))
  const resolved: Record<string, string | Date> = {}
  for (const [name, parameter] of Object.entries(query.params)) {
    const value = Object.hasOwn(given, name) ? (given[name] ?? undefined) : undefined
    const expected = value === undefined ? missing(parameter) : faultOf(parameter, value)
    if (expected !== undefined) issues.push({ path: name, expected })
    else if (value !== undefined) resolved[name] = value as string | Date
  }
  if (issues.length === 0) resolveRange(resolved, query, issues)
  if (issues.length > 0) throw invalid(query.name, issues)
  return resolved
}

function missing({ required, about }: Parameter): string | undefined {
  return required === true ? `needed: ${about}` : undefined
}

function faultOf({ kind, choices = [] }: Parameter, value: unknown): string | undefined {
  if (kind === 'time') {
    const isTime = value instanceof Date && value.getTime() >= 0 && value.getUTCFullYear() < 2200
    return isTime ? undefined : `expected a time (a Date from 1970 to 2199), got ${kindOf(value)}`
  }
  if (typeof value !== 'string') return `expected a text, got ${kindOf(value)}`
  if (kind === 'choice') return choices.includes(value) ? undefined : `expected one of ${choices.join(', ')}`
  const fits = value.length > 0 && value.length <= MAX_TEXT_CHARACTERS
  return fits ? undefined : `expected 1 to ${MAX_TEXT_CHARACTERS} characters, got ${value.length}`
}

function kindOf(value: unknown): string {
  return value instanceof Date ? 'a Date outside of that' : value === null ? 'null' : typeof value
}

/** Fills in both ends, so that a cursor names the same range later. */
function resolveRange(
  resolved: Record<string, string | Date>,
  { maxDays, wholeDays = false }: AnyQuery,
  issues: Issue[],
): void {
  if (maxDays === undefined) return
  const until = (resolved['until'] ??= new Date()) as Date
  const since = (resolved['since'] ??= new Date(until.getTime() - DAY_MS)) as Date
  const days = (until.getTime() - since.getTime()) / DAY_MS
  const range = `${since.toISOString()} to ${until.toISOString()}`
  if (days <= 0) issues.push({ path: 'since', expected: `expected a time before until: the range ${range} is empty` })
  if (days > maxDays) {
    const expected = `expected a range of at most ${maxDays} days: ${range} has ${Math.ceil(days)}`
    issues.push({ path: 'since', expected })
  }
  if (!wholeDays) return
  resolved['since'] = new Date(Math.floor(since.getTime() / DAY_MS) * DAY_MS)
  resolved['until'] = new Date(Math.ceil(until.getTime() / DAY_MS) * DAY_MS)
}

export function invalid(name: string, issues: readonly Issue[]): InvalidInputError {
  const listed = issues.map(({ path, expected }) => `${path}: ${expected}`).join('; ')
  return new InvalidInputError('OPTIONS_INVALID', `query ${name}: ${listed}`, { issues })
}

/** The values that the server binds. A parameter that is not given is null. */
export function bind(query: AnyQuery, resolved: Resolved): Record<string, string | null> {
  const given = Object.keys(query.params).map((name) => [name, bound(resolved[name])] as const)
  return { ...query.constants, ...Object.fromEntries(given) }
}

function bound(value: string | Date | undefined): string | null {
  if (value === undefined) return null
  return value instanceof Date ? serverTime(value.toISOString()) : value
}

/** ISO 8601 in UTC, as the server reads a DateTime64. */
export function serverTime(iso: string): string {
  return iso.replace('T', ' ').replace('Z', '')
}
