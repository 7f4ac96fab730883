/** Time, as the pipeline sees it: the one way it waits, so that a simulation can turn hours into nothing. */

export interface Clock {
  /** A monotonic clock, milliseconds; only differences mean anything. */
  now(): number
  /** Milliseconds since 1970. */
  wallMs(): number
  /** Resolves after `ms`, or as soon as the signal is aborted: the caller looks which. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wallMs: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      if (signal?.aborted === true) wake()
      else signal?.addEventListener('abort', wake, { once: true })
    }),
}
