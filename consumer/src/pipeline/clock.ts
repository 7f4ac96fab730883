/** The pipeline's only source of time, and its only way to wait: a simulation can pass hours in no time. */

export interface Clock {
  /** A monotonic clock, milliseconds. Only differences are meaningful. */
  now(): number
  /** Milliseconds since 1970. */
  wallMs(): number
  /** Resolves after `ms`, or as soon as the signal is aborted: the caller checks which. */
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

/** Result of {@link orTimeIsUp} when time is up. */
export const TIME_IS_UP: unique symbol = Symbol('time is up')
/** Without a reason each abort would make an error with its stack, tens of times a second. */
const SETTLED = Symbol('settled')

/** Waits for a result, no longer than `ms`; undefined: without a limit. */
export async function orTimeIsUp<T>(
  promise: Promise<T>,
  ms: number | undefined,
  clock: Clock,
): Promise<T | typeof TIME_IS_UP> {
  if (ms === undefined) return promise
  const settled = new AbortController()
  const timeout = clock.sleep(Math.max(0, ms), settled.signal).then((): typeof TIME_IS_UP => TIME_IS_UP)
  try {
    return await Promise.race([promise, timeout])
  } finally {
    settled.abort(SETTLED)
  }
}
