/**
 * The memory budget that all partitions share to buffer records: blocks that are filled or sent, and records fetched ahead.
 *
 * No partition has a fixed share. A block is full when it holds as many bytes as are free for all (a dynamic threshold, as in
 * switches with shared buffers: Choudhury and Hahne, 1998): one busy partition may use half of the memory, n blocks at once
 * level off at 1/(n+1) of it each, and some is always left for a partition that wakes up. While memory is tight the consumer
 * fetches nothing and unpacks one slice at a time, so a slow or dead store stops the flow instead of filling the process.
 */

/** Size of the pieces that blocks are made of, bytes: few enough to write out in one go, small beside any budget. */
export const PIECE_BYTES: number = 256 * 1024

export class BufferMemory {
  readonly maxBytes: number
  #usedBytes = 0
  #tight = false
  readonly #spare: Buffer[] = []
  readonly #watchers = new Set<() => void>()
  /** Takers that wait for a turn, longest first. */
  readonly #waiting = new Set<() => void>()
  /** Whether a taker has its turn, and how many hold the result of theirs. */
  #taking = false
  #holders = 0

  /** @param maxBytes - Budget of all partitions together. Single pieces and fetches may exceed it. */
  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  get freeBytes(): number {
    return this.maxBytes - this.#usedBytes
  }

  /** Whether a partition may hold two batches: half of the memory is free. */
  get roomy(): boolean {
    return this.freeBytes >= this.maxBytes / 2
  }

  /** Whether fetching should pause: from an eighth free on, until a quarter is free again. */
  get tight(): boolean {
    return this.#tight
  }

  /** Calls back whenever {@link tight} changes, until the returned function is called. */
  watch(onChange: () => void): () => void {
    this.#watchers.add(onChange)
    return () => this.#watchers.delete(onChange)
  }

  /** Takes a piece of at least this many bytes. It still has its old content. */
  takePiece(minBytes: number): Buffer {
    const piece = minBytes > PIECE_BYTES ? undefined : this.#spare.pop()
    const taken = piece ?? Buffer.allocUnsafeSlow(Math.max(minBytes, PIECE_BYTES))
    this.reserve(taken.length)
    return taken
  }

  givePiece(piece: Buffer): void {
    this.release(piece.length)
    // A larger piece held a single large record: leave it to the garbage collector.
    if (piece.length === PIECE_BYTES) this.#spare.push(piece)
  }

  /** Counts bytes that the caller holds. */
  reserve(bytes: number): void {
    this.#usedBytes += bytes
    this.#judge()
  }

  release(bytes: number): void {
    this.#usedBytes -= bytes
    this.#judge()
  }

  /**
   * Runs `take`, whose size is known only afterwards: one taker at a time, each counted before the next, and while memory is
   * tight only once no other result is held. One result may always be held: the waiting taker may be the one that must go on
   * for memory to become free.
   * @returns undefined if `stop` was aborted before its turn came.
   */
  async inTurn<T>(stop: AbortSignal, take: () => Promise<{ value: T; bytes: number }>): Promise<Held<T> | undefined> {
    if (!(await this.#turn(stop))) return undefined
    try {
      const { value, bytes } = await take()
      this.#holders++
      this.reserve(bytes)
      const release = (): void => {
        this.#holders--
        this.release(bytes)
        this.#nextTurn()
      }
      return { value, release }
    } finally {
      this.#taking = false
      this.#nextTurn()
    }
  }

  #turn(stop: AbortSignal): Promise<boolean> {
    if (stop.aborted) return Promise.resolve(false)
    return new Promise((resolve) => {
      const go = (): void => {
        stop.removeEventListener('abort', giveUp)
        resolve(true)
      }
      const giveUp = (): void => {
        this.#waiting.delete(go)
        resolve(false)
      }
      stop.addEventListener('abort', giveUp, { once: true })
      this.#waiting.add(go)
      this.#nextTurn()
    })
  }

  #nextTurn(): void {
    if (this.#taking || (this.#tight && this.#holders > 0)) return
    const [go] = this.#waiting
    if (go === undefined) return
    this.#waiting.delete(go)
    this.#taking = true
    go()
  }

  #judge(): void {
    const tight = this.freeBytes < (this.#tight ? this.maxBytes / 4 : this.maxBytes / 8)
    if (tight === this.#tight) return
    this.#tight = tight
    for (const onChange of this.#watchers) onChange()
    this.#nextTurn()
  }
}

/** The result of a turn. Its holder releases it, once. */
export interface Held<T> {
  readonly value: T
  release(): void
}
