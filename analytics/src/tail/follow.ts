/** Looks again and again at what is stored, across losses of the connection. */
import { setTimeout as sleep } from 'node:timers/promises'
import { TrailError } from '@agent-audit/schemas'

/** What a tail says of its connection. */
export type Notice =
  /** ClickHouse does not answer: the tail tries again at each look. Said once. */
  { readonly kind: 'lost'; readonly error: TrailError } | { readonly kind: 'back' }

export interface FollowOptions {
  /** How often to look, milliseconds. @defaultValue 1000 */
  readonly pollMs?: number | undefined
  /** Ends the iteration, without an error. */
  readonly signal?: AbortSignal | undefined
}

const POLL_MS = 1000

/**
 * The items of one look after the other, until the signal ends it.
 * @param begin - Once, before the first look. Any error of it is thrown.
 * @param look - Gives what is new. After an error that may pass it is called again: it remembers what it has given.
 * @throws TrailError that no retry changes.
 */
export async function* follow<Item>(
  begin: () => Promise<void>,
  look: () => AsyncGenerator<Item, void, undefined>,
  { signal, pollMs = POLL_MS }: FollowOptions,
): AsyncGenerator<Item | Notice, void, undefined> {
  let isLost = false
  try {
    await untilAborted(begin(), signal)
    for (;;) {
      const items = look()
      try {
        for (;;) {
          const next = await untilAborted(items.next(), signal)
          if (isLost) yield { kind: 'back' }
          isLost = false
          if (next.done === true) break
          yield next.value
        }
      } catch (error) {
        if (!(error instanceof TrailError) || !error.retryable) throw error
        if (!isLost) yield { kind: 'lost', error }
        isLost = true
      } finally {
        void items.return().catch(() => {})
      }
      await sleep(pollMs, undefined, { signal })
    }
  } catch (error) {
    if (signal?.aborted !== true) throw error
  }
}

/** A server that is held answers nothing: the caller's end does not wait for it. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(signal.reason)
  signal.addEventListener('abort', abort)
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
