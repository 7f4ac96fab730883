/** Gives each record of the pass to the seal that covers it, and judges the records that no seal covers. */
import type { SealBook, BookedProducerSeal } from './seal-book.ts'
import type { Range } from '../verify/ranges.ts'
import { chainOfRun, placeOfRun } from './chains.ts'
import type { Findings, Place } from './findings.ts'
import { LeafSlots, MAX_SLOTS, type Source } from './leaf-slots.ts'

/** A record of a run. */
export interface PassedRecord extends Source {
  readonly seq: number
  /** 32 characters of latin1. */
  readonly leaf: string
  readonly logTimeMs: number
  readonly isReplay: boolean
  /** Whether a consumer seal covers its offset. */
  readonly isStoredSealed: boolean
}

/** Unsealed records of one run. */
interface Unsealed extends UnsealedRange {
  readonly producerId: string
  readonly why: 'no seal' | 'gap' | 'ended' | 'tail' | 'between' | 'replay'
}

interface UnsealedRange {
  count: number
  first: number
  last: number
  partition: string
  firstOffset: number
  lastOffset: number
  newestMs: number
  /** Some of them are in no consumer seal either. */
  inNeither: boolean
}

const RUN_ID_BYTES = 16

/** The key of a run by its 32 hex digits, and back. */
const keyOf = (runId: string): string => Buffer.from(runId, 'hex').toString('latin1')
const idOf = (key: string): string => Buffer.from(key, 'latin1').toString('hex')

interface Run {
  readonly seals: readonly BookedProducerSeal[]
  readonly slots: (LeafSlots | undefined)[]
  at: number
}

export class RunSeals {
  /** By run_id as 16 characters of latin1: the text that a row's bytes give most cheaply. */
  readonly #runs = new Map<string, Run>()
  readonly #unsealed = new Map<string, Unsealed>()
  readonly #book: SealBook

  constructor(book: SealBook, findings: Findings) {
    this.#book = book
    for (const [runId, seals] of book.runs) {
      const chain = chainOfRun(seals, findings)
      for (const seal of chain.filter(({ count }) => count > MAX_SLOTS)) {
        findings.add('unchecked', 'seal-too-large', `a seal of ${seal.count} records is not checked`, placeOfRun(seal))
      }
      this.#runs.set(keyOf(runId), { seals: chain, slots: chain.map(() => undefined), at: 0 })
    }
  }

  /** Several records claim this number of the run. */
  contest(runId: string, seq: number): void {
    const run = this.#runs.get(keyOf(runId))
    const index = run === undefined ? -1 : indexOf(run, seq)
    if (run !== undefined && index >= 0) slotsAt(run, index)?.contest(seq)
  }

  /**
   * @param key - run_id as 16 characters of latin1.
   * @returns whether a producer seal covers it; its digest is compared later
   */
  place(key: string, producerId: () => string, record: PassedRecord): boolean {
    const run = this.#runs.get(key)
    const index = run === undefined ? -1 : indexOf(run, record.seq)
    const slots = run === undefined || index < 0 ? undefined : slotsAt(run, index)
    if (slots?.place(record.seq, record.leaf, record) === true) return true
    if (record.kind === 'event')
      this.#note(key, producerId(), record, slots === undefined ? whyUnsealed(run, record) : 'gap')
    return false
  }

  /** The seals whose records came, or should have. */
  *allSlots(): Generator<LeafSlots> {
    for (const run of this.#runs.values()) {
      for (const index of run.seals.keys()) {
        const slots = slotsAt(run, index)
        if (slots !== undefined) yield slots
      }
    }
  }

  /** Numbers that the run's producer has named as never delivered. */
  undelivered(runId: string): { first: number; last: number }[] {
    return this.#runs.get(keyOf(runId))?.seals.flatMap(({ undelivered }) => undelivered) ?? []
  }

  /** Numbers of which the run's own seals say where they are: none, never delivered, or in a seal whose records are all there. */
  explained(runId: string): Range[] {
    const run = this.#runs.get(keyOf(runId))
    if (run === undefined) return []
    const named = run.seals.flatMap(({ gaps, undelivered }) => [...gaps, ...undelivered])
    return [...named, ...run.seals.filter((_, index) => run.slots[index]?.state === 'right')]
  }

  get producers(): Set<string> {
    return new Set(
      [...this.#runs.values()].flatMap(({ seals }) => seals.slice(0, 1).map(({ producerId }) => producerId)),
    )
  }

  /** @param youngMs - Records appended after it may still be sealed. @returns events of producers without a key */
  judgeUnsealed(findings: Findings, youngMs: number, nowMs: number): number {
    let notSealing = 0
    for (const [key, found] of this.#unsealed) {
      const since = this.#book.producerSince(found.producerId)
      if (since === undefined || found.newestMs < since) {
        notSealing += found.count
        continue
      }
      const young = found.newestMs >= youngMs && found.newestMs <= nowMs + (nowMs - youngMs)
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
    return notSealing
  }

  #note(run: string, producerId: string, record: PassedRecord, why: Unsealed['why']): void {
    const key = `${run} ${why}`
    const found = this.#unsealed.get(key)
    const { seq, offset, partition, logTimeMs, isStoredSealed } = record
    if (found === undefined) {
      const range = { count: 1, first: seq, last: seq, partition, firstOffset: offset, lastOffset: offset }
      this.#unsealed.set(key, { ...range, newestMs: logTimeMs, inNeither: !isStoredSealed, producerId, why })
      return
    }
    found.count++
    found.first = Math.min(found.first, seq)
    found.last = Math.max(found.last, seq)
    found.newestMs = Math.max(found.newestMs, logTimeMs)
    found.inNeither ||= !isStoredSealed
    if (partition !== found.partition) return
    found.firstOffset = Math.min(found.firstOffset, offset)
    found.lastOffset = Math.max(found.lastOffset, offset)
  }
}

const WHY: Readonly<Record<Unsealed['why'], string>> = {
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

function whyUnsealed(run: Run | undefined, record: PassedRecord): Unsealed['why'] {
  if (run === undefined) return record.isReplay ? 'replay' : 'no seal'
  const last = run.seals.at(-1)
  if (last === undefined || record.seq <= last.last) return 'between'
  return last.state.kind === 'open' ? 'tail' : 'ended'
}

/** The seal that covers a number; -1: none. The records of a run come nearly in order. */
function indexOf(run: Run, seq: number): number {
  const { seals } = run
  const covers = (index: number): boolean => {
    const seal = seals[index]
    return seal !== undefined && seq >= seal.first && seq <= seal.last
  }
  if (covers(run.at)) return run.at
  if (covers(run.at + 1)) return ++run.at
  let [low, high] = [0, seals.length]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if ((seals[middle]?.last ?? -1) < seq) low = middle + 1
    else high = middle
  }
  if (!covers(low)) return -1
  run.at = low
  return low
}

function slotsAt(run: Run, index: number): LeafSlots | undefined {
  const seal = run.seals[index]
  if (seal === undefined || seal.count === 0 || seal.count > MAX_SLOTS) return undefined
  return (run.slots[index] ??= new LeafSlots(seal))
}
