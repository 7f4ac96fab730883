/**
 * Runs the work of delivery piece by piece: a message, a turn, a timer. An error that no part of delivery expects ends all of
 * it, since its state is unknown then, and never reaches the agent's process. The port starts another delivery on the same
 * spools.
 */
export class Work {
  readonly #onFailure: (error: unknown) => void
  #failed = false
  #closed = false

  /** @param onFailure - Called once, with the error. */
  constructor(onFailure: (error: unknown) => void) {
    this.#onFailure = onFailure
  }

  /** Runs a piece; nothing once one has failed. */
  run(piece: () => void): void {
    if (this.#failed) return
    try {
      piece()
    } catch (error) {
      this.fail(error)
    }
  }

  /** Runs a piece after a pause, which does not keep the process alive; nothing once work is closed. */
  later(piece: () => void, ms: number): NodeJS.Timeout {
    return setTimeout(() => {
      if (!this.#closed) this.run(piece)
    }, ms).unref()
  }

  /** An error that no retry is for, of a piece that has a promise. */
  readonly fail = (error: unknown): void => {
    if (this.#failed) return
    this.#failed = true
    this.#closed = true
    this.#onFailure(error)
  }

  /** No pause leads to work any more. */
  close(): void {
    this.#closed = true
  }
}
