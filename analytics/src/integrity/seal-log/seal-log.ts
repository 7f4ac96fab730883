/**
 * Reads the seal log: rebuilds its tree from the notes, holds it against every checkpoint, and sorts its seals. Each seal gets the
 * time of the first checkpoint that holds it: its key is judged by that.
 */
import { SEALS_TABLE } from '@agent-audit/schemas'
import { CompactRange, leafHash, parseNote, readNote } from '@agent-audit/seals'
import type { Analytics } from '../../connection/clickhouse.ts'
import { number, type Row, text } from '../../connection/rows.ts'
import type { FoundCheckpoints, HeldCheckpoint } from './checkpoints.ts'
import type { Findings } from '../findings.ts'
import type { SealBook } from './seal-book.ts'
import type { TakenOver } from '../increments/taken-over.ts'

const SEALS = `
  SELECT lower(hex(seals_log_id)) AS log, leaf_index, seals_topic, kind, base64Encode(note) AS note
  FROM {database:Identifier}.${SEALS_TABLE} WHERE seals_log_id != unhex({log:String}) OR leaf_index >= {from:UInt64}
  ORDER BY seals_log_id, leaf_index`
const UNCHECKED = { parse: (row: unknown): Row => row as Row }

export interface SealLogReport {
  readonly leaves: number
  /** Leaves that a checkpoint holds. */
  readonly anchored: number
  /** Leaves that a checkpoint holds that was kept outside of the database. */
  readonly anchored_outside: number
  /** Of the newest checkpoint, milliseconds since 1970; null without any. */
  readonly anchored_at_ms: number | null
  /** Checkpoints whose root is that of the stored seals. */
  readonly checkpoints: number
}

/** The tree of the log whose checkpoints count, as it was read. */
export interface ReadTree {
  /** 16 hex digits; undefined: no seal is stored, or those of several logs are. */
  readonly log: string | undefined
  readonly size: number
  /** The tree of a size that is at most this one, and near it. */
  before(size: number): { readonly size: number; readonly hashes: readonly Buffer[] }
}

export interface ReadLog {
  readonly report: SealLogReport
  readonly tree: ReadTree
}

/** Reads each leaf once. */
export async function readSealLog(
  analytics: Analytics,
  { held, log: ofOrigin }: FoundCheckpoints,
  { book, taken, findings }: LogParts,
): Promise<ReadLog> {
  const trees = new Map<string, Tree>()
  const params = { log: taken?.logId ?? '', from: taken?.tree.size ?? 0 }
  if (taken !== undefined) trees.set(taken.logId, new Tree(held, findings, taken.tree))
  for await (const row of analytics.query(SEALS, { schema: UNCHECKED, params })) {
    const log = text(row, 'log')
    let tree = trees.get(log)
    if (tree === undefined) {
      // The checkpoints are of the one log whose origin the trust file names; without that mark, of the only log.
      const anchored = ofOrigin === undefined ? trees.size === 0 : ofOrigin === log
      tree = new Tree(anchored ? held : [], findings)
      trees.set(log, tree)
    }
    const bytes = Buffer.from(text(row, 'note'), 'base64')
    const index = number(row, 'leaf_index')
    if (!tree.append(index, bytes)) continue
    if (row['kind'] === 'unread' && !isNote(bytes)) continue
    book.add(index, bytes, tree.anchorOf(index))
  }
  const anchoredLog = [...trees.values()].find((tree) => tree.isAnchored) ?? new Tree(held, findings)
  anchoredLog.close(taken)
  const leaves = [...trees.values()].reduce((sum, tree) => sum + tree.size, 0)
  const [only, ...others] = trees
  const log = others.length > 0 ? undefined : only?.[0]
  return {
    report: { leaves, ...anchoredLog.report() },
    tree: { log, size: anchoredLog.size, before: (size) => anchoredLog.before(size) },
  }
}

interface LogParts {
  /** Gets the seals. */
  readonly book: SealBook
  /** What an earlier run of verify has read: the tree goes on from there. */
  readonly taken: TakenOver | undefined
  readonly findings: Findings
}

/** Anyone that can write the topic can put bytes there: they are a leaf, and say nothing. */
function isNote(bytes: Buffer): boolean {
  try {
    return parseNote(readNote(bytes)).text.startsWith('audit-seal/')
  } catch {
    return false
  }
}

/** Leaves between two sizes that {@link Tree.before} can give. */
const KEPT_EVERY = 1024

class Tree {
  readonly #held: readonly HeldCheckpoint[]
  readonly #findings: Findings
  readonly #range: CompactRange
  readonly #kept: { readonly size: number; readonly hashes: readonly Buffer[] }[]
  #next = 0
  #good = 0
  #anchored = 0
  #outside = 0
  #before: Buffer | undefined
  #broken = false

  constructor(held: readonly HeldCheckpoint[], findings: Findings, from?: TakenOver['tree']) {
    this.#held = held
    this.#findings = findings
    this.#range = from === undefined ? new CompactRange() : CompactRange.from(from.size, from.hashes)
    this.#kept = [{ size: this.#range.size, hashes: this.#range.hashes() }]
    this.#compare()
  }

  before(size: number): { readonly size: number; readonly hashes: readonly Buffer[] } {
    if (size >= this.#range.size) return { size: this.#range.size, hashes: this.#range.hashes() }
    return this.#kept.findLast((kept) => kept.size <= size) ?? { size: 0, hashes: [] }
  }

  get size(): number {
    return this.#range.size
  }

  get isAnchored(): boolean {
    return this.#held.length > 0
  }

  /** @returns whether it is a new leaf */
  append(index: number, bytes: Buffer): boolean {
    if (index < this.#range.size && !this.#broken) {
      if (this.#before?.equals(bytes) !== true || index !== this.#range.size - 1) {
        this.#findings.add('tampering', 'leaf-repeated', `leaf ${index} of the seal log is stored twice`, {
          leaf: index,
        })
      }
      return false
    }
    if (index > this.#range.size && !this.#broken) {
      const missing = `leaves ${this.#range.size} to ${index - 1} of the seal log are not stored`
      this.#findings.add('tampering', 'leaf-missing', missing, { leaf: this.#range.size })
      // No root above can be computed.
      this.#broken = true
    }
    this.#before = bytes
    if (this.#broken) return true
    this.#range.append(leafHash(bytes))
    if (this.#range.size % KEPT_EVERY === 0) this.#kept.push({ size: this.#range.size, hashes: this.#range.hashes() })
    this.#compare()
    return true
  }

  /** The time of the first checkpoint that holds a leaf, milliseconds since 1970. */
  anchorOf(index: number): number | undefined {
    // Sizes rise, and leaves come in order: the checkpoints before the next one are behind.
    while ((this.#held[this.#anchorAt]?.size ?? Infinity) <= index) this.#anchorAt++
    const seconds = this.#held[this.#anchorAt]?.seconds
    return seconds === undefined ? undefined : seconds * 1000
  }

  #anchorAt = 0

  /** After the last leaf. */
  close(taken: TakenOver | undefined): void {
    if (taken !== undefined && taken.leaves > this.#range.size && !this.#broken) {
      const message = `verify has read ${taken.leaves} leaves before, and ${this.#range.size} are stored`
      this.#findings.add('tampering', 'log-cut', message, { leaf: this.#range.size })
      return
    }
    const cut = this.#held.at(-1)
    if (cut === undefined || cut.size <= this.#range.size || this.#broken) return
    const where = cut.outside ? 'kept outside' : 'in the table'
    const message = `a checkpoint ${where} holds ${cut.size} leaves, and ${this.#range.size} are stored`
    this.#findings.add('tampering', 'log-cut', message, { leaf: this.#range.size })
  }

  report(): Omit<SealLogReport, 'leaves'> {
    return {
      anchored: this.#anchored,
      anchored_outside: this.#outside,
      anchored_at_ms: this.#held.at(-1)?.seconds === undefined ? null : (this.#held.at(-1)?.seconds ?? 0) * 1000,
      checkpoints: this.#good,
    }
  }

  /** Holds the root against the checkpoints of this size. */
  #compare(): void {
    for (; this.#held[this.#next]?.size === this.#range.size; this.#next++) {
      const checkpoint = this.#held[this.#next]
      if (checkpoint === undefined) return
      if (checkpoint.root.equals(this.#range.root())) {
        this.#good++
        this.#anchored = checkpoint.size
        if (checkpoint.outside) this.#outside = checkpoint.size
        continue
      }
      const where = checkpoint.outside ? 'kept outside' : 'in the table'
      const message = `the first ${checkpoint.size} seals have another root than a checkpoint ${where} says`
      this.#findings.add('tampering', 'log-forked', message, { leaf: checkpoint.size - 1 })
    }
  }
}
