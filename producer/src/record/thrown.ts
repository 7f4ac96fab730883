/** Name, message and code of a thrown value. Never the stack: its paths and arguments reveal too much. */
import { toPartialText } from './json-text.ts'
import { className, isName, read } from './safe-read.ts'

export interface Thrown {
  readonly message: string
  /** Class of the error, or the kind of value; at most 200 characters. */
  readonly type: string
  /** The error's `code`, as Node's and most clients' errors carry it: a finite number, or a text of at most 200 characters. */
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
    code: Number.isFinite(code) || isName(code) ? (code as string | number) : undefined,
  }
}

/** A thrown value for an event's `error`, where undefined and null would mean that nothing was thrown. */
export function asError(thrown: unknown): unknown {
  return thrown ?? { name: String(thrown), message: String(thrown) }
}

function asText(thrown: unknown): string {
  try {
    const text = typeof thrown === 'object' && thrown !== null ? toPartialText(thrown, '').text : undefined
    return text ?? String(thrown)
  } catch {
    return 'a value that cannot be written'
  }
}
