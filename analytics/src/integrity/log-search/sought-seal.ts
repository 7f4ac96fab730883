/** A producer seal whose records are missing or changed in the tables, and the records of the log that may be its own. */
import { createHash } from 'node:crypto'
import { LEAF_BYTES } from '@agent-audit/seals'
import { type Candidate, type LeafSlots, MAX_TRIED, type Source } from '../rows/leaf-slots.ts'
import type { BookedProducerSeal } from '../seal-log/seal-book.ts'

/** A record of the log. */
export interface LogRecordPlace {
  /** 32 characters of latin1. */
  readonly leaf: string
  readonly topic: string
  /** `<log_id>/<partition>`. */
  readonly partition: string
  readonly offset: number
}

/** A number of which the digest says which record is the producer's own, where the tables do not have just that. */
export interface LogContest {
  readonly seq: number
  readonly own: Candidate | LogRecordPlace
  /** Other records of the number: stored ones, and those of the log. */
  readonly others: readonly (Candidate | LogRecordPlace)[]
  readonly isStored: boolean
  /** Where the stored one of the others lies. */
  placed: Source | undefined
}

/** Records of the log that are kept for one number. */
const MAX_RECORDS = 16

export class SoughtSeal {
  readonly #slots: LeafSlots
  /** By slot. */
  readonly #found = new Map<number, LogRecordPlace[]>()
  #contests: LogContest[] | undefined

  constructor(slots: LeafSlots) {
    this.#slots = slots
  }

  get seal(): BookedProducerSeal {
    return this.#slots.seal
  }

  /** Whether the digest has said which records are the producer's own. */
  get isDecided(): boolean {
    return this.#contests !== undefined
  }

  /** Once decided: the numbers of which the tables do not have the producer's own record alone. */
  get contests(): readonly LogContest[] {
    return this.#contests ?? []
  }

  covers(seq: number): boolean {
    return seq >= this.seal.first && seq <= this.seal.last && this.#slots.slotOf(seq) !== undefined
  }

  take(seq: number, record: LogRecordPlace): void {
    const slot = this.#slots.slotOf(seq)
    if (slot === undefined) return
    const found = this.#found.get(slot) ?? []
    // The same record again, at this offset or another: the first place is named.
    if (found.length >= MAX_RECORDS || found.some(({ leaf }) => leaf === record.leaf)) return
    if (found.length === 0) this.#found.set(slot, found)
    found.push(record)
  }

  /** Records of the log with this number that differ from each other, as far as it was read. */
  inLog(seq: number): readonly LogRecordPlace[] {
    return this.#found.get(this.#slots.slotOf(seq) ?? -1) ?? []
  }

  /** Tries the records of tables and log together. @returns whether they give the digest */
  decide(): boolean {
    if (this.#contests !== undefined) return true
    const { count, digest } = this.seal
    const leaves = Buffer.alloc(count * LEAF_BYTES)
    const several: { readonly slot: number; readonly options: readonly (Candidate | LogRecordPlace)[] }[] = []
    let combinations = 1
    for (let slot = 0; slot < count; slot++) {
      const options = this.#optionsOf(slot)
      const [first] = options
      if (first === undefined) return false
      leaves.write(first.leaf, slot * LEAF_BYTES, 'latin1')
      if (options.length === 1) continue
      several.push({ slot, options })
      combinations *= options.length
    }
    // With more of them only the first choice is tried: the log's own records.
    for (let tried = 0; tried < Math.min(combinations, MAX_TRIED); tried++) {
      let rest = tried
      for (const { slot, options } of several) {
        leaves.write(options[rest % options.length]?.leaf ?? '', slot * LEAF_BYTES, 'latin1')
        rest = Math.floor(rest / options.length)
      }
      if (!createHash('sha256').update(leaves).digest().equals(digest)) continue
      this.#contests = this.#contestsOf(leaves)
      return true
    }
    return false
  }

  /** The different records of a slot, those of the log first: what was changed, was changed in the tables. */
  #optionsOf(slot: number): (Candidate | LogRecordPlace)[] {
    const stored = this.#slots.storedAt(slot)
    const found = this.#found.get(slot) ?? []
    const inLog = found.map((one) => stored.find(({ leaf }) => leaf === one.leaf) ?? one)
    return [...inLog, ...stored.filter((one) => !inLog.includes(one))]
  }

  #contestsOf(leaves: Buffer): LogContest[] {
    return Array.from({ length: this.seal.count }, (_, slot): LogContest[] => {
      const options = this.#optionsOf(slot)
      const leaf = leaves.toString('latin1', slot * LEAF_BYTES, (slot + 1) * LEAF_BYTES)
      const own = options.find((one) => one.leaf === leaf)
      const stored = this.#slots.storedAt(slot)
      const isStored = stored.some((one) => one === own)
      if (own === undefined || (isStored && stored.length === 1)) return []
      const others = options.filter((one) => one !== own)
      return [{ seq: this.#slots.seqOf(slot), own, others, isStored, placed: undefined }]
    }).flat()
  }
}
