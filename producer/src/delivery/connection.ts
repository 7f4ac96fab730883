/** Keeps one connected client at a time, for as long as it takes. */
import type { Sender } from '@agent-audit/kafka'
import { setTimeout as sleep } from 'node:timers/promises'

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5000

export interface ConnectionHooks {
  /** The topic has as many partitions now. */
  onConnected(partitions: number): void
  /** A client failed, and another one will be tried. */
  onFailure(error: unknown): void
}

/** The pause before the next try: doubled each time, capped, and shaken so that a fleet does not come back in step. */
export function backoffMs(failures: number): number {
  const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 16))
  return pause * (0.5 + Math.random() / 2)
}

export class Connection {
  readonly #create: () => Sender
  readonly #hooks: ConnectionHooks
  readonly #closing: AbortController = new AbortController()
  #sender: Promise<Sender> | undefined
  #connected = false

  constructor(create: () => Sender, hooks: ConnectionHooks) {
    this.#create = create
    this.#hooks = hooks
  }

  get connected(): boolean {
    return this.#connected
  }

  get closed(): boolean {
    return this.#closing.signal.aborted
  }

  /** The connected client, now or as soon as there is one. Rejects only when the connection is closed. */
  sender(): Promise<Sender> {
    this.#sender ??= this.#dial()
    return this.#sender
  }

  async #dial(): Promise<Sender> {
    for (let failures = 0; ; failures++) {
      this.#closing.signal.throwIfAborted()
      const sender = this.#create()
      try {
        const { partitions } = await sender.connect()
        this.#closing.signal.throwIfAborted()
        this.#connected = true
        this.#hooks.onConnected(partitions)
        return sender
      } catch (error) {
        await sender.close()
        this.#closing.signal.throwIfAborted()
        this.#hooks.onFailure(error)
        await this.pause(failures)
      }
    }
  }

  /**
   * Takes a client out of use after a rejected send. Sends of other partitions on the same client are rejected by its
   * closing, and discard it once more, which does nothing.
   */
  discard(sender: Sender, current: Promise<Sender>, error: unknown): void {
    if (this.#sender !== current) return
    this.#sender = undefined
    this.#connected = false
    void sender.close()
    this.#hooks.onFailure(error)
  }

  /** Waits before a retry. @throws AbortError when the connection is closed meanwhile. */
  pause(failures: number): Promise<void> {
    return sleep(backoffMs(failures), undefined, { signal: this.#closing.signal, ref: false })
  }

  async close(): Promise<void> {
    this.#closing.abort()
    const sender = await this.#sender?.catch(() => undefined)
    await sender?.close()
    this.#connected = false
  }
}
