/** Where one detector stands in the log, and what is stored of it. */
import type { Detector } from '../detector.ts'
import type { Positions } from './final-log.ts'

/** Pauses of a detector that failed, milliseconds: each twice as long as the one before. */
const PAUSE_MS = { first: 60_000, longest: 6 * 3_600_000 }

export class Standing {
  readonly detector: Detector
  positions: Positions
  #saved: Positions
  #isHeld = false
  #isAsleep = false
  #retryAt = 0
  #pauseMs = PAUSE_MS.first

  constructor(detector: Detector, saved: Positions = new Map<string, number>()) {
    this.detector = detector
    this.positions = saved
    this.#saved = saved
  }

  /** Equal for detectors that stand at the same place. */
  get place(): string {
    return JSON.stringify([...this.positions].toSorted(([a], [b]) => a.localeCompare(b)))
  }

  /** Whether it failed: its stored cursor stays. */
  get isHeld(): boolean {
    return this.#isHeld
  }

  /** Whether it has work to do. After the pause it starts once more from where its cursor is stored. */
  isAwake(now: number): boolean {
    if (this.#isHeld && now >= this.#retryAt) {
      this.#isHeld = this.#isAsleep = false
      this.positions = this.#saved
    }
    return !this.#isAsleep
  }

  noteFailure(now: number, isAsleep: boolean): void {
    this.#isAsleep ||= isAsleep
    if (this.#isHeld) return
    this.#isHeld = true
    this.#retryAt = now + this.#pauseMs
    this.#pauseMs = Math.min(2 * this.#pauseMs, PAUSE_MS.longest)
  }

  moveTo(positions: Positions): void {
    this.positions = positions
    if (!this.#isHeld) this.#saved = positions
  }
}
