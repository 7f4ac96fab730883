/**
 * Imported before the consumer's main module. The brokers change at the moment when the consumer stops: kafkajs then stops its
 * fetchers, and makes new ones.
 */
import { createRequire } from 'node:module'

interface Runner {
  readonly consumerGroup: { getNodeIds(): string[] }
  stop(): Promise<void>
}

const load = createRequire(new URL('../../consumer/src/main.ts', import.meta.url))
const { prototype } = load('kafkajs/src/consumer/runner') as { prototype: Runner }
// oxlint-disable-next-line typescript/unbound-method -- called on its runner below
const stop = prototype.stop
prototype.stop = function stopAmidFetchers(this: Runner): Promise<void> {
  const { consumerGroup } = this
  const nodeIds = [...consumerGroup.getNodeIds(), 'another']
  const stopped = Promise.withResolvers<void>()
  let asked = 0
  consumerGroup.getNodeIds = () => {
    // First a fetcher asks, sees other brokers, and ends. Then kafkajs asks, to make new fetchers.
    if (++asked === 2) stopped.resolve(stop.call(this))
    return nodeIds
  }
  return stopped.promise
}
