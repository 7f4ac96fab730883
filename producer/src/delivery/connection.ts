/** Keeps one connected client at a time, and reconnects until it is closed. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Sender } from '@agent-audit/kafka'

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5000

export interface ConnectionOptions {
  /** Makes a client that is not connected yet. */
  readonly create: () => Sender
  /** The topics to send to, asked for at each connect. */
  readonly topics: () => readonly string[]
  /** A client is connected; these are the partition counts of the topics. */
  readonly onConnected: (partitions: ReadonlyMap<string, number>) => void
  /** A client failed, and another one will be tried. */
  readonly onFailure: (error: unknown) => void
}

/** The pause before the next try: doubled each time, capped, and randomized so that a fleet does not reconnect in step. */
export function backoffMs(failures: number): number {
  const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 16))
  return pause * (0.5 + Math.random() / 2)
}

export class Connection {
  readonly #options: ConnectionOptions
  readonly #closing: AbortController = new AbortController()
  #sender: Promise<Sender> | undefined
  #connected = false

  constructor(options: ConnectionOptions) {
    this.#options = options
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
      const sender = this.#options.create()
      let partitions: ReadonlyMap<string, number>
      try {
        partitions = await sender.connect(this.#options.topics())
        this.#closing.signal.throwIfAborted()
      } catch (error) {
        await sender.close()
        this.#closing.signal.throwIfAborted()
        this.#options.onFailure(error)
        await this.pause(failures)
        continue
      }
      this.#connected = true
      this.#options.onConnected(partitions)
      return sender
    }
  }

  /**
   * Discards a client after a rejected send. Closing it rejects the sends of other partitions on the same client; they
   * discard it again, which does nothing.
   */
  discard(sender: Sender, current: Promise<Sender>, error: unknown): void {
    if (this.#sender !== current) return
    this.#sender = undefined
    this.#connected = false
    void sender.close()
    this.#options.onFailure(error)
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
