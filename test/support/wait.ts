/** Waits for an event with a deadline; the error names the event that did not come. */
import { setTimeout as sleep } from 'node:timers/promises'

const POLL_MS = 20

/**
 * Asks until there is an answer.
 * @param what - The event, as the error's message names it.
 */
export async function until<T>(
  what: string,
  ask: () => T | undefined | Promise<T | undefined>,
  { timeoutMs = 60_000, pollMs = POLL_MS } = {},
): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs / 1000} s: ${what}`)
    await sleep(pollMs)
  }
}
