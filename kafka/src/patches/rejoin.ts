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

/** What a member does around its next joining anew. */
export interface Rejoining {
  /** Awaited before it; must not reject. */
  handOver(): Promise<void>
  /** It failed. What was handed over stays so: the member has to leave. */
  onFailed(error: unknown): void
}

const members = new Map<string, Rejoining>()

/** Has `rejoining` told when this member joins anew. @returns what takes that back. */
export function onRejoin(memberId: string, rejoining: Rejoining): () => void {
  members.set(memberId, rejoining)
  return () => void members.delete(memberId)
}

/** Puts that moment into kafkajs, for every consumer of this process. */
export function addHandOverToRejoin(): void {
  const load = createRequire(import.meta.url)
  const { prototype } = load('kafkajs/src/consumer/consumerGroup') as { prototype: ConsumerGroup }
  // oxlint-disable-next-line typescript/unbound-method -- called on its group below
  const join = prototype.joinAndSync
  prototype.joinAndSync = async function joinAfterHandOver(this: ConsumerGroup): Promise<void> {
    // A member that the group has forgotten has no id any more, and nothing that it might still commit.
    const rejoining = members.get(this.memberId ?? '')
    await rejoining?.handOver()
    try {
      await join.call(this)
    } catch (error) {
      // kafkajs goes on under the old generation. Where the coordinator is another one by now, which has not heard that
      // the group was about to share anew, its heartbeats are answered, and nobody ever tells it to join again.
      rejoining?.onFailed(error)
      throw error
    }
  }
}
