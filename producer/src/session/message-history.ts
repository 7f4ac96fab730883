/** Which of a model call's messages a session has recorded already. */

export interface NewMessages {
  readonly messages: readonly unknown[]
  /** Index of the first of them in the whole history; 0 when the whole is recorded. */
  readonly from: number
}

/**
 * Compares by identity: an agent that appends to its history passes the same objects again. Any mismatch, such as a
 * history that was edited, shortened or built anew, records the whole again, and so shows.
 */
export class MessageHistory {
  #recorded: unknown[] = []

  /** What of `messages` is not recorded yet. */
  newOf(messages: readonly unknown[]): NewMessages {
    const known = this.#recorded
    if (known.length === 0 || known.length > messages.length) return { messages, from: 0 }
    for (let index = 0; index < known.length; index++) {
      if (known[index] !== messages[index]) return { messages, from: 0 }
    }
    return { messages: messages.slice(known.length), from: known.length }
  }

  /** Takes note that `messages` are recorded now. */
  remember(messages: readonly unknown[], from: number): void {
    if (from === 0) this.#recorded = messages.slice()
    else for (let index = from; index < messages.length; index++) this.#recorded.push(messages[index])
  }
}
