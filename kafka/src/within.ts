/** Bounded waits: on a lost connection kafkajs may never settle a call. */

/** What {@link within} resolves to in place of the result. */
export const TIME_IS_UP: unique symbol = Symbol('time is up')

export interface Bounds {
  /** Longest wait, milliseconds. */
  readonly ms: number
  /** Ends the wait when it is aborted. */
  readonly stop?: AbortSignal
  /** Whether the timer keeps the event loop alive. */
  readonly keepAlive: boolean
}

/** Waits for a result, no longer than the bounds allow. */
export async function within<T>(work: Promise<T>, { ms, stop, keepAlive }: Bounds): Promise<T | typeof TIME_IS_UP> {
  const over = Promise.withResolvers<typeof TIME_IS_UP>()
  const end = (): void => over.resolve(TIME_IS_UP)
  const timer = setTimeout(end, ms)
  if (!keepAlive) timer.unref()
  stop?.addEventListener('abort', end, { once: true })
  try {
    return await Promise.race([work, over.promise])
  } finally {
    clearTimeout(timer)
    stop?.removeEventListener('abort', end)
  }
}
