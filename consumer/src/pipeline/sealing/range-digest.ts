/** The hashes of a range of offsets: SHA-256 over its rows of each table, back to back in the order of their offsets. */
import { createHash, type Hash } from 'node:crypto'
import type { SealedRows } from '@agent-audit/seals'
import type { EncodedRows } from '../block.ts'

/** Rows of one table; none: undefined. */
export interface RangeRows {
  readonly events: EncodedRows | undefined
  readonly skipped: EncodedRows | undefined
}

/** Hashes rows as they come, and keeps none. */
export class RangeDigest {
  readonly first: number
  /** Offset behind the last one whose row is in it. */
  next: number
  #events = new TableDigest()
  #skipped = new TableDigest()

  constructor(first: number) {
    this.first = first
    this.next = first
  }

  /** The rows of the offsets from `next` on, one each. */
  add(next: number, { events, skipped }: RangeRows): void {
    this.#events.add(events)
    this.#skipped.add(skipped)
    this.next = next
  }

  /** Forgets all rows. */
  clear(): void {
    this.next = this.first
    this.#events = new TableDigest()
    this.#skipped = new TableDigest()
  }

  /** Call it once: no row can be added any more. */
  close(): { readonly events: SealedRows; readonly skipped: SealedRows } {
    return { events: this.#events.close(), skipped: this.#skipped.close() }
  }
}

class TableDigest {
  readonly #hash: Hash = createHash('sha256')
  #count = 0

  add(rows: EncodedRows | undefined): void {
    if (rows === undefined) return
    for (const piece of rows.data) this.#hash.update(piece)
    this.#count += rows.count
  }

  close(): SealedRows {
    return { count: this.#count, digest: this.#hash.digest() }
  }
}
