/**
 * The careful walk over a caller's value, for all that the quick one (json-text.ts) does not know at a glance: class instances,
 * toJSON, deep, shared and large values. It reads each object once and makes a copy of plain data, which JSON.stringify then
 * writes: a getter or a proxy cannot give one value to the walk and another to the text.
 */
import { types } from 'node:util'
import { MAX_ISSUES } from '@agent-audit/schemas'
import type { Issue } from '@agent-audit/schemas'
import { className, isName, read } from './safe-read.ts'

/** JSON.stringify recurses; some depth beyond this overflows the stack. */
const MAX_DEPTH = 1000
/**
 * Most that a value may take as text, in characters; a value counts as 16 and its own text. An object that is used in many
 * positions counts in each of them: a few shared objects can make a text of any size.
 */
const MAX_SIZE = 16 * 2 ** 20
export const VALUE_SIZE = 16
/** A refused value counts as more: it takes the time of an exception, or a text of its own. */
const REFUSAL_SIZE = 128

/** Most characters of a path in an error: keys are the caller's, and can be of any length. */
const MAX_PATH = 300

/** Beyond the issues that an error names, only their number counts. */
const ONE_MORE: Issue = { path: '', expected: '' }
/** Ends a walk over a value that is too large. */
const TOO_LARGE = new Error('too large')

export interface CopyOptions {
  /** Where the caller wrote the value. */
  readonly path: string
  readonly issues: Issue[]
  /** Whether an Error becomes its name, its message and its own fields; else it is refused. */
  readonly errors: boolean
}

/** @returns Plain data. Where `issues` has grown, a text stands in the position of each value that was refused. */
export function copyForJson(value: unknown, options: CopyOptions): unknown {
  const copy = new JsonCopy(options)
  try {
    return copy.value(value)
  } catch (error) {
    if (error !== TOO_LARGE) throw error
    const expected = `expected JSON of at most ${MAX_SIZE / 2 ** 20} MiB, or of fewer values`
    options.issues.push({ path: options.path, expected })
    return undefined
  }
}

class JsonCopy {
  readonly #options: CopyOptions
  /** The path to the value under way: the first `#depth` of them. Never made shorter: V8 would move the array each time. */
  readonly #keys: (string | number)[] = []
  #depth = 0
  /** Objects that are copied, with the size of their text; undefined while the walk is below an object. */
  readonly #known: Map<object, { readonly copy: unknown; readonly size: number } | undefined> = new Map()
  #size = 0

  constructor(options: CopyOptions) {
    this.#options = options
  }

  /** Undefined stays undefined: an object leaves it out, as in JSON. */
  value(value: unknown): unknown {
    this.#grow(VALUE_SIZE)
    switch (typeof value) {
      case 'string':
        this.#grow(value.length)
        return value
      case 'number':
        return Number.isFinite(value) ? value : this.#refuse(String(value))
      case 'object':
        return value === null ? null : this.#object(value)
      case 'bigint':
        return this.#refuse('a bigint', 'pass its text')
      case 'function':
      case 'symbol':
        return this.#refuse(`a ${typeof value}`)
      default:
        return value
    }
  }

  #object(value: object): unknown {
    const known = this.#known.get(value)
    if (known !== undefined) {
      this.#grow(known.size)
      return known.copy
    }
    if (this.#known.has(value)) return this.#refuse('a cycle')
    const depth = this.#depth
    if (depth >= MAX_DEPTH) return this.#refuse(`more than ${MAX_DEPTH} levels`)
    this.#known.set(value, undefined)
    const before = this.#size
    let copy: unknown
    try {
      copy = this.#copy(value)
    } catch (error) {
      if (error === TOO_LARGE) throw error
      // A getter, toJSON or a proxy of the caller.
      const kind = typeof error === 'object' && error !== null ? className(error) : typeof error
      copy = this.#refuse(`a value that throws ${kind}`)
    }
    this.#depth = depth
    this.#known.set(value, { copy, size: this.#size - before })
    return copy
  }

  /** As JSON.stringify does, asks toJSON once, and not what it returns. */
  #copy(value: object): unknown {
    const { toJSON } = value as { toJSON?: unknown }
    if (typeof toJSON !== 'function') return Array.isArray(value) ? this.#array(value) : this.#members(value)
    if (types.isDate(value) && Number.isNaN(value.getTime())) return this.#refuse('an invalid Date', 'pass null')
    const written: unknown = toJSON.call(value, String(this.#keys[this.#depth - 1] ?? ''))
    if (typeof written !== 'object' || written === null) return this.value(written)
    return Array.isArray(written) ? this.#array(written) : this.#members(written)
  }

  #array(value: readonly unknown[]): unknown[] {
    const copy: unknown[] = []
    for (let index = 0; index < value.length; index++) {
      this.#keys[this.#depth++] = index
      const element = this.value(value[index])
      copy.push(element === undefined ? this.#refuse('undefined', 'pass null') : element)
      this.#depth--
    }
    return copy
  }

  #members(value: object): unknown {
    if (!isPlainObject(value)) {
      if (types.isBoxedPrimitive(value)) return this.value(value.valueOf())
      if (value instanceof Error && this.#options.errors) return this.#own(describeError(value))
    }
    const [what, instead] = findUnwritable(value) ?? []
    return what === undefined ? this.#own(value) : this.#refuse(what, instead)
  }

  #own(value: object): object {
    const copy: Record<string, unknown> = {}
    for (const key of Object.keys(value)) {
      this.#keys[this.#depth++] = key
      this.#grow(key.length)
      const given = (value as Record<string, unknown>)[key]
      // As a method it has written the object, and is no part of it.
      const member = key === 'toJSON' && typeof given === 'function' ? undefined : this.value(given)
      this.#depth--
      // An assignment to __proto__ would make no key.
      if (member !== undefined && key !== '__proto__') copy[key] = member
      else if (member !== undefined)
        Object.defineProperty(copy, key, { value: member, enumerable: true, writable: true })
    }
    return copy
  }

  #grow(size: number): void {
    this.#size += size
    if (this.#size > MAX_SIZE) throw TOO_LARGE
  }

  #refuse(what: string, instead?: string): string {
    const { issues, path } = this.#options
    this.#grow(REFUSAL_SIZE)
    const expected = `expected JSON, not ${what}${instead === undefined ? '' : `: ${instead}`}`
    issues.push(
      issues.length < MAX_ISSUES ? { path: pathOf(path, this.#keys.slice(0, this.#depth)), expected } : ONE_MORE,
    )
    return `[not recorded: ${what}]`
  }
}

/** Its name, its message and its own fields. */
function describeError(error: Error): object {
  const name = read(error, 'name')
  return Object.assign({ name: isName(name) ? name : className(error), message: error.message }, error)
}

function pathOf(start: string, keys: readonly (string | number)[]): string {
  let path = start
  for (const key of keys) {
    if (path.length > MAX_PATH) return `${path.slice(0, MAX_PATH)}...`
    path += typeof key === 'number' ? `[${key}]` : path === '' ? key : `.${key}`
  }
  return path.length > MAX_PATH ? `${path.slice(0, MAX_PATH)}...` : path
}

/** What JSON would write as `{}`, or as numbered keys; and what to pass instead. */
function findUnwritable(value: object): readonly [what: string, instead: string] | undefined {
  const isPlain = isPlainObject(value)
  const isEmpty = Object.keys(value).length === 0
  if (isEmpty && Object.getOwnPropertySymbols(value).length > 0) {
    return ['an object with symbols for keys', 'pass plain data']
  }
  if (isPlain) return undefined
  if (types.isMap(value)) return ['a Map', 'pass Object.fromEntries(map)']
  if (types.isSet(value)) return ['a Set', 'pass Array.from(set)']
  if (types.isPromise(value)) return ['a Promise', 'await it']
  if (types.isRegExp(value)) return ['a RegExp', 'pass its source']
  if (value instanceof Error) return ['an Error', 'pass its message']
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) return [`bytes (${className(value)})`, 'pass base64']
  return isEmpty ? [`a ${className(value)}, of which JSON sees nothing`, 'pass plain data'] : undefined
}

/** Whether an object is of no class, in any realm. */
function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null
}
