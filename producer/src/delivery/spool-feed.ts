/** Reads a spool in order as far as there is room in memory, and trims it as its chunks are acknowledged. */
import { IntegrityError } from '@agent-audit/schemas'
import { keepUndelivered } from '@agent-audit/spool'
import type { AdoptedSpool, Chunk, StoredChunk } from '@agent-audit/spool'
import type { SpoolGauges } from './protocol.ts'

/** One chunk of a spool. */
export interface SpoolEntry {
  readonly feed: SpoolFeed
  readonly id: number
}

/** The same for the spool of this run and for that of a dead run. */
export class SpoolFeed {
  readonly spool: AdoptedSpool
  /** Whether it is the spool of an earlier owner, not the one that this run appends to. */
  readonly adopted: boolean
  /** Where the records of this spool are kept that the broker will never take. */
  #undelivered: string | undefined
  /** Reads in a row that the disk refused. */
  failures = 0
  #readTo = 0
  #ackedTo = 0
  #trimmedTo = 0
  /** The run_seq after the records that were read. */
  #nextSeq: number | undefined
  /** Chunks that were read, from the oldest unacknowledged one on. */
  readonly #open: { id: number; acked: boolean }[] = []
  readonly #byId: Map<number, { acked: boolean }> = new Map<number, { acked: boolean }>()

  constructor(spool: AdoptedSpool, adopted: boolean) {
    this.spool = spool
    this.adopted = adopted
  }

  /** Whether every chunk read so far is acknowledged. */
  get idle(): boolean {
    return this.#open.length === 0
  }

  /** The run_seqs that are in the spool and were not read. */
  get unread(): { first: number | null; last: number | null } {
    const { first, last } = this.spool.runSeqs
    const next = this.#nextSeq ?? first
    return next <= last ? { first: next, last } : { first: null, last: null }
  }

  /** Whether a chunk just appended directly follows the chunks that were read: it need not be read back. */
  isNext(id: number): boolean {
    return id === this.#readTo + 1
  }

  /** Counts a chunk as read. */
  pass(id: number, { firstSeq, ends }: Chunk): void {
    const entry = { id, acked: false }
    this.#open.push(entry)
    this.#byId.set(id, entry)
    this.#readTo = id
    this.#nextSeq = firstSeq + ends.length
  }

  /** The next chunks that fit into `maxBytes`, at least one if there is one. @throws as `AdoptedSpool.read`. */
  read(maxBytes: number): StoredChunk[] {
    const chunks = this.spool.read(this.#readTo, maxBytes)
    for (const { id, chunk } of chunks) this.pass(id, chunk)
    this.failures = 0
    return chunks
  }

  /** Marks a chunk as acknowledged; {@link trim} deletes it once all chunks before it are marked too. */
  acknowledge(id: number): void {
    const entry = this.#byId.get(id)
    if (entry !== undefined) entry.acked = true
    const open = this.#open.findIndex(({ acked }) => !acked)
    for (const { id: done } of this.#open.splice(0, open === -1 ? this.#open.length : open)) {
      this.#byId.delete(done)
      this.#ackedTo = done
    }
  }

  /** Keeps records that the broker will never take. @returns the path of the file. @throws as `keepUndelivered`. */
  setAside(chunk: Chunk, indexes: readonly number[]): string {
    this.#undelivered = keepUndelivered({ spool: this.spool, chunk, indexes, present: this.#undelivered })
    return this.#undelivered
  }

  /** Deletes the acknowledged chunks from the oldest up to the first gap. @throws as `AdoptedSpool.trim`; then call it again. */
  trim(): void {
    if (this.#trimmedTo === this.#ackedTo) return
    this.spool.trim(this.#ackedTo)
    this.#trimmedTo = this.#ackedTo
  }

  /** What is not trimmed, and when the oldest chunk was appended, milliseconds since 1970. */
  stats(): { bytes: number; records: number; oldestMs: number | null } {
    try {
      return this.spool.stats()
    } catch {
      return { bytes: 0, records: 0, oldestMs: null } // Reads and trims report trouble with the disk.
    }
  }

  /** Sets the damaged file aside. @returns its path now. */
  giveUp(onProblem: (error: unknown) => void): string {
    try {
      return this.spool.setAside() ?? this.spool.file
    } catch (error) {
      onProblem(error)
      return this.spool.file
    }
  }

  /** Closes the spool, whose file is removed if all its chunks are acknowledged: on a full disk a trim alone fails. */
  close(): void {
    try {
      this.trim()
    } catch (error) {
      if (error instanceof IntegrityError) throw error
    }
    this.spool.close()
  }
}

/** What is on disk and not trimmed, over all of these spools. */
export function gaugesOf(feeds: readonly SpoolFeed[]): SpoolGauges {
  let [spoolBytes, spoolEvents] = [0, 0]
  let spoolOldestMs: number | null = null
  for (const { bytes, records, oldestMs } of feeds.map((feed) => feed.stats())) {
    spoolBytes += bytes
    spoolEvents += records
    if (oldestMs !== null) spoolOldestMs = Math.min(spoolOldestMs ?? oldestMs, oldestMs)
  }
  return { spoolBytes, spoolEvents, spoolOldestMs }
}
