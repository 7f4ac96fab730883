/** Ends a request: when the server lets the caller wait too long, or when the caller's signal says so. */
import type { Readable } from 'node:stream'

export class Watch {
  /** For the request. */
  readonly signal: AbortSignal
  readonly #timeoutMs: number
  readonly #callers: AbortSignal | undefined
  readonly #late = new AbortController()

  constructor(timeoutMs: number, callers?: AbortSignal) {
    this.#timeoutMs = timeoutMs
    this.#callers = callers
    this.signal = callers === undefined ? this.#late.signal : AbortSignal.any([this.#late.signal, callers])
  }

  /** The time-out, if it has ended the request. */
  get timedOut(): { readonly ms: number } | undefined {
    return this.#late.signal.aborted ? { ms: this.#timeoutMs } : undefined
  }

  /** Throws the reason of the caller's signal, once that has ended the request. */
  throwIfAborted(): void {
    this.#callers?.throwIfAborted()
  }

  /** Waits for the server, no longer than the time-out. */
  async wait<T>(work: Promise<T>): Promise<T> {
    const timer = setTimeout(() => this.#late.abort(), this.#timeoutMs)
    try {
      return await work
    } finally {
      clearTimeout(timer)
    }
  }

  /**
   * The chunks of a body. Leaving before its end closes the connection, which ends the query on the server.
   *
   * After an error amid the rows the server writes the error into the body and closes the connection without ending the body.
   * Node.js then destroys the stream, with that error in its buffer: its iterators and pipes drop the buffer, `read` gives it.
   */
  async *chunks(body: Readable): AsyncGenerator<Buffer, void, undefined> {
    let failure: Error | undefined
    let wake: (() => void) | undefined
    body.on('error', (error) => (failure = error))
    for (const event of ['readable', 'end', 'close']) body.on(event, () => wake?.())
    const stop = (): void => void body.destroy()
    this.signal.addEventListener('abort', stop)
    try {
      for (;;) {
        this.signal.throwIfAborted()
        const chunk = body.read() as Buffer | null
        if (chunk !== null) yield chunk
        else if (body.readableEnded) return
        else if (body.closed) throw failure ?? new Error('the connection was closed')
        else await this.wait(new Promise<void>((resolve) => (wake = resolve)))
      }
    } finally {
      this.signal.removeEventListener('abort', stop)
      // Without effect after the end.
      body.destroy()
    }
  }
}
