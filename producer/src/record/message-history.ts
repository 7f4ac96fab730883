/** The messages that a session has recorded already. */

export interface NewMessages {
  readonly messages: readonly unknown[]
  /** Index of the first of them in the whole history; 0 when the whole is recorded. */
  readonly from: number
}

/** Most keys and values of a message that are compared: 3 us. A long text is one value. */
const MOST_VALUES = 1000
const ARRAY = Symbol('array')
const END = Symbol('end')
/** Equal to no value: the message could not be read. */
const UNREADABLE = Symbol('unreadable')

/**
 * An agent that appends to its history passes the same objects again: such a message is recorded already if its values are
 * the ones that were recorded. They are compared by identity, so that a text costs the same at any length. After any mismatch,
 * such as a message that was edited in place or a history that was shortened or built anew, the whole history is recorded again.
 */
export class MessageHistory {
  readonly #messages: unknown[] = []
  /** Keys and values of all messages, in order, as they were recorded; the values of a message end before its place in `#ends`. */
  readonly #values: unknown[] = []
  readonly #ends: number[] = []

  /** The part of `messages` that is not recorded yet. */
  newOf(messages: readonly unknown[]): NewMessages {
    const known = this.#messages.length
    if (known === 0 || known > messages.length || !this.#isUnchanged(messages)) return { messages, from: 0 }
    return { messages: messages.slice(known), from: known }
  }

  #isUnchanged(messages: readonly unknown[]): boolean {
    let start = 0
    try {
      for (let index = 0; index < this.#messages.length; index++) {
        const message = messages[index]
        if (message !== this.#messages[index]) return false
        const end = this.#ends[index] ?? 0
        if (isObject(message) && !isSame(message, { values: this.#values, at: start, end })) return false
        start = end
      }
      return true
    } catch {
      // A getter or a proxy throws.
      return false
    }
  }

  /** Takes note that `messages` are recorded. */
  remember(messages: readonly unknown[], from: number): void {
    const values = this.#values
    if (from === 0) this.#messages.length = this.#ends.length = values.length = 0
    for (let index = from; index < messages.length; index++) {
      const message = messages[index]
      const start = values.length
      try {
        if (isObject(message)) add(message, values, start + MOST_VALUES)
      } catch {
        values.length = start
        values.push(UNREADABLE)
      }
      this.#messages.push(message)
      this.#ends.push(values.length)
    }
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/** Adds the keys and values of an object, up to `end`. */
function add(value: object, values: unknown[], end: number): void {
  if (Array.isArray(value)) {
    values.push(ARRAY, value.length)
    for (let index = 0; index < value.length && values.length < end; index++) addMember(value[index], values, end)
    return
  }
  for (const key in value) {
    if (values.length >= end) return
    values.push(key)
    addMember((value as Record<string, unknown>)[key], values, end)
  }
  if (values.length < end) values.push(END)
}

function addMember(value: unknown, values: unknown[], end: number): void {
  if (isObject(value)) add(value, values, end)
  else values.push(value)
}

interface Comparison {
  readonly values: readonly unknown[]
  /** Where the walk stands in the values. */
  at: number
  /** The end of the message's values. */
  readonly end: number
}

/** Walks as {@link add} did. On the path of every model call: a call for each value would cost 0.06 us an event. */
function isSame(value: object, comparison: Comparison): boolean {
  const { values, end } = comparison
  if (Array.isArray(value)) {
    if (values[comparison.at++] !== ARRAY || values[comparison.at++] !== value.length) return false
    for (let index = 0; index < value.length && comparison.at < end; index++) {
      const member: unknown = value[index]
      if (isObject(member) ? !isSame(member, comparison) : values[comparison.at++] !== member) return false
    }
    return true
  }
  for (const key in value) {
    if (comparison.at >= end) return true
    if (values[comparison.at++] !== key) return false
    const member = (value as Record<string, unknown>)[key]
    if (isObject(member) ? !isSame(member, comparison) : values[comparison.at++] !== member) return false
  }
  return comparison.at >= end || values[comparison.at++] === END
}
