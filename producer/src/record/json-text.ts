/** A caller's values as JSON text. A value that JSON would drop or change in silence is refused, with its path. */
import type { Issue } from '@agent-audit/schemas'
import canonicalize from 'canonicalize'
import { copyForJson, VALUE_SIZE } from './json-copy.ts'

/** Deeper values, and so every cycle, go to the careful walk. */
const QUICK_DEPTH = 64
/**
 * Larger values go to the careful walk, which meets a shared object once: here it is met by every path to it. Counted as in
 * json-copy.ts: some 130,000 values, which take 2 ms.
 */
const QUICK_SIZE = 2 ** 21

/**
 * JSON.stringify, without spaces, in the caller's order of keys; `undefined` in objects is dropped.
 * @returns The text; undefined after adding to `issues` what JSON cannot hold, and where.
 */
export function toJsonText(value: unknown, path: string, issues: Issue[]): string | undefined {
  return write(value, { path, issues, errors: true, serialize: JSON.stringify })
}

/**
 * The same as canonical JSON (RFC 8785): keys sorted, so that the same arguments always give the same text. An Error is
 * refused: the tool would run with another value than the one it was given.
 */
export function toCanonicalText(value: unknown, path: string, issues: Issue[]): string | undefined {
  return write(value, { path, issues, errors: false, serialize: writeCanonical })
}

/**
 * As {@link toJsonText}, for a value that the producer records as far as it can: the action has taken place. A text such as
 * `[not recorded: a Map]` stands in the position of a value that JSON cannot hold.
 * @returns The text; undefined when the value is too large, or as a whole is none that JSON holds. `issues` tell why.
 */
export function toPartialText(value: unknown, path: string): { text: string | undefined; issues: readonly Issue[] } {
  const options: WriteOptions = { path, issues: [], errors: true, serialize: JSON.stringify }
  const { issues } = options
  const quick = writeQuickly(value, options)
  if (quick !== undefined) return { text: quick, issues }
  const copy = copyForJson(value, options)
  const isRecordable = issues.length === 0 || (typeof copy === 'object' && copy !== null)
  return { text: isRecordable ? JSON.stringify(copy) : undefined, issues }
}

interface WriteOptions {
  readonly path: string
  readonly issues: Issue[]
  readonly errors: boolean
  readonly serialize: (value: unknown) => string | undefined
}

function write(value: unknown, options: WriteOptions): string | undefined {
  const quick = writeQuickly(value, options)
  if (quick !== undefined) return quick
  const { path, issues, serialize } = options
  const before = issues.length
  const copy = copyForJson(value, options)
  if (issues.length > before) return undefined
  try {
    const text = serialize(copy)
    if (text === undefined) issues.push({ path, expected: 'expected a value, it is missing' })
    return text
  } catch {
    // The stack of the caller is deep already.
    issues.push({ path, expected: 'expected JSON of fewer levels' })
    return undefined
  }
}

function writeQuickly(value: unknown, { serialize }: WriteOptions): string | undefined {
  try {
    sizeLeft = QUICK_SIZE
    return isPlain(value, 0) ? serialize(value) : undefined
  } catch {
    // A getter or a proxy throws: the careful walk says where.
    return undefined
  }
}

/**
 * Canonical JSON of plain data. RFC 8785 is JSON.stringify with sorted keys: JSON.stringify alone does where the keys are
 * sorted already.
 */
export function writeCanonical(value: unknown): string | undefined {
  if (isSorted(value)) return JSON.stringify(value)
  // The package throws on lone surrogates, which a record holds as U+FFFD: replace them before, in a copy.
  const text = JSON.stringify(value)
  return canonicalize(hasLoneSurrogate(text) ? JSON.parse(replaceLoneSurrogates(text)) : value)
}

function isSorted(value: unknown): boolean {
  if (value === null || typeof value !== 'object') return true
  if ('toJSON' in value) return false
  if (Array.isArray(value)) return value.every(isSorted)
  let last = ''
  for (const key of Object.keys(value)) {
    if (key < last || !isSorted((value as Record<string, unknown>)[key])) return false
    last = key
  }
  return true
}

/** What the value under way may still take: one number for all levels, since the walk is on every event's path. */
let sizeLeft = 0

/** Whether JSON certainly holds the value; false sends it to the careful walk, which decides. */
function isPlain(value: unknown, depth: number): boolean {
  sizeLeft -= VALUE_SIZE
  switch (typeof value) {
    case 'string':
      sizeLeft -= value.length
      return sizeLeft >= 0
    case 'boolean':
      return true
    case 'number':
      return Number.isFinite(value)
    case 'object':
      return value === null || isPlainObject(value, depth)
    case 'undefined':
      return depth > 0
    default:
      return false
  }
}

function isPlainObject(value: object, depth: number): boolean {
  if (depth > QUICK_DEPTH || sizeLeft < 0 || 'toJSON' in value) return false
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) {
      const element: unknown = value[index]
      if (element === undefined || sizeLeft < 0 || !isPlain(element, depth + 1)) return false
    }
    return true
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  let isEmpty = true
  for (const key in value) {
    isEmpty = false
    sizeLeft -= key.length
    if (!isPlain((value as Record<string, unknown>)[key], depth + 1)) return false
  }
  return !isEmpty || Object.getOwnPropertySymbols(value).length === 0
}

/** JSON.stringify writes a lone surrogate as `\udXXX`; only an escaped backslash can look the same. */
const LONE_SURROGATE = /(?<!\\)((?:\\\\)*)\\ud[89a-f][0-9a-f]{2}/g

/** Whether JSON text may hold a lone surrogate, which UTF-8 cannot. */
export function hasLoneSurrogate(json: string): boolean {
  return json.includes('\\ud') && json.search(LONE_SURROGATE) >= 0
}

/** JSON text with U+FFFD in the place of lone surrogates. */
export function replaceLoneSurrogates(json: string): string {
  return json.replaceAll(LONE_SURROGATE, '$1\ufffd')
}
