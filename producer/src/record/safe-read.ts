/** Reads what a foreign object says of itself. Never throws: a getter or a proxy of the caller may. */

/** Most characters of a name. A longer one is none: it would fill the record, and names are never cut. */
const MAX_NAME = 200

export function read(object: object, key: string): unknown {
  try {
    return (object as Record<string, unknown>)[key]
  } catch {
    return undefined
  }
}

export function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_NAME
}

/** Name of the class of an object; `object` where it has none. */
export function className(object: object): string {
  const constructor = read(object, 'constructor')
  const name = typeof constructor === 'function' ? read(constructor, 'name') : undefined
  return isName(name) ? name : 'object'
}
