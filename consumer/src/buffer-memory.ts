/**
 * The memory that all partitions together buffer records in: blocks being filled or sent, and what was fetched ahead.
 *
 * Nobody is given a share beforehand. A block is full when it holds as much as is left for all (a dynamic threshold, as in
 * switches with shared buffers: Choudhury and Hahne, 1998): one busy partition may use half of the memory, n blocks at
 * once level off at 1/(n+1) of it each, and there is always some left for a partition that wakes up. Fetching pauses
 * while memory is tight, so a store that is slow or dead stops the flow instead of filling the process.
 */

/** Size of the pieces that blocks are made of, bytes: few enough to write out in one go, small beside any budget. */
export const PIECE_BYTES: number = 256 * 1024

export class BufferMemory {
  readonly maxBytes: number
  #usedBytes = 0
  #tight = false
  readonly #spare: Buffer[] = []
  readonly #watchers = new Set<() => void>()

  /** @param maxBytes - What the partitions may use together. Passed by single pieces and fetches only. */
  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  get freeBytes(): number {
    return this.maxBytes - this.#usedBytes
  }

  /** Whether nothing more should be fetched: from a quarter free on, until half of it is free again. */
  get tight(): boolean {
    return this.#tight
  }

  /** Calls back whenever {@link tight} changes, until the returned function is called. */
  watch(onChange: () => void): () => void {
    this.#watchers.add(onChange)
    return () => this.#watchers.delete(onChange)
  }

  /** Takes a piece of at least this many bytes. Its content is what was left in it. */
  takePiece(minBytes: number): Buffer {
    const piece = minBytes > PIECE_BYTES ? undefined : this.#spare.pop()
    const taken = piece ?? Buffer.allocUnsafeSlow(Math.max(minBytes, PIECE_BYTES))
    this.reserve(taken.length)
    return taken
  }

  givePiece(piece: Buffer): void {
    this.release(piece.length)
    // Larger ones held a single large record: they are left to the garbage collector.
    if (piece.length === PIECE_BYTES) this.#spare.push(piece)
  }

  /** Counts bytes that are held elsewhere. */
  reserve(bytes: number): void {
    this.#usedBytes += bytes
    this.#judge()
  }

  release(bytes: number): void {
    this.#usedBytes -= bytes
    this.#judge()
  }

  #judge(): void {
    const tight = this.freeBytes < (this.#tight ? this.maxBytes / 2 : this.maxBytes / 4)
    if (tight === this.#tight) return
    this.#tight = tight
    for (const onChange of this.#watchers) onChange()
  }
}
