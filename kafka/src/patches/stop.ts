/**
 * A member that stops while kafkajs replaces its fetchers, as it does when brokers come or go: kafkajs stops the old fetchers,
 * then makes new ones, which the stop does not know. A stopping consumer fetches nothing, so every fetch of the new ones
 * resolves at once, for ever, and the event loop gets no turn. No timer fires and no signal is handled: the process spins at
 * full load until it is killed.
 */
import { createRequire } from 'node:module'

/** kafkajs's loop over fetching and delivering. Its fetchers, one a broker, call `fetch`. */
interface Runner {
  readonly running: boolean
  readonly fetchManager: { stop(): Promise<void> }
  fetch(nodeId: string): Promise<unknown[]>
}

/** Stops the fetchers of a stopped consumer, for every consumer of this process. */
export function stopLateFetchers(): void {
  const load = createRequire(import.meta.url)
  const { prototype } = load('kafkajs/src/consumer/runner') as { prototype: Runner }
  // oxlint-disable-next-line typescript/unbound-method -- called on its runner below
  const fetch = prototype.fetch
  prototype.fetch = function fetchUnlessStopped(this: Runner, nodeId: string): Promise<unknown[]> {
    // Not awaited: it waits for the end of this fetch.
    if (!this.running) void this.fetchManager.stop()
    return fetch.call(this, nodeId)
  }
}
