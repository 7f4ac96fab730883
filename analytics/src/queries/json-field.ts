/** Parses a JSON field of a stored event. Any producer may have written it. */

/**
 * Deepest nesting of arrays and objects. JSON.parse takes any depth, but JSON.stringify and every other recursion over the
 * value fail at some 4,000 levels.
 */
const MAX_DEPTH = 256
/** A number with so many digits, or with an exponent, may be one that a double cannot hold. */
const LONG_NUMBER = /\d{16}|\d[eE]/
const [QUOTE, BACKSLASH, OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [0x22, 0x5c, 0x5b, 0x5d, 0x7b, 0x7d]

/**
 * The value; or the text itself where it is no JSON, nests deeper than 256 levels, or has an integer that a double cannot
 * hold: a value that can be printed again, with every digit.
 */
export function parseJsonField(text: unknown): unknown {
  if (typeof text !== 'string') return null
  if (!isShallow(text)) return text
  try {
    return LONG_NUMBER.test(text) ? JSON.parse(text, refuseInexact as Reviver) : JSON.parse(text)
  } catch {
    return text
  }
}

/** Counts brackets outside of strings. Of text that is no JSON the answer does not matter. */
function isShallow(json: string): boolean {
  if (json.length <= MAX_DEPTH) return true
  let depth = 0
  let quoted = false
  for (let index = 0; index < json.length; index++) {
    const code = json.charCodeAt(index)
    if (quoted) {
      if (code === BACKSLASH) index++
      else if (code === QUOTE) quoted = false
    } else if (code === QUOTE) quoted = true
    else if (code === OPEN_ARRAY || code === OPEN_OBJECT) {
      if (++depth > MAX_DEPTH) return false
    } else if (code === CLOSE_ARRAY || code === CLOSE_OBJECT) depth--
  }
  return true
}

type Reviver = (this: unknown, key: string, value: unknown) => unknown

/** JSON.parse gives a reviver the digits of a number as `source`. */
function refuseInexact(_key: string, value: unknown, { source }: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value) || source === undefined) return value
  const isInteger = /^-?\d+$/.test(source)
  if (!Number.isFinite(value) || (isInteger && String(value) !== source)) throw new RangeError('not a double')
  return value
}
