/** The records that no seal of their producer covers: sums of each run and reason, and what they mean. */
import type { Findings, Place } from '../findings.ts'
import type { PassedRecord } from './leaf-slots.ts'
import type { SealBook } from '../seal-log/seal-book.ts'

export type WhyUnsealed = 'no seal' | 'gap' | 'ended' | 'tail' | 'between' | 'replay'

/** Unsealed records of one run. */
interface Unsealed extends UnsealedRange {
  readonly producerId: string
  readonly why: WhyUnsealed
}

interface UnsealedRange {
  count: number
  first: number
  last: number
  partition: string
  firstOffset: number
  lastOffset: number
  oldestMs: number
  newestMs: number
  /** The first offset in each partition. */
  readonly firstOffsets: Map<string, number>
  /** Some of them are in no consumer seal either. */
  inNeither: boolean
}

const RUN_ID_BYTES = 16
const idOf = (key: string): string => Buffer.from(key, 'latin1').toString('hex')

export class UnsealedRecords {
  readonly #found = new Map<string, Unsealed>()
  readonly #book: SealBook
  /** Records that wait for their seal. */
  readonly #waiting: Unsealed[] = []

  constructor(book: SealBook) {
    this.#book = book
  }

  /** @param run - run_id as 16 characters of latin1. */
  note(run: string, producerId: string, record: PassedRecord, why: WhyUnsealed): void {
    const key = `${run} ${why}`
    const found = this.#found.get(key)
    const { seq, offset, partition, logTimeMs, isStoredSealed } = record
    if (found === undefined) {
      const range = { count: 1, first: seq, last: seq, partition, firstOffset: offset, lastOffset: offset }
      const times = { oldestMs: logTimeMs, newestMs: logTimeMs, firstOffsets: new Map([[partition, offset]]) }
      this.#found.set(key, { ...range, ...times, inNeither: !isStoredSealed, producerId, why })
      return
    }
    found.count++
    found.first = Math.min(found.first, seq)
    found.last = Math.max(found.last, seq)
    found.oldestMs = Math.min(found.oldestMs, logTimeMs)
    found.newestMs = Math.max(found.newestMs, logTimeMs)
    found.firstOffsets.set(partition, Math.min(offset, found.firstOffsets.get(partition) ?? Infinity))
    found.inNeither ||= !isStoredSealed
    if (partition !== found.partition) return
    found.firstOffset = Math.min(found.firstOffset, offset)
    found.lastOffset = Math.max(found.lastOffset, offset)
  }

  /** The first offset of each partition whose record waits for its seal. */
  *waiting(): Generator<[string, number]> {
    for (const { firstOffsets } of this.#waiting) yield* firstOffsets
  }

  /** Judges the records that no seal of their producer covers. */
  judge(findings: Findings, { youngMs, settledMs, nowMs }: Times): UnsealedCounts {
    let [notSealing, waiting] = [0, 0]
    for (const [key, found] of this.#found) {
      const since = this.#book.producerSince(found.producerId)
      if (since === undefined || found.newestMs < since) {
        notSealing += found.count
        continue
      }
      const young = found.newestMs >= youngMs && found.newestMs <= nowMs + (nowMs - youngMs)
      if (mayWait(found, { settledMs, nowMs })) {
        waiting += found.count
        this.#waiting.push(found)
        continue
      }
      const forged =
        found.why === 'gap' || found.why === 'ended' || (!young && (found.why === 'no seal' || found.inNeither))
      const place = placeOf(idOf(key.slice(0, RUN_ID_BYTES)), found)
      const of = `${found.count} record(s)`
      if (forged)
        findings.add(
          'tampering',
          'record-inserted',
          `${of} that no seal of the producer covers: ${WHY[found.why]}`,
          place,
        )
      else findings.add('incomplete', 'records-unsealed', `${of} not sealed by the producer: ${WHY[found.why]}`, place)
    }
    return { notSealing, waiting }
  }
}

/** Milliseconds since 1970. Records appended after `settledMs` wait for their seal; those after `youngMs` are late. */
export interface Times {
  readonly youngMs: number
  readonly settledMs: number
  readonly nowMs: number
}

interface UnsealedCounts {
  /** Events of producers without a key. */
  readonly notSealing: number
  /** Events that may still be sealed. */
  readonly waiting: number
}

function mayWait({ why, oldestMs, newestMs }: Unsealed, { settledMs, nowMs }: Omit<Times, 'youngMs'>): boolean {
  if (why !== 'tail' && why !== 'no seal') return false
  return oldestMs >= settledMs && newestMs <= nowMs + (nowMs - settledMs)
}

const WHY: Readonly<Record<WhyUnsealed, string>> = {
  'no seal': 'the run has no seal',
  gap: 'the seal says that the run has no such record',
  ended: 'the run had ended before',
  tail: 'they follow the last seal of the run, which has not ended',
  between: 'they lie between two seals: the delivery of a producer without a spool was started again',
  replay: 'a replay of a dead letter is a run of its own, without seals',
}

function placeOf(run_id: string, found: Unsealed): Place {
  const [log_id = '', partition] = found.partition.split('/')
  const offsets = { first_offset: found.firstOffset, last_offset: found.lastOffset }
  const numbers = { first_run_seq: found.first, last_run_seq: found.last }
  return { run_id, producer_id: found.producerId, ...numbers, log_id, partition: Number(partition), ...offsets }
}
