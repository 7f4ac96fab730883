/**
 * session_seq counts without a gap per run and session. A caller who resumes a session of this run, or decides in it, goes
 * on with its counter; so the counters of sessions whose reference was given away are kept.
 */

/** Most counters kept. Above it, the counter whose reference was given away first is forgotten. */
const MAX_KEPT = 10_000

export interface Sequence {
  next: number
}

export class SessionSequences {
  readonly #kept: Map<string, Sequence> = new Map<string, Sequence>()

  /** The counter of a session: the kept one, or a new one. */
  of(sessionId: string): Sequence {
    return this.#kept.get(sessionId) ?? { next: 0 }
  }

  /** A reference to the session is given away: other callers of this run may write in the session. */
  keep(sessionId: string, sequence: Sequence): void {
    this.#kept.delete(sessionId)
    this.#kept.set(sessionId, sequence)
    if (this.#kept.size <= MAX_KEPT) return
    for (const oldest of this.#kept.keys()) {
      this.#kept.delete(oldest)
      return
    }
  }
}
