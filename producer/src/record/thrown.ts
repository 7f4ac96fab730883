/** Name, message and code of a thrown value. Never the stack: its paths and arguments reveal too much. */

/** Most characters of a name or a code. A longer one is none: it would fill the record, and these fields are never cut. */
const MAX_NAME = 200

export interface Thrown {
  readonly message: string
  /** Class of the error, or the kind of value; at most 200 characters. */
  readonly type: string
  /** The error's `code`, as Node's and most clients' errors carry it; a text of at most 200 characters. */
  readonly code: string | number | undefined
}

/** Describes anything that can be thrown. Never throws itself. */
export function describeThrown(thrown: unknown): Thrown {
  if (typeof thrown !== 'object' || thrown === null)
    return { message: asText(thrown), type: typeof thrown, code: undefined }
  const message = read(thrown, 'message')
  const name = read(thrown, 'name')
  const code = read(thrown, 'code')
  return {
    message: typeof message === 'string' ? message : asText(thrown),
    type: isName(name) ? name : className(thrown),
    code: typeof code === 'number' || isName(code) ? code : undefined,
  }
}

function className(thrown: object): string {
  const constructor = read(thrown, 'constructor')
  const name: unknown = typeof constructor === 'function' ? constructor.name : undefined
  return isName(name) ? name : 'object'
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_NAME
}

function read(thrown: object, key: string): unknown {
  try {
    return (thrown as Record<string, unknown>)[key]
  } catch {
    return undefined
  }
}

function asText(thrown: unknown): string {
  try {
    return (typeof thrown === 'object' ? JSON.stringify(thrown) : undefined) ?? String(thrown)
  } catch {
    return 'a value that cannot be written'
  }
}
