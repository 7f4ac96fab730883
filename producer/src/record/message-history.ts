/** The messages that a session has recorded already. */

export interface NewMessages {
  readonly messages: readonly unknown[]
  /** Index of the first of them in the whole history; 0 when the whole is recorded. */
  readonly from: number
}

/** Most values and keys of a message that are compared: 10 us. A long text is one value. */
const MOST_VALUES = 1000
const ARRAY = Symbol('array')
const END = Symbol('end')

/** A message, and its keys and values when it was recorded; undefined when they could not be read. */
interface Recorded {
  readonly message: unknown
  readonly values: readonly unknown[] | undefined
}

/**
 * An agent that appends to its history passes the same objects again: such a message is recorded already if its values are
 * the ones that were recorded. They are compared by identity, so that a text costs the same at any length. After any mismatch,
 * such as a message that was edited in place or a history that was shortened or built anew, the whole history is recorded again.
 */
export class MessageHistory {
  #recorded: Recorded[] = []
  /** Used again for each message. */
  readonly #now: unknown[] = []

  /** The part of `messages` that is not recorded yet. */
  newOf(messages: readonly unknown[]): NewMessages {
    const known = this.#recorded
    if (known.length === 0 || known.length > messages.length) return { messages, from: 0 }
    for (const [index, recorded] of known.entries()) {
      if (recorded.message !== messages[index] || this.#isEdited(recorded)) return { messages, from: 0 }
    }
    return { messages: messages.slice(known.length), from: known.length }
  }

  #isEdited({ message, values }: Recorded): boolean {
    if (typeof message !== 'object' || message === null) return false
    this.#now.length = 0
    if (values === undefined || !list(message, this.#now) || values.length !== this.#now.length) return true
    for (let index = 0; index < values.length; index++) if (!Object.is(values[index], this.#now[index])) return true
    return false
  }

  /** Takes note that `messages` are recorded. */
  remember(messages: readonly unknown[], from: number): void {
    if (from === 0) this.#recorded = []
    for (let index = from; index < messages.length; index++) {
      const values: unknown[] = []
      const message = messages[index]
      this.#recorded.push({ message, values: list(message, values) ? values : undefined })
    }
  }
}

/** @returns false when a getter or a proxy throws. */
function list(message: unknown, values: unknown[]): boolean {
  try {
    add(message, values)
    return true
  } catch {
    return false
  }
}

function add(value: unknown, values: unknown[]): void {
  if (values.length >= MOST_VALUES) return
  if (typeof value !== 'object' || value === null) {
    values.push(value)
  } else if (Array.isArray(value)) {
    values.push(ARRAY, value.length)
    for (let index = 0; index < value.length && values.length < MOST_VALUES; index++) add(value[index], values)
  } else {
    for (const key in value) {
      values.push(key)
      if (values.length >= MOST_VALUES) return
      add((value as Record<string, unknown>)[key], values)
    }
    values.push(END)
  }
}
