/**
 * session_seq counts without a gap per run and session. A caller who starts or resumes a session of this run a second time,
 * or decides in it, goes on with its counter.
 *
 * A counter is kept while a session object of its id can still record, and among the most recent ids. It is not kept longer:
 * a process that starts sessions for months would collect the counters of all of them. An id that the trail has made is kept
 * only once the caller has read it: until then no call can name it. What is kept costs V8's collector 0.5 us an event of the
 * process, where nothing else of a session outlives it.
 *
 * Recent counters are in three generations. A single map in order of use would need a delete for each use, and V8 steps over
 * the deleted entries each time it looks for the first one: 4 us a session, and 0.6 this way.
 */

/** Ids of a generation. A counter is kept for at least the 10,000 most recent ids by start, end or reference. Some 3 MB. */
const GENERATION = 5000

export interface Sequence {
  next: number
  /** Session objects of the id that have not ended. Some are dropped without an end. */
  open: number
  /** Whether a caller can know the id. */
  known: boolean
}

export class SessionSequences {
  #newest: Map<string, Sequence> = new Map<string, Sequence>()
  #middle: Map<string, Sequence> = new Map<string, Sequence>()
  #oldest: Map<string, Sequence> = new Map<string, Sequence>()
  /** The counters of #oldest that are not among the weak ones yet. Each new id moves one: a whole generation would block the agent. */
  #leaving: Iterator<[string, Sequence]> = this.#oldest.entries()
  /**
   * Counters that left the generations while a session object was open: that object holds its counter, this map does not. Only
   * these are weak: a WeakRef with its clean-up costs some 5 us, a third of a session's start.
   */
  readonly #weak: Map<string, WeakRef<Sequence>> = new Map<string, WeakRef<Sequence>>()
  readonly #dropped: FinalizationRegistry<string> = new FinalizationRegistry<string>((sessionId) => {
    // The id may have a newer counter by now.
    if (this.#weak.get(sessionId)?.deref() === undefined) this.#weak.delete(sessionId)
  })

  /** The counter for a session whose id the trail has just made. */
  start(): Sequence {
    return { next: 0, open: 1, known: false }
  }

  /** The counter for a new session object of an id that the caller has given: the kept one, or a new one. */
  of(sessionId: string): Sequence {
    const sequence = this.#kept(sessionId) ?? { next: 0, open: 0, known: true }
    sequence.open++
    this.keep(sessionId, sequence)
    return sequence
  }

  /** A session object has ended. */
  ended(sessionId: string, sequence: Sequence): void {
    sequence.open--
    if (sequence.known) this.keep(sessionId, sequence)
  }

  /** The caller learns the id, or a reference to the session: it may go on in this run without its session object. */
  keep(sessionId: string, sequence: Sequence): void {
    sequence.known = true
    if (this.#newest.has(sessionId)) return
    this.#newest.set(sessionId, sequence)
    this.#weakenNext()
    if (this.#newest.size < GENERATION) return
    this.#oldest = this.#middle
    this.#leaving = this.#oldest.entries()
    this.#middle = this.#newest
    this.#newest = new Map<string, Sequence>()
  }

  #kept(sessionId: string): Sequence | undefined {
    return (
      this.#newest.get(sessionId) ??
      this.#middle.get(sessionId) ??
      this.#oldest.get(sessionId) ??
      this.#weak.get(sessionId)?.deref()
    )
  }

  #weakenNext(): void {
    const { value, done } = this.#leaving.next()
    if (done === true) return
    const [sessionId, sequence] = value
    if (sequence.open === 0 || this.#weak.get(sessionId)?.deref() === sequence) return
    this.#weak.set(sessionId, new WeakRef(sequence))
    this.#dropped.register(sequence, sessionId)
  }
}
