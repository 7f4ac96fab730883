/**
 * Tells whether an approval has expired. Within a process time does not go back: a clock that is set back after an expiry
 * would revive an approval that was not used. It is held to the latest time seen and the time that has passed since.
 */
export class ExpiryClock {
  readonly #nowMs: () => number
  readonly #elapsedMs: () => number
  #latest: number
  #at: number

  /** @param elapsedMs - A clock that is never set. */
  constructor(nowMs: () => number, elapsedMs: () => number) {
    this.#nowMs = nowMs
    this.#elapsedMs = elapsedMs
    this.#latest = nowMs()
    this.#at = elapsedMs()
  }

  /** @param time - ISO 8601. */
  hasPassed(time: string): boolean {
    return Date.parse(time) <= this.now()
  }

  /** Whole milliseconds since 1970. */
  now(): number {
    const at = this.#elapsedMs()
    this.#latest = Math.max(this.#nowMs(), this.#latest + at - this.#at)
    this.#at = at
    return Math.floor(this.#latest)
  }
}
