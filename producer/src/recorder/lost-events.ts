/** Ranges of run_seq that were refused or lost, until events_lost events have explained them. */
import type { ErrorCode } from '@agent-audit/schemas'

export interface LostRange {
  /** Null when the lost events are not known. */
  readonly first: number | null
  /** Inclusive. */
  readonly last: number | null
  readonly reason: ErrorCode
  /** The run whose events they are, 32 hex digits, and the path of the file that is kept: a damaged spool, or the events alone. */
  readonly spool?: { readonly runId: string; readonly file: string } | undefined
}

export class LostEvents {
  #ranges: LostRange[] = []
  readonly #counts: Partial<Record<ErrorCode, number>> = {}
  readonly #onLost: (code: ErrorCode, events: number) => void

  /** @param onLost - Called with the number of events of each range that is lost; 0 when it is not known. */
  constructor(onLost: (code: ErrorCode, events: number) => void) {
    this.#onLost = onLost
  }

  /** Lost events by reason, whether they are explained or not. */
  get counts(): Readonly<Partial<Record<ErrorCode, number>>> {
    return this.#counts
  }

  get empty(): boolean {
    return this.#ranges.length === 0
  }

  /** These events are lost. */
  add(range: LostRange): void {
    const { first, last, reason } = range
    const events = first === null || last === null ? 0 : last - first + 1
    this.#counts[reason] = (this.#counts[reason] ?? 0) + events
    this.unexplained(range)
    this.#onLost(reason, events)
  }

  /** No event explains this range yet, or any more; a range that continues the newest one extends it. */
  unexplained(range: LostRange): void {
    const newest = this.#ranges.at(-1)
    if (newest !== undefined && follows(newest, range)) {
      this.#ranges[this.#ranges.length - 1] = { ...newest, last: range.last }
    } else this.#ranges.push(range)
  }

  take(): readonly LostRange[] {
    const ranges = this.#ranges
    this.#ranges = []
    return ranges
  }
}

function follows(newest: LostRange, range: LostRange): boolean {
  if (newest.reason !== range.reason || newest.spool?.file !== range.spool?.file) return false
  return newest.last !== null && newest.last + 1 === range.first
}
