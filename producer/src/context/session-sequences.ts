/**
 * session_seq counts without a gap per run and session. A caller who starts or resumes a session of this run a second time,
 * or decides in it, goes on with its counter.
 *
 * A counter is kept while a session object of its id can still record, and among the most recent ids. It is not kept longer:
 * a process that starts sessions for months would collect the counters of all of them.
 */

/** Most counters kept for ids without a session object: the most recent by start, end or reference. Some 2 MB. */
const MAX_RECENT = 10_000

export interface Sequence {
  next: number
  /** Session objects of the id that have not ended. Some are dropped without an end. */
  open: number
}

export class SessionSequences {
  /** The most recent last. */
  readonly #recent: Map<string, Sequence> = new Map<string, Sequence>()
  /**
   * Counters that left #recent while a session object was open: that object holds its counter, this map does not. Only these
   * are weak: a WeakRef with its clean-up costs some 5 us, a third of a session's start.
   */
  readonly #old: Map<string, WeakRef<Sequence>> = new Map<string, WeakRef<Sequence>>()
  readonly #dropped: FinalizationRegistry<string> = new FinalizationRegistry<string>((sessionId) => {
    // The id may have a newer counter by now.
    if (this.#old.get(sessionId)?.deref() === undefined) this.#old.delete(sessionId)
  })

  /** The counter for a new session object: the kept one, or a new one. */
  of(sessionId: string): Sequence {
    const sequence = this.#recent.get(sessionId) ?? this.#old.get(sessionId)?.deref() ?? { next: 0, open: 0 }
    sequence.open++
    this.keep(sessionId, sequence)
    return sequence
  }

  /** A session object has ended. */
  ended(sessionId: string, sequence: Sequence): void {
    sequence.open--
    this.keep(sessionId, sequence)
  }

  /** A reference to the session is given away: it may go on in this run without its session object. */
  keep(sessionId: string, sequence: Sequence): void {
    this.#recent.delete(sessionId)
    this.#recent.set(sessionId, sequence)
    if (this.#recent.size <= MAX_RECENT) return
    for (const [oldId, old] of this.#recent) {
      this.#recent.delete(oldId)
      if (old.open > 0) this.#weaken(oldId, old)
      return
    }
  }

  #weaken(sessionId: string, sequence: Sequence): void {
    this.#old.set(sessionId, new WeakRef(sequence))
    this.#dropped.register(sequence, sessionId)
  }
}
