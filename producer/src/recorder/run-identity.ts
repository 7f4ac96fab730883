/** Gives each record of a run its identity and order: run_seq, event_id and timestamp. */
import { randomBytes } from 'node:crypto'

/** One start of a producer. It never gives the same number twice. */
export class RunIdentity {
  readonly runId: Buffer = randomBytes(16)
  readonly runIdHex: string = this.runId.toString('hex')
  /** run_seq of the next record. */
  nextSeq = 0
  readonly #ids: EventIds = new EventIds(this.runId)
  readonly #nowMs: () => number
  #lastTimestamp = 0

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** Microseconds since 1970, strictly rising: within a millisecond, or after the clock was set back, the last one plus 1. */
  timestamp(): number {
    const now = this.#nowMs() * 1000
    this.#lastTimestamp = now > this.#lastTimestamp ? now : this.#lastTimestamp + 1
    return this.#lastTimestamp
  }

  /** The event_id of a run_seq at a timestamp of {@link timestamp}. */
  eventId(runSeq: number, timestamp: number): string {
    return this.#ids.make(runSeq, timestamp)
  }
}

const HEX: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/**
 * UUIDv7 as RFC 9562, 6.2 allows: 48 bits of milliseconds, 42 bits of the run, 32 bits of run_seq; they sort by time and
 * compress well. All but the last 16 bits are the same for many events in a row, so they are kept as text.
 */
class EventIds {
  readonly #run: string
  #milliseconds = -1
  #high = -1
  #prefix = ''

  constructor(runId: Buffer) {
    const a = runId.readUInt16BE(0) & 0xfff
    const b = runId.readUInt16BE(2) & 0x3fff
    const c = runId.readUInt16BE(4)
    this.#run = `-7${hex(a, 3)}-${hex(0x8000 | b, 4)}-${hex(c, 4)}`
  }

  make(runSeq: number, timestamp: number): string {
    const milliseconds = Math.floor(timestamp / 1000)
    const high = (runSeq >>> 16) & 0xffff
    if (milliseconds !== this.#milliseconds || high !== this.#high) {
      this.#milliseconds = milliseconds
      this.#high = high
      const time = hex(milliseconds, 12)
      this.#prefix = `${time.slice(0, 8)}-${time.slice(8)}${this.#run}${hex(high, 4)}`
    }
    return this.#prefix + (HEX[(runSeq >>> 8) & 0xff] ?? '') + (HEX[runSeq & 0xff] ?? '')
  }
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0')
}
