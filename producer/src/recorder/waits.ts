/** The callers that wait for delivery. While any caller waits, the process is kept alive; otherwise it may end. */

interface DrainWait {
  /** It waits for every event below this run_seq. */
  readonly toSeq: number
  readonly resolve: () => void
}

export class Waits {
  readonly #hold: (alive: boolean) => void
  #count = 0
  #room: PromiseWithResolvers<void> | undefined
  #closed: PromiseWithResolvers<void> | undefined
  #over = false
  readonly #drains: Set<DrainWait> = new Set<DrainWait>()

  constructor(hold: (alive: boolean) => void) {
    this.#hold = hold
  }

  begin(): void {
    if (this.#count++ === 0) this.#hold(true)
  }

  end(): void {
    if (--this.#count === 0) this.#hold(false)
  }

  forRoom(): Promise<void> {
    this.#room ??= Promise.withResolvers<void>()
    return this.#during(this.#room.promise)
  }

  room(): void {
    this.#room?.resolve()
    this.#room = undefined
  }

  /** Resolves when no event below `toSeq` is outstanding, or after `timeoutMs`; undefined waits without limit. */
  async forDrain(toSeq: number, timeoutMs: number | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const wait = { toSeq, resolve }
    this.#drains.add(wait)
    await this.#during(orAfter(promise, timeoutMs))
    this.#drains.delete(wait)
  }

  /** @param oldestSeq - The oldest outstanding run_seq. */
  drainedTo(oldestSeq: number): void {
    for (const wait of this.#drains) if (oldestSeq >= wait.toSeq) wait.resolve()
  }

  /** @returns false on timeout. */
  async forClose(timeoutMs: number): Promise<boolean> {
    this.#closed ??= Promise.withResolvers<void>()
    await this.#during(orAfter(this.#closed.promise, timeoutMs))
    return this.#over
  }

  closed(): void {
    this.#over = true
    this.#closed ??= Promise.withResolvers<void>()
    this.#closed.resolve()
  }

  async #during(wait: Promise<void>): Promise<void> {
    this.begin()
    try {
      await wait
    } finally {
      this.end()
    }
  }
}

async function orAfter(wait: Promise<void>, timeoutMs: number | undefined): Promise<void> {
  if (timeoutMs === undefined) return wait
  const late = Promise.withResolvers<void>()
  const timer = setTimeout(late.resolve, timeoutMs)
  await Promise.race([wait, late.promise])
  clearTimeout(timer)
}
