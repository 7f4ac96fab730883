/**
 * session_seq counts without a gap per run and session. Whoever resumes or decides in a session of this very run counts
 * on where it stands, so the counters of sessions whose handle was given away are kept.
 */

/** Counters kept. Beyond it the one given away longest ago is forgotten. */
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

  /** The session's handle is given away: others of this run may write in it. */
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
