/**
 * A moment before a member joins its group anew, which kafkajs does not give ("partitions revoked"). The group waits for
 * all its members by then and still takes the commits of the generation that ends: what is in hand can be finished, and
 * the partitions be left clean for their next owners.
 */
import { createRequire } from 'node:module'

interface ConsumerGroup {
  readonly memberId: string | null
  joinAndSync(): Promise<void>
}

const handOvers = new Map<string, () => Promise<void>>()

/** Has `handOver` awaited before this member joins anew; it must not reject. @returns what takes that back. */
export function beforeRejoin(memberId: string, handOver: () => Promise<void>): () => void {
  handOvers.set(memberId, handOver)
  return () => void handOvers.delete(memberId)
}

/** Puts that moment into kafkajs, for every consumer of this process. */
export function mendRejoin(): void {
  const load = createRequire(import.meta.url)
  const { prototype } = load('kafkajs/src/consumer/consumerGroup') as { prototype: ConsumerGroup }
  // oxlint-disable-next-line typescript/unbound-method -- called on its group below
  const join = prototype.joinAndSync
  prototype.joinAndSync = async function joinAfterHandOver(this: ConsumerGroup): Promise<void> {
    // A member that the group has forgotten has no id any more, and nothing that it might still commit.
    await handOvers.get(this.memberId ?? '')?.()
    return join.call(this)
  }
}
