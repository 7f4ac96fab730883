/**
 * The records of one seal: a slot for each number, and the candidates that claim it. The seal's digest says which of them is the
 * producer's own.
 */
import { createHash } from 'node:crypto'
import { LEAF_BYTES, leafHash, type ProducerSeal } from '@agent-audit/seals'

/** A record as the trail has it. */
export interface Candidate {
  readonly runSeq: number
  /** Without framing. */
  readonly body: Buffer
  /** Such as `the event at 3/1200`: partition and offset. */
  readonly place: string
}

/** A number that several different records claim. */
export interface DecidedConflict {
  readonly run_id: string
  readonly run_seq: number
  /** Where the record is that the producer has sealed. */
  readonly own: string
  /** The others, which the producer has not sealed. */
  readonly others: readonly string[]
}

interface Slot extends Candidate {
  readonly leaf: Buffer
}

/** Most combinations of candidates that are tried, and most candidates of one number. */
const MAX_TRIED = 4096
const MAX_CANDIDATES = 16

export class SealSlots {
  readonly seal: ProducerSeal
  readonly #numbers: readonly number[]
  readonly #slots: Map<number, Slot[]> = new Map()
  /** Of each number. Undefined: no choice gives the digest, as far as it was tried. */
  #chosen: readonly Slot[] | undefined

  constructor(seal: ProducerSeal) {
    this.seal = seal
    this.#numbers = numbersOf(seal)
  }

  /** Takes what it does not have yet; a candidate of another number is left out. */
  add(candidate: Candidate): void {
    const { runSeq } = candidate
    if (this.isDecided || runSeq < this.seal.first || runSeq > this.seal.last) return
    const found = this.#slots.get(runSeq)
    const leaf = leafHash(candidate.body)
    if (found === undefined) this.#slots.set(runSeq, [{ ...candidate, leaf }])
    else if (found.length < MAX_CANDIDATES && found.every((each) => !each.leaf.equals(leaf))) {
      found.push({ ...candidate, leaf })
    }
  }

  get isDecided(): boolean {
    return this.#chosen !== undefined
  }

  /** Sealed numbers of which there is no record. */
  missing(): number[] {
    return this.#numbers.filter((number) => !this.#slots.has(number))
  }

  /** Looks for a choice that gives the digest. Needs a record of each number. */
  decide(): void {
    if (this.isDecided || this.missing().length > 0) return
    const slots = this.#numbers.map((number) => this.#slots.get(number) ?? [])
    const contested = slots.filter((slot) => slot.length > 1)
    const combinations = contested.reduce((product, { length }) => product * length, 1)
    if (combinations > MAX_TRIED) return
    for (let number = 0; number < combinations; number++) {
      let rest = number
      const chosen = slots.map((slot) => {
        const index = rest % slot.length
        rest = Math.floor(rest / slot.length)
        return slot[index] as Slot
      })
      if (!digestOf(chosen).equals(this.seal.digest)) continue
      this.#chosen = chosen
      return
    }
  }

  /** The producer's own records; where no choice gives the digest, those that came first. */
  owns(): readonly Candidate[] {
    return this.#chosen ?? this.#numbers.flatMap((number) => this.#slots.get(number)?.slice(0, 1) ?? [])
  }

  /** The numbers with several records, of which the digest has said which is the producer's. */
  conflicts(): DecidedConflict[] {
    const { runId } = this.seal
    return (this.#chosen ?? []).flatMap((chosen) => {
      const others = (this.#slots.get(chosen.runSeq) ?? []).filter((each) => each !== chosen)
      if (others.length === 0) return []
      const places = others.map(({ place }) => place)
      return [{ run_id: runId, run_seq: chosen.runSeq, own: chosen.place, others: places }]
    })
  }

  /** Leaves of the numbers that `known` does not have, back to back. */
  leavesBeside(known: Pick<ReadonlySet<number>, 'has'>): Buffer {
    const beside = (this.owns() as readonly Slot[]).filter(({ runSeq }) => !known.has(runSeq))
    return Buffer.concat(
      beside.map(({ leaf }) => leaf),
      beside.length * LEAF_BYTES,
    )
  }
}

function digestOf(slots: readonly Slot[]): Buffer {
  const digest = createHash('sha256')
  for (const { leaf } of slots) digest.update(leaf)
  return digest.digest()
}

/** The sealed run_seqs: the range without its gaps. */
function numbersOf({ first, last, gaps }: ProducerSeal): number[] {
  const numbers: number[] = []
  for (let next = first; next <= last; next++) {
    const gap = gaps.find((each) => each.first <= next && next <= each.last)
    if (gap === undefined) numbers.push(next)
    else next = gap.last
  }
  return numbers
}
