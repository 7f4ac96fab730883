/** Gives each record of the pass to the seal that covers it. */
import type { SealBook, BookedProducerSeal } from '../seal-log/seal-book.ts'
import type { Range } from '../../verify/ranges.ts'
import { chainOfRun, placeOfRun } from '../seal-log/chains.ts'
import type { Findings } from '../findings.ts'
import { type KeptLeaves, LeafSlots, MAX_SLOTS, type PassedRecord, type Source } from './leaf-slots.ts'
import type { TakenOver, TakenRun } from '../increments/taken-over.ts'
import { UnsealedRecords, type WhyUnsealed } from './unsealed-records.ts'

const MAX_REPEATS = 1000
/** Records of contested seals, whose leaves are held to the end of the pass: 128 MiB. */
const MAX_HELD = 2 ** 22

/** The key of a run by its 32 hex digits. */
const keyOf = (runId: string): string => Buffer.from(runId, 'hex').toString('latin1')

interface Run {
  /** The last seal that was verified before. */
  readonly taken: TakenRun | undefined
  readonly seals: readonly BookedProducerSeal[]
  readonly slots: (LeafSlots | undefined)[]
  readonly kept: KeptLeaves | undefined
  at: number
}

export interface RunOptions {
  readonly taken?: TakenOver | undefined
  readonly kept?: KeptLeaves | undefined
}

export class RunSeals {
  /** By run_id as 16 characters of latin1: the text that a row's bytes give most cheaply. */
  readonly #runs = new Map<string, Run>()
  #held = 0
  /** Records that no seal of their producer covers. */
  readonly unsealed: UnsealedRecords
  /** Records whose number was verified before; the first ones. */
  readonly repeats: { readonly runId: string; readonly seq: number; readonly source: Source }[] = []

  /**
   * @param taken - What an earlier run of verify has found right.
   * @param kept - Leaves that may be kept for a search in the log.
   */
  constructor(book: SealBook, findings: Findings, { taken, kept }: RunOptions = {}) {
    this.unsealed = new UnsealedRecords(book)
    for (const [runId, own] of taken?.runs ?? []) {
      this.#runs.set(keyOf(runId), { taken: own, seals: [], slots: [], kept, at: 0 })
    }
    for (const [runId, seals] of book.runs) {
      const own = taken?.runs.get(runId)
      const chain = chainOfRun(seals, findings, own)
      for (const seal of chain.filter(({ count }) => count > MAX_SLOTS)) {
        findings.add('unchecked', 'seal-too-large', `a seal of ${seal.count} records is not checked`, placeOfRun(seal))
      }
      this.#runs.set(keyOf(runId), { taken: own, seals: chain, slots: chain.map(() => undefined), kept, at: 0 })
    }
  }

  /** Several records claim this number of the run. @returns false: the leaves of its seal are too many to be held as well */
  contest(runId: string, seq: number): boolean {
    const run = this.#runs.get(keyOf(runId))
    const index = run === undefined ? -1 : indexOf(run, seq)
    const slots = run === undefined || index < 0 ? undefined : slotsAt(run, index)
    if (slots === undefined) return true
    const held = this.#held + (slots.isContested ? 0 : slots.seal.count)
    if (held > MAX_HELD) return false
    slots.contest(seq)
    if (slots.isContested) this.#held = held
    return true
  }

  /**
   * @param key - run_id as 16 characters of latin1.
   * @returns whether a producer seal covers it; its digest is compared later
   */
  place(key: string, producerId: () => string, record: PassedRecord): boolean {
    const run = this.#runs.get(key)
    if (run?.taken !== undefined && record.seq <= run.taken.last) {
      this.#placeAgain(run.taken, record)
      return true
    }
    const index = run === undefined ? -1 : indexOf(run, record.seq)
    const slots = run === undefined || index < 0 ? undefined : slotsAt(run, index)
    if (slots?.place(record.seq, record.leaf, record) === true) return true
    if (record.kind === 'event')
      this.unsealed.note(key, producerId(), record, slots === undefined ? whyUnsealed(run, record) : 'gap')
    return false
  }

  /** A record of a verified seal: read again with its neighbours, or new, though its number is taken. */
  #placeAgain({ runId }: TakenRun, { seq, kind, partition, offset, isNew }: PassedRecord): void {
    if (!isNew || kind !== 'event' || this.repeats.length >= MAX_REPEATS) return
    this.repeats.push({ runId, seq, source: { kind, partition, offset } })
  }

  /** Runs with a seal of which records are missing. */
  openRuns(): string[] {
    return [...this.#runs.values()].flatMap((run) => {
      const open = run.seals[this.#firstOpen(run)]
      return open === undefined ? [] : [open.runId]
    })
  }

  /** The last seal of each run that is verified, with all before it. */
  lastVerified(): TakenRun[] {
    return [...this.#runs.values()].flatMap((run) => {
      const done = run.seals.slice(0, this.#firstOpen(run))
      const last = done.at(-1)
      const end = last === undefined ? run.taken : { ...last, readTo: 0 }
      return end === undefined ? [] : [end]
    })
  }

  /** The first leaf of a seal whose records are not all there. */
  firstOpenLeaf(): number {
    let first = Infinity
    for (const run of this.#runs.values()) {
      for (const { leaf } of run.seals.slice(this.#firstOpen(run))) first = Math.min(first, leaf)
    }
    return first
  }

  #firstOpen(run: Run): number {
    const undelivered = run.seals.flatMap((seal) => seal.undelivered)
    const open = run.seals.findIndex((_, index) => {
      const slots = slotsAt(run, index)
      return slots !== undefined && slots.state !== 'right' && missingOf(slots, undelivered).length > 0
    })
    return open < 0 ? run.seals.length : open
  }

  /** By partition, the first offset whose record waits for its seal, or whose seal waits for other records. */
  waiting(): Map<string, number> {
    const first = new Map<string, number>()
    const note = (partition: string, offset: number): void => {
      first.set(partition, Math.min(offset, first.get(partition) ?? Infinity))
    }
    for (const [key, offset] of this.unsealed.waiting()) note(key, offset)
    for (const run of this.#runs.values()) {
      for (const slots of run.slots.slice(this.#firstOpen(run))) {
        for (const [partition, [offset]] of slots?.spans ?? []) note(partition, offset)
      }
    }
    return first
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
}

/** Numbers of a seal that are not stored, and that its producer does not name as never delivered. */
export function missingOf(slots: LeafSlots, undelivered: readonly Range[]): number[] {
  return slots.missing().filter((seq) => !undelivered.some(({ first, last }) => seq >= first && seq <= last))
}

function whyUnsealed(run: Run | undefined, record: PassedRecord): WhyUnsealed {
  if (run === undefined) return record.isReplay ? 'replay' : 'no seal'
  const last = run.seals.at(-1) ?? run.taken
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
  return (run.slots[index] ??= new LeafSlots(seal, run.kept))
}
