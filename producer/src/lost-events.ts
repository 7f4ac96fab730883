/** Ranges of run_seq that were refused or lost, until events_lost events have explained them. */
import type { ErrorCode } from '@agent-audit/schemas'

export interface LostRange {
  readonly first: number
  /** Inclusive. */
  readonly last: number
  readonly reason: ErrorCode
}

export class LostEvents {
  #ranges: LostRange[] = []

  get empty(): boolean {
    return this.#ranges.length === 0
  }

  /** Adds a range; one that goes on where the newest ended becomes part of it. */
  add(range: LostRange): void {
    const newest = this.#ranges.at(-1)
    if (newest?.reason === range.reason && newest.last + 1 === range.first) {
      this.#ranges[this.#ranges.length - 1] = { ...newest, last: range.last }
    } else this.#ranges.push(range)
  }

  take(): readonly LostRange[] {
    const ranges = this.#ranges
    this.#ranges = []
    return ranges
  }
}
