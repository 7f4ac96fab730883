/**
 * The port between the agent's thread and delivery. Delivery that fails is started again on the same spools, a bounded number
 * of times: docs/adr/0023. Until the next one is there, messages wait here.
 */
import { startThread } from './delivery-thread.ts'
import type { DeliveryThread } from './delivery-thread.ts'
import type { DeliverySettings, Report, ThreadSettings, ToDelivery } from './protocol.ts'

export interface DeliveryHooks {
  onReport(report: Report): void
  /**
   * Delivery has failed, and another one starts soon. That one knows only the chunks in the spools: {@link Report.resumed}.
   * @param count - For people: which restart it is, of how many at most.
   */
  onRestart(error: unknown, count: string): void
  /** Delivery has ended without being closed, and is not started again. */
  onLost(error: unknown): void
}

/** As one thread, but for what is posted after it has failed: that waits for the next one. */
export type DeliveryPort = DeliveryThread

/**
 * A cause that passes (memory short, a client's own fault under load) is over in seconds. A cause that stays, such as a chunk
 * on disk that always fails, shows at once, and to meet it for ever would only hide it: after so many restarts within the
 * window the trail ends.
 */
const MOST_RESTARTS = 3
const WINDOW_MS = 60_000
/**
 * Pauses of 0.1, 0.4 and 1.6 s. The first is short, since a guard that may proceed waits 1 s at most for its record. All
 * three together are short enough that 16 MiB of `maxBufferBytes` hold what a busy agent records meanwhile.
 */
const FIRST_PAUSE_MS = 100
const PAUSE_GROWTH = 4

export function startDelivery(settings: DeliverySettings, hooks: DeliveryHooks): DeliveryPort {
  return new RestartingDelivery(settings, hooks)
}

class RestartingDelivery implements DeliveryPort {
  readonly #settings: DeliverySettings
  readonly #hooks: DeliveryHooks
  /** Undefined between two, and after the last. */
  #thread: DeliveryThread | undefined
  /** Messages for the next thread; the recorder bounds their bytes. */
  #waiting: ToDelivery[] = []
  /** When delivery was started again, milliseconds of the process. */
  #restarts: number[] = []
  #restart: NodeJS.Timeout | undefined
  /** Where the chain of seals stood at the last report. */
  #chain: ThreadSettings['chain'] = null
  #alive = false
  #closing = false

  constructor(settings: DeliverySettings, hooks: DeliveryHooks) {
    this.#settings = settings
    this.#hooks = hooks
    this.#start(false)
  }

  #start(restarted: boolean): void {
    const onReport = (report: Report): void => {
      this.#chain = report.chain ?? this.#chain
      this.#hooks.onReport(report)
    }
    const thread = startThread(
      { ...this.#settings, restarted, chain: this.#chain },
      { onReport, onFailed: (error) => this.#onFailed(error) },
    )
    this.#thread = thread
    thread.hold(this.#alive)
    for (const message of this.#waiting.splice(0)) thread.post(message)
  }

  #onFailed(error: unknown): void {
    this.#thread = undefined
    const now = performance.now()
    this.#restarts = this.#restarts.filter((at) => now - at < WINDOW_MS)
    // A trail that was closed has no event left that a new thread could save.
    if (this.#closing || this.#restarts.length >= MOST_RESTARTS) return this.#hooks.onLost(error)
    this.#restart = setTimeout(() => this.#startAgain(), FIRST_PAUSE_MS * PAUSE_GROWTH ** this.#restarts.length)
    this.#restarts.push(now)
    this.hold(this.#alive)
    this.#hooks.onRestart(error, `${this.#restarts.length} of at most ${MOST_RESTARTS} within a minute`)
  }

  /** Ends the pause, where there is one. */
  #startAgain(): void {
    if (this.#restart === undefined) return
    clearTimeout(this.#restart)
    this.#restart = undefined
    this.#start(true)
  }

  post(message: ToDelivery): void {
    this.#closing ||= message.type === 'close'
    if (this.#thread !== undefined) return this.#thread.post(message)
    this.#waiting.push(message)
    if (this.#closing) this.#startAgain()
  }

  hold(alive: boolean): void {
    this.#alive = alive
    this.#thread?.hold(alive)
    if (alive) this.#restart?.ref()
    else this.#restart?.unref()
  }

  waitSettled(timeoutMs: number): boolean {
    this.#startAgain()
    return this.#thread?.waitSettled(timeoutMs) ?? false
  }

  release(): void {
    this.#thread?.release()
  }
}
