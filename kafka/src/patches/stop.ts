/**
 * A member that stops while kafkajs makes its fetchers anew, as it does when brokers come or go. They are stopped first, then
 * new ones are made, of which the stop knows nothing; and since a consumer that stops fetches nothing, each of them is
 * answered at once, for ever, without the event loop getting a turn. No timer fires then and no signal is heard: a process
 * at full load that does nothing, until it is killed.
 */
import { createRequire } from 'node:module'

/** kafkajs's loop over fetching and handing over; `fetch` is what its fetchers call, one a broker. */
interface Runner {
  readonly running: boolean
  readonly fetchManager: { stop(): Promise<void> }
  fetch(nodeId: string): Promise<unknown[]>
}

/** Has fetchers of a consumer that has stopped stopped as well, for every consumer of this process. */
export function stopLateFetchers(): void {
  const load = createRequire(import.meta.url)
  const { prototype } = load('kafkajs/src/consumer/runner') as { prototype: Runner }
  // oxlint-disable-next-line typescript/unbound-method -- called on its runner below
  const fetch = prototype.fetch
  prototype.fetch = function fetchUnlessStopped(this: Runner, nodeId: string): Promise<unknown[]> {
    // Not awaited: it waits until this very fetch has ended.
    if (!this.running) void this.fetchManager.stop()
    return fetch.call(this, nodeId)
  }
}
