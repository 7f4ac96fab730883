/** The messages that a session has recorded already. */

export interface NewMessages {
  readonly messages: readonly unknown[]
  /** Index of the first of them in the whole history; 0 when the whole is recorded. */
  readonly from: number
}

/**
 * Compares by identity: an agent that appends to its history passes the same objects again. After any mismatch, such as a
 * history that was shortened or built anew, the whole history is recorded again.
 */
export class MessageHistory {
  #recorded: unknown[] = []

  /** The part of `messages` that is not recorded yet. */
  newOf(messages: readonly unknown[]): NewMessages {
    const known = this.#recorded
    if (known.length === 0 || known.length > messages.length) return { messages, from: 0 }
    for (let index = 0; index < known.length; index++) {
      if (known[index] !== messages[index]) return { messages, from: 0 }
    }
    return { messages: messages.slice(known.length), from: known.length }
  }

  /** Takes note that `messages` are recorded. */
  remember(messages: readonly unknown[], from: number): void {
    if (from === 0) this.#recorded = messages.slice()
    else for (let index = from; index < messages.length; index++) this.#recorded.push(messages[index])
  }
}
