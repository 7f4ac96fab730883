/** A caller's values as JSON text. A value that JSON would drop or change in silence is refused, with its path. */
import type { Issue } from '@agent-audit/schemas'
import canonicalize from 'canonicalize'

/** Deeper values, and so every cycle, go to the careful walk. */
const QUICK_DEPTH = 64
/** JSON.stringify recurses; some depth beyond this overflows the stack. */
const MAX_DEPTH = 1000

/**
 * JSON.stringify, without spaces, in the caller's order of keys; `undefined` in objects is dropped.
 * @returns The text; undefined after adding to `issues` what JSON cannot hold, and where.
 */
export function toJsonText(value: unknown, path: string, issues: Issue[]): string | undefined {
  return write(value, { path, issues, serialize: JSON.stringify })
}

/** The same as canonical JSON (RFC 8785): keys sorted, so that the same arguments always give the same text. */
export function toCanonicalText(value: unknown, path: string, issues: Issue[]): string | undefined {
  return write(value, { path, issues, serialize: (checked) => writeCanonical(checked) })
}

interface WriteOptions {
  path: string
  issues: Issue[]
  serialize: (value: unknown) => string | undefined
}

function write(value: unknown, options: WriteOptions): string | undefined {
  const { path, issues } = options
  const before = issues.length
  try {
    if (!isPlain(value, 0)) findIssues(value, path, { issues, ancestors: new Set() })
    if (issues.length > before) return undefined
    const text = options.serialize(value)
    if (text !== undefined) return text
    issues.push({ path, expected: 'expected a value, it is missing' })
  } catch (error) {
    // A getter or toJSON of the caller threw.
    const kind = error instanceof Error ? error.name : typeof error
    issues.push({ path, expected: `expected a value that JSON.stringify can write; it throws ${kind}` })
  }
  return undefined
}

/** RFC 8785 is JSON.stringify with sorted keys: JSON.stringify alone does where the keys are sorted already. */
function writeCanonical(value: unknown): string | undefined {
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

/** Whether JSON certainly holds the value; false sends it to the careful walk, which decides. */
function isPlain(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case 'string':
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
  if (depth > QUICK_DEPTH || 'toJSON' in value) return false
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) {
      if (!isPlain(value[index], depth + 1)) return false
    }
    return true
  }
  for (const key in value) if (!isPlain((value as Record<string, unknown>)[key], depth + 1)) return false
  return true
}

interface Walk {
  issues: Issue[]
  ancestors: Set<object>
}

function findIssues(value: unknown, path: string, walk: Walk): void {
  const refuse = (what: string): void => void walk.issues.push({ path, expected: `expected JSON, not ${what}` })
  switch (typeof value) {
    case 'function':
    case 'symbol':
    case 'bigint':
      return refuse(`a ${typeof value}`)
    case 'number':
      return Number.isFinite(value) ? undefined : refuse(String(value))
    case 'object':
      return value === null ? undefined : findInObject(value, path, walk)
    default:
  }
}

function findInObject(value: object, path: string, walk: Walk): void {
  const { issues, ancestors } = walk
  if (ancestors.has(value)) return void issues.push({ path, expected: 'expected JSON, not a cycle' })
  if (ancestors.size >= MAX_DEPTH) {
    return void issues.push({ path, expected: `expected JSON of at most ${MAX_DEPTH} levels` })
  }
  ancestors.add(value)
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    findIssues((value.toJSON as () => unknown)(), path, walk)
  } else if (Array.isArray(value)) {
    for (const [index, element] of value.entries()) findIssues(element, `${path}[${index}]`, walk)
  } else {
    for (const [key, member] of Object.entries(value)) findIssues(member, path === '' ? key : `${path}.${key}`, walk)
  }
  ancestors.delete(value)
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
