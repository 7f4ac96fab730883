/**
 * Decides how old a batch may get. Each insert makes a part, and ClickHouse has to merge all parts: many partitions with few
 * records each would make thousands of small ones. So the age grows with the number of partitions that share the insert
 * budget, and with the parts that the server has not merged yet.
 */

/** Inserts of one consumer, all its partitions together, while records trickle in. Full batches do not wait. */
const INSERTS_PER_SECOND = 12
/** A usual number of active parts in one partition of a table. ClickHouse delays inserts at 1000 by default. */
const USUAL_PARTS = 150
/** Age is never stretched beyond this, milliseconds. */
const LONGEST_AGE_MS = 10_000

export class Pace {
  readonly #shortestAgeMs: number
  #partitions = 0
  #parts = 0

  /** @param shortestAgeMs - The configured age, which applies while there are few partitions. */
  constructor(shortestAgeMs: number) {
    this.#shortestAgeMs = shortestAgeMs
  }

  /** Milliseconds from the first record of a batch to its insert. */
  get maxAgeMs(): number {
    const shared = Math.max(this.#shortestAgeMs, (1000 * this.#partitions) / INSERTS_PER_SECOND)
    const stretched = shared * Math.max(1, this.#parts / USUAL_PARTS)
    return Math.max(this.#shortestAgeMs, Math.min(stretched, LONGEST_AGE_MS))
  }

  /** Counts a partition in, until its work is done. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#partitions++
    try {
      return await work()
    } finally {
      this.#partitions--
    }
  }

  /** @param parts - The highest number of active parts in any partition of the tables. */
  noteParts(parts: number): void {
    this.#parts = parts
  }
}
