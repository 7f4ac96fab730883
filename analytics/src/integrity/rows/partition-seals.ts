/** Holds the rows of one partition against its consumer seals, in the order of offsets. */
import { createHash, type Hash } from 'node:crypto'
import { EVENTS_TABLE } from '@agent-audit/schemas'
import type { Range } from '../../verify/ranges.ts'
import { placeOfPartition } from '../seal-log/chains.ts'
import type { Findings } from '../findings.ts'
import type { SealedTable } from './row-columns.ts'
import type { BookedConsumerSeal } from '../seal-log/seal-book.ts'

class TableHash {
  readonly hash: Hash = createHash('sha256')
  count = 0
}

interface OpenSeal {
  readonly events: TableHash
  readonly skipped: TableHash
}

/** Rows that no seal covers. */
export interface UnsealedRows extends Range {
  readonly count: number
  readonly oldestMs: number
  readonly newestMs: number
}

export class PartitionSeals {
  readonly seals: readonly BookedConsumerSeal[]
  /** Seals whose hash cannot be made again: rows of them have expired. */
  expired = 0
  /** The first and last row that no seal covers. */
  unsealed: UnsealedRows | undefined
  readonly #open = new Map<number, OpenSeal>()
  #closed = 0
  /** The seal of the row before, of each table. */
  readonly #at: Record<SealedTable, number> = { audit_events: 0, audit_skipped: 0 }

  /** @param seals - A chain: by rising offsets, without overlaps. */
  constructor(seals: readonly BookedConsumerSeal[]) {
    this.seals = seals
  }

  get sealedTo(): number {
    return this.seals.at(-1)?.last ?? -1
  }

  /** The seal that covers an offset; undefined: none. Offsets of a table come in order. */
  indexAt(table: SealedTable, offset: number): number | undefined {
    let index = this.#at[table]
    while ((this.seals[index]?.last ?? Infinity) < offset) index++
    this.#at[table] = index
    const seal = this.seals[index]
    return seal !== undefined && offset >= seal.first ? index : undefined
  }

  /** Rows of a table that one seal covers, back to back. */
  add(table: SealedTable, index: number, bytes: Buffer, count: number): void {
    let open = this.#open.get(index)
    if (open === undefined) this.#open.set(index, (open = { events: new TableHash(), skipped: new TableHash() }))
    const { hash } = table === EVENTS_TABLE ? open.events : open.skipped
    hash.update(bytes)
    if (table === EVENTS_TABLE) open.events.count += count
    else open.skipped.count += count
  }

  noteUnsealed(offset: number, logTimeMs: number): void {
    const { first = offset, last = offset, count = 0, oldestMs = logTimeMs, newestMs = logTimeMs } = this.unsealed ?? {}
    this.unsealed = {
      first: Math.min(first, offset),
      last: Math.max(last, offset),
      count: count + 1,
      oldestMs: Math.min(oldestMs, logTimeMs),
      newestMs: Math.max(newestMs, logTimeMs),
    }
  }

  /** Both tables are read up to `end`, not included. @param expired - Offsets that expiry notes name. */
  closeTo(end: number, expired: readonly Range[], findings: Findings): void {
    for (; (this.seals[this.#closed]?.last ?? Infinity) < end; this.#closed++) {
      const seal = this.seals[this.#closed]
      const open = this.#open.get(this.#closed)
      this.#open.delete(this.#closed)
      if (seal !== undefined) this.#judge(seal, open, expired, findings)
    }
  }

  #judge(seal: BookedConsumerSeal, open: OpenSeal | undefined, expired: readonly Range[], findings: Findings): void {
    const faults = (['events', 'skipped'] as const).flatMap((table) => {
      const rows = open?.[table] ?? new TableHash()
      const what = table === 'events' ? 'event' : 'skipped row'
      const { count, digest } = seal[table]
      if (rows.count < count) return [`${count - rows.count} ${what}(s) removed`]
      if (rows.count > count) return [`${rows.count - count} ${what}(s) added`]
      return rows.hash.digest().equals(digest) ? [] : [`${what}s changed`]
    })
    if (faults.length === 0) return
    const noted = expired.some(({ first, last }) => first <= seal.last && last >= seal.first)
    // With rows gone as the notes say, the digest cannot be made again.
    if (noted && faults.every((fault) => fault.includes('removed'))) {
      this.expired++
      return
    }
    findings.add(
      'tampering',
      'rows-changed',
      `not as the consumer has stored it: ${faults.join(', ')}`,
      placeOfPartition(seal),
    )
  }
}
