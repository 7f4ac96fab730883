/** The seal log while a notary has it: the tree of what is stored, and what a next checkpoint must agree with. */
import { IntegrityError } from '@agent-audit/schemas'
import { leafHash, MerkleTree, type VerifierKey, verifyCheckpoint } from '@agent-audit/seals'
import { isLeaf, readSeal } from './leaf.ts'
import { changed, type NewLeaf, type SealTables } from './seal-tables.ts'
import { SeenLeaves } from './seen-leaves.ts'

/** A checkpoint that exists: the log must have this root at this size. */
export interface Anchor {
  readonly where: string
  readonly size: number
  readonly root: Buffer
}

/** The largest checkpoint among notes, the largest first. */
export function anchorOf(
  notes: readonly string[],
  { where, origin, keys }: { readonly where: string; readonly origin: string; readonly keys: readonly VerifierKey[] },
): Anchor | undefined {
  let fault: unknown
  for (const note of notes) {
    try {
      const found = verifyCheckpoint(note, { log: keys })
      if (found.origin === origin) return { where, size: found.size, root: found.root }
      fault ??= changed(`${where}: expected checkpoints of the log ${origin}, found one of ${found.origin}`)
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error
      fault ??= new IntegrityError(
        error.code,
        `${where}: ${error.message}. Another notary's key stands in the trust file`,
      )
    }
  }
  if (fault !== undefined) throw fault
  return undefined
}

/** A message of the topic. */
export interface Message {
  readonly offset: number
  readonly value: Buffer | null
}

export class SealLog {
  readonly tree: MerkleTree = new MerkleTree()
  readonly #seen = new SeenLeaves()
  readonly #tables: SealTables
  readonly #anchors: Anchor[]
  /** Offset and hash of the newest stored leaf. */
  #last: { readonly offset: number; readonly hash: Buffer } | undefined
  /** Whether the topic still has that leaf's message. */
  #compared = false
  /** Leaves that were taken and are not in the tree yet. */
  #taken = 0

  private constructor(tables: SealTables, anchors: readonly Anchor[]) {
    this.#tables = tables
    this.#anchors = [...anchors]
  }

  /**
   * Computes the tree from the notes in the tables, and compares it with the anchors.
   * @throws IntegrityError `SEAL_LOG_CHANGED`
   */
  static async open(tables: SealTables, anchors: readonly Anchor[]): Promise<SealLog> {
    const log = new SealLog(tables, anchors)
    for await (const { hash, offset } of tables.leaves()) {
      log.#seen.add(hash)
      log.tree.append(hash)
      log.#last = { offset, hash }
    }
    log.compare()
    return log
  }

  /** Where to read on: the newest leaf's message comes once more, and is compared. */
  readFrom({ start, end }: { readonly start: number; readonly end: number }): number {
    const from = this.#last?.offset ?? 0
    const topic = this.#tables.topic
    if (start > from) {
      throw changed(`${topic} begins at offset ${start}: expected offset ${from}. Seals were deleted from it`)
    }
    if (this.#last !== undefined && end <= from) {
      throw changed(
        `${topic} ends at offset ${end}, and leaf ${this.tree.size - 1} was at ${from}: it was made anew, or cut`,
      )
    }
    return from
  }

  /**
   * Turns a message into the next leaf; undefined: it is none.
   * @throws IntegrityError `SEAL_LOG_CHANGED`, if the newest leaf's message is another one now
   */
  take({ offset, value }: Message): NewLeaf | undefined {
    const hash = isLeaf(value) ? leafHash(value) : undefined
    if (!this.#compared) this.#compareNewest(offset, hash)
    if (hash === undefined || value === null || !this.#seen.add(hash)) return undefined
    this.#taken += 1
    // The reader's memory is used again once the next slice is asked for.
    const note = Buffer.from(value)
    return { index: this.tree.size + this.#taken - 1, offset, note, ...readSeal(note) }
  }

  #compareNewest(offset: number, hash: Buffer | undefined): void {
    const last = this.#last
    this.#compared = true
    if (last === undefined || (offset === last.offset && hash?.equals(last.hash) === true)) return
    const newest = `the seal of leaf ${this.tree.size - 1} at offset ${last.offset}`
    throw changed(
      `${this.#tables.topic}: expected ${newest}, found another message at ${offset}: the topic was made anew`,
    )
  }

  /** The leaves are stored: those that were taken first. */
  stored(leaves: readonly NewLeaf[]): void {
    for (const { note } of leaves) this.tree.append(leafHash(note))
    this.#taken -= leaves.length
    this.compare()
  }

  /** The anchors that the tree has not reached yet. */
  get open(): readonly Anchor[] {
    return this.#anchors.filter(({ size }) => size > this.tree.size)
  }

  /** Compares with a checkpoint that was found later. @throws IntegrityError `SEAL_LOG_CHANGED` */
  expect(anchor: Anchor | undefined): void {
    if (anchor === undefined) return
    if (anchor.size > this.tree.size) {
      throw changed(
        `${anchor.where} has a checkpoint of ${anchor.size} leaves, and the log has ${this.tree.size}: seals are gone`,
      )
    }
    this.#anchors.push(anchor)
    this.compare()
  }

  /** @throws IntegrityError `SEAL_LOG_CHANGED` if the tree has another root than an anchor that it has reached */
  compare(): void {
    for (const { where, size, root } of this.#anchors) {
      if (size > this.tree.size || this.tree.root(size).equals(root)) continue
      throw changed(
        `${where} has a checkpoint of ${size} leaves with another root: a seal was changed, removed or reordered`,
      )
    }
    const reached = this.#anchors.filter(({ size }) => size <= this.tree.size)
    for (const anchor of reached) this.#anchors.splice(this.#anchors.indexOf(anchor), 1)
  }
}
