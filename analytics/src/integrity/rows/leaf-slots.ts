/**
 * The leaves of one producer seal: a slot for each record, of which any candidates may claim one. With all slots full the digest is
 * compared, and the leaves are forgotten.
 */
import { createHash } from 'node:crypto'
import { LEAF_BYTES } from '@agent-audit/seals'
import type { BookedProducerSeal } from '../seal-log/seal-book.ts'

/** Where a record lies that claims a slot. */
export interface Source {
  readonly kind: 'event' | 'duplicate' | 'dead letter'
  /** `<log_id>/<partition>`. */
  readonly partition: string
  readonly offset: number
}

/** A record of a run. */
export interface PassedRecord extends Source {
  readonly seq: number
  /** 32 characters of latin1. */
  readonly leaf: string
  readonly logTimeMs: number
  readonly isReplay: boolean
  /** Whether a consumer seal covers its offset. */
  readonly isStoredSealed: boolean
  /** Whether no earlier run of verify has read it. */
  readonly isNew: boolean
}

export interface Candidate extends Source {
  /** 32 characters of latin1. */
  readonly leaf: string
}

/** A number that several different records claim. */
export interface Contest {
  readonly seq: number
  /** Of the records: the producer's own. Undefined: none of them, as far as they were tried. */
  readonly own: Candidate | undefined
  readonly others: readonly Candidate[]
}

/** open: slots are empty. */
export type SlotState = 'open' | 'right' | 'wrong'

/** Records of one seal that are held in memory, 32 bytes each; a producer seals 65,536 at most. */
export const MAX_SLOTS: number = 2 ** 20

/** Most combinations of candidates that are tried for one seal, and most candidates of one slot. */
export const MAX_TRIED = 4096
const MAX_CANDIDATES = 16
const MAX_REPEATS = 16
/** What has filled a slot. */
const [BY_EVENT, BY_OTHER] = [1, 2]

/** How many leaves of seals whose digest is wrong may be kept: a search in the log goes on from them. */
export interface KeptLeaves {
  left: number
}

export class LeafSlots {
  readonly seal: BookedProducerSeal
  readonly #kept: KeptLeaves | undefined
  #leaves: Buffer | undefined
  #filled: Uint8Array | undefined
  #left: number
  #state: SlotState = 'open'
  /** Slots with more than one record, or of which more are expected. */
  readonly #contested = new Map<number, Candidate[]>()
  /** Events that have a number which another event has already; the first ones. */
  readonly repeats: { readonly seq: number; readonly source: Source }[] = []
  #events = 0
  /** Offsets of its rows, by partition: first and last. */
  readonly spans: Map<string, [number, number]> = new Map()

  #decided: Contest[] | undefined

  /** @param kept - Undefined: a seal whose digest is wrong keeps no leaves. */
  constructor(seal: BookedProducerSeal, kept?: KeptLeaves) {
    this.seal = seal
    this.#kept = kept
    this.#left = seal.count
  }

  get state(): SlotState {
    return this.#state
  }

  get isContested(): boolean {
    return this.#contested.size > 0
  }

  /** Keeps the leaves until {@link LeafSlots.decide}: several records claim this number. */
  contest(seq: number): void {
    const slot = this.slotOf(seq)
    if (slot !== undefined && !this.#contested.has(slot)) this.#contested.set(slot, [])
  }

  /** @returns false, if the seal says that no record of the run has the number */
  place(seq: number, leaf: string, source: Source): boolean {
    const slot = this.slotOf(seq)
    if (slot === undefined) return false
    this.#span(source)
    if (this.#state !== 'open') {
      if (this.#events === this.seal.count) this.#repeat(seq, source)
      return true
    }
    const leaves = (this.#leaves ??= Buffer.alloc(this.seal.count * LEAF_BYTES))
    const filled = (this.#filled ??= new Uint8Array(this.seal.count))
    const at = slot * LEAF_BYTES
    const candidates = this.#contested.get(slot)
    if (filled[slot] !== 0) {
      const first = leaves.toString('latin1', at, at + LEAF_BYTES)
      if (candidates !== undefined) addCandidate(candidates, leaf, source)
      else if (first !== leaf) {
        const known: Candidate = { kind: 'event', partition: '', offset: -1, leaf: first }
        this.#contested.set(slot, [known, candidateOf(leaf, source)])
      } else if (filled[slot] === BY_EVENT) this.#repeat(seq, source)
      else this.#fill(filled, slot, source)
      return true
    }
    leaves.write(leaf, at, 'latin1')
    this.#fill(filled, slot, source)
    this.#left--
    if (candidates !== undefined) addCandidate(candidates, leaf, source)
    if (this.#left === 0 && this.#contested.size === 0) this.#close(this.#matches(leaves))
    return true
  }

  #fill(filled: Uint8Array, slot: number, { kind }: Source): void {
    if (kind === 'event') this.#events++
    filled[slot] = kind === 'event' ? BY_EVENT : BY_OTHER
  }

  #repeat(seq: number, { kind, partition, offset }: Source): void {
    if (kind !== 'event' || this.repeats.length >= MAX_REPEATS) return
    this.repeats.push({ seq, source: { kind, partition, offset } })
  }

  /** run_seqs whose slots are empty, ascending. */
  missing(): number[] {
    if (this.#left === 0) return []
    const missing: number[] = []
    for (let slot = 0; slot < this.seal.count; slot++) {
      if ((this.#filled?.[slot] ?? 0) === 0) missing.push(this.seqOf(slot))
    }
    return missing
  }

  /** After all rows: which of the candidates are the producer's own, found by the seal's digest. Needs all slots full. */
  decide(): readonly Contest[] {
    const leaves = this.#leaves
    if (this.#decided !== undefined) return this.#decided
    if (this.#state !== 'open' || this.#left > 0 || leaves === undefined) return []
    const contests = [...this.#contested].map(([slot, found]) => ({ slot, found: distinct(found) }))
    const several = contests.filter(({ found }) => found.length > 1)
    const combinations = several.reduce((product, { found }) => product * found.length, 1)
    // The first one is of the stored events: however many records claim their numbers, right ones are found right.
    const chosen = this.#tryAll(leaves, several, Math.min(combinations, MAX_TRIED))
    this.#close(chosen !== undefined)
    this.#decided = several.map(({ slot, found }, index) => {
      const own = chosen === undefined ? undefined : found[chosen[index] ?? 0]
      return { seq: this.seqOf(slot), own, others: found.filter((one) => one !== own) }
    })
    return this.#decided
  }

  /** Whether {@link LeafSlots.storedAt} can tell. */
  get keepsLeaves(): boolean {
    return this.#leaves !== undefined || (this.#state === 'open' && this.#left === this.seal.count)
  }

  /** The different stored records that claim a slot. */
  storedAt(slot: number): readonly Candidate[] {
    const candidates = this.#contested.get(slot) ?? []
    if (candidates.length > 0) return distinct(candidates)
    const by = this.#filled?.[slot] ?? 0
    if (by === 0 || this.#leaves === undefined) return []
    const leaf = this.#leaves.toString('latin1', slot * LEAF_BYTES, (slot + 1) * LEAF_BYTES)
    return [{ kind: by === BY_EVENT ? 'event' : 'duplicate', partition: '', offset: -1, leaf }]
  }

  #tryAll(
    leaves: Buffer,
    several: readonly { slot: number; found: readonly Candidate[] }[],
    combinations: number,
  ): number[] | undefined {
    for (let number = 0; number < combinations; number++) {
      let rest = number
      const chosen = several.map(({ slot, found }) => {
        const index = rest % found.length
        rest = Math.floor(rest / found.length)
        leaves.write(found[index]?.leaf ?? '', slot * LEAF_BYTES, 'latin1')
        return index
      })
      if (this.#matches(leaves)) return chosen
    }
    return undefined
  }

  #matches(leaves: Buffer): boolean {
    return createHash('sha256').update(leaves).digest().equals(this.seal.digest)
  }

  #close(right: boolean): void {
    this.#state = right ? 'right' : 'wrong'
    if (!right && this.#kept !== undefined && this.#kept.left >= this.seal.count) {
      this.#kept.left -= this.seal.count
      return
    }
    this.#leaves = undefined
    this.#filled = undefined
  }

  #span({ partition, offset }: Source): void {
    const span = this.spans.get(partition)
    if (span === undefined) this.spans.set(partition, [offset, offset])
    else if (offset < span[0]) span[0] = offset
    else if (offset > span[1]) span[1] = offset
  }

  /** Undefined: the seal says that no record of the run has the number. */
  slotOf(seq: number): number | undefined {
    let slot = seq - this.seal.first
    for (const { first, last } of this.seal.gaps) {
      if (seq > last) slot -= last - first + 1
      else if (seq >= first) return undefined
    }
    return slot
  }

  seqOf(slot: number): number {
    let seq = this.seal.first + slot
    for (const { first, last } of this.seal.gaps) if (seq >= first) seq += last - first + 1
    return seq
  }
}

function addCandidate(candidates: Candidate[], leaf: string, source: Source): void {
  if (candidates.length < MAX_CANDIDATES) candidates.push(candidateOf(leaf, source))
}

function candidateOf(leaf: string, { kind, partition, offset }: Source): Candidate {
  return { kind, partition, offset, leaf }
}

/** Records with the same bytes are one: the event comes before its duplicates. */
function distinct(candidates: readonly Candidate[]): Candidate[] {
  const byLeaf = new Map<string, Candidate>()
  for (const candidate of candidates.toSorted((a, b) => Number(b.kind === 'event') - Number(a.kind === 'event'))) {
    if (!byLeaf.has(candidate.leaf)) byLeaf.set(candidate.leaf, candidate)
  }
  return [...byLeaf.values()]
}
