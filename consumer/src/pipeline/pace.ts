/**
 * Decides when batches are cut: one clock for all partitions, so that what they have ready goes into one insert. The oldest
 * waiting record sets the moment, and every batch that begins before then is cut with it.
 *
 * An insert costs the server some 80 ms of CPU before its first row, merges included. So the age grows a little with the
 * answer times of the last inserts, and much with the parts that the server has not merged yet. After a quiet time it is short.
 */

/** The age is at least so many times as long as the answer to an insert takes, within {@link MOST_FOR_COST}. */
const AGE_PER_COST = 6
/** The answer times lengthen the age to this many times the configured one at most: the rest is for the server's parts. */
const MOST_FOR_COST = 1.3
/** The share of a new answer time in the mean. */
const NEWEST_SHARE = 0.2
/** A usual number of active parts in one partition of a table. ClickHouse delays inserts at 1000 by default. */
const USUAL_PARTS = 150
/** Age is never stretched beyond this, milliseconds. */
const LONGEST_AGE_MS = 10_000
/** After so many ages without a cut the next one comes this many times sooner. */
const [QUIET_AGES, SOONER] = [4, 4]

export class Pace {
  readonly #shortestAgeMs: number
  #parts = 0
  #costMs = 0
  /** The next moment at which batches are cut; once it has passed, the last one. */
  #cutAt = Number.NEGATIVE_INFINITY

  /** @param shortestAgeMs - The configured age. */
  constructor(shortestAgeMs: number) {
    this.#shortestAgeMs = shortestAgeMs
  }

  /** Milliseconds from the first record of a batch to its insert, at most. */
  get ageMs(): number {
    const forCost = Math.min(AGE_PER_COST * this.#costMs, MOST_FOR_COST * this.#shortestAgeMs)
    const stretched = Math.max(this.#shortestAgeMs, forCost) * Math.max(1, this.#parts / USUAL_PARTS)
    return Math.max(this.#shortestAgeMs, Math.min(stretched, LONGEST_AGE_MS))
  }

  /** When a batch is cut that begins now. Both are times of the pipeline's clock. */
  cutAt(now: number): number {
    if (now < this.#cutAt) return this.#cutAt
    const quiet = now - this.#cutAt > QUIET_AGES * this.ageMs
    this.#cutAt = now + (quiet ? this.ageMs / SOONER : this.ageMs)
    return this.#cutAt
  }

  /** @param ms - Time from sending an insert to its answer. */
  noteInsert(ms: number): void {
    this.#costMs += (ms - this.#costMs) * NEWEST_SHARE
  }

  /** @param parts - The highest number of active parts in any partition of the tables. */
  noteParts(parts: number): void {
    this.#parts = parts
  }
}
