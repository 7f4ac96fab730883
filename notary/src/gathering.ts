/** Leaves between the reader and the insert: gathered for a moment, and bounded. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { NewLeaf } from './seal-tables.ts'

/** Of one insert. */
const MAX_LEAVES = 4096
const MAX_BYTES = 8 * 2 ** 20

export class Gathering {
  #leaves: NewLeaf[] = []
  #bytes = 0
  #changed = Promise.withResolvers<void>()
  /** Offset behind what was read. */
  next = 0
  /** Whether nothing more comes. */
  closed = false

  get isEmpty(): boolean {
    return this.#leaves.length === 0
  }

  get #isFull(): boolean {
    return this.#leaves.length >= MAX_LEAVES || this.#bytes >= MAX_BYTES
  }

  add(leaf: NewLeaf): void {
    this.#leaves.push(leaf)
    this.#bytes += leaf.note.length
  }

  /** Everything below this offset was read. */
  reached(next: number): void {
    this.next = next
    this.#notify()
  }

  close(): void {
    this.closed = true
    this.#notify()
  }

  /** Resolves once the reader may go on. */
  async room(stop: AbortSignal): Promise<void> {
    while (this.#isFull && !stop.aborted && !this.closed) await this.#next(stop)
  }

  /** Resolves when leaves have been gathered for a moment, or the reader comes to `end`, or nothing more comes. */
  async ready(stop: AbortSignal, { gatherMs, end }: { gatherMs: number; end: number }): Promise<void> {
    // Only the step to the end counts: behind it the caller knows.
    const isWaiting = this.next < end
    while (this.isEmpty && !this.closed && !stop.aborted) {
      await this.#next(stop)
      if (isWaiting && this.next >= end) break
    }
    if (this.isEmpty || this.#isFull || this.closed || stop.aborted) return
    await sleep(gatherMs, undefined, { signal: stop }).catch(() => undefined)
  }

  take(): NewLeaf[] {
    const leaves = this.#leaves
    this.#leaves = []
    this.#bytes = 0
    this.#notify()
    return leaves
  }

  async #next(stop: AbortSignal): Promise<void> {
    const wake = (): void => this.#changed.resolve()
    stop.addEventListener('abort', wake, { once: true })
    await this.#changed.promise
    stop.removeEventListener('abort', wake)
  }

  #notify(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }
}
