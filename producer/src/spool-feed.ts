/** Reads a spool in order as far as there is room in memory, and trims it as its chunks are acknowledged. */
import type { AdoptedSpool, StoredChunk } from '@agent-audit/spool'

/** Of this run or of a dead one: to the feed they are the same. */
export class SpoolFeed {
  readonly spool: AdoptedSpool
  #readTo = 0
  /** Chunks read and not trimmed, in order, and whether each one is acknowledged. */
  readonly #open: { id: number; acked: boolean }[] = []
  readonly #byId: Map<number, { acked: boolean }> = new Map<number, { acked: boolean }>()

  constructor(spool: AdoptedSpool) {
    this.spool = spool
  }

  /** Whether everything read so far is acknowledged and trimmed. */
  get idle(): boolean {
    return this.#open.length === 0
  }

  /** Whether a chunk just appended comes right after what was read: it need not be read back. */
  isNext(id: number): boolean {
    return id === this.#readTo + 1
  }

  /** Counts a chunk as read. */
  pass(id: number): void {
    const entry = { id, acked: false }
    this.#open.push(entry)
    this.#byId.set(id, entry)
    this.#readTo = id
  }

  /** The next chunks that fit into `maxBytes`, at least one if there is one. @throws as {@link AdoptedSpool.read}. */
  read(maxBytes: number): StoredChunk[] {
    const chunks = this.spool.read(this.#readTo, maxBytes)
    for (const { id } of chunks) this.pass(id)
    return chunks
  }

  /** Marks a chunk; {@link trim} then forgets it when all before it are marked too. */
  acknowledge(id: number): void {
    const entry = this.#byId.get(id)
    if (entry !== undefined) entry.acked = true
  }

  /** Forgets what is acknowledged without a gap from the oldest on. @returns whether there was anything. */
  trim(): boolean {
    const open = this.#open.findIndex(({ acked }) => !acked)
    const count = open === -1 ? this.#open.length : open
    const last = this.#open[count - 1]
    if (last === undefined) return false
    this.spool.trim(last.id)
    for (const { id } of this.#open.splice(0, count)) this.#byId.delete(id)
    return true
  }
}
