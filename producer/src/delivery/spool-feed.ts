/** Reads a spool in order as far as there is room in memory, and trims it as its chunks are acknowledged. */
import { IntegrityError } from '@agent-audit/schemas'
import type { AdoptedSpool, Chunk, StoredChunk } from '@agent-audit/spool'

/** Of this run or of a dead one: to the feed they are the same. */
export class SpoolFeed {
  readonly spool: AdoptedSpool
  #readTo = 0
  #ackedTo = 0
  #trimmedTo = 0
  /** The run_seq after those read. */
  #nextSeq: number | undefined
  /** Chunks read, from the oldest that is not acknowledged on. */
  readonly #open: { id: number; acked: boolean }[] = []
  readonly #byId: Map<number, { acked: boolean }> = new Map<number, { acked: boolean }>()

  constructor(spool: AdoptedSpool) {
    this.spool = spool
  }

  /** Whether everything read so far is acknowledged. */
  get idle(): boolean {
    return this.#open.length === 0
  }

  /** The run_seqs that are in the spool and were not read. */
  get unread(): { first: number | null; last: number | null } {
    const { first, last } = this.spool.runSeqs
    const next = this.#nextSeq ?? first
    return next <= last ? { first: next, last } : { first: null, last: null }
  }

  /** Whether a chunk just appended comes right after what was read: it need not be read back. */
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

  /** The next chunks that fit into `maxBytes`, at least one if there is one. @throws as {@link AdoptedSpool.read}. */
  read(maxBytes: number): StoredChunk[] {
    const chunks = this.spool.read(this.#readTo, maxBytes)
    for (const { id, chunk } of chunks) this.pass(id, chunk)
    return chunks
  }

  /** Marks a chunk; {@link trim} then forgets it when all before it are marked too. */
  acknowledge(id: number): void {
    const entry = this.#byId.get(id)
    if (entry !== undefined) entry.acked = true
    const open = this.#open.findIndex(({ acked }) => !acked)
    for (const { id: done } of this.#open.splice(0, open === -1 ? this.#open.length : open)) {
      this.#byId.delete(done)
      this.#ackedTo = done
    }
  }

  /** Forgets what is acknowledged without a gap from the oldest on. @throws as {@link AdoptedSpool.trim}; then call it again. */
  trim(): void {
    if (this.#trimmedTo === this.#ackedTo) return
    this.spool.trim(this.#ackedTo)
    this.#trimmedTo = this.#ackedTo
  }

  /** Lets go of the spool, whose file is removed if all in it is acknowledged: on a full disk trimming alone fails. */
  close(): void {
    try {
      this.trim()
    } catch (error) {
      if (error instanceof IntegrityError) throw error
    }
    this.spool.close()
  }
}
