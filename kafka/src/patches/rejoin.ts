/**
 * Gives a member a moment before it rejoins its group, which kafkajs does not give ("partitions revoked"). By then the group
 * waits for all its members and still accepts commits of the generation that ends: the member can finish its batches in
 * hand, and leave its partitions clean for their next owners.
 */
import { createRequire } from 'node:module'

interface ConsumerGroup {
  readonly memberId: string | null
  joinAndSync(): Promise<void>
}

/** The steps of a member around its next rejoin. */
export interface Rejoining {
  /** Awaited before the rejoin; must not reject. */
  handOver(): Promise<void>
  /** The rejoin failed. The assignments are handed over already, so the member must leave. */
  onFailed(error: unknown): void
}

const members = new Map<string, Rejoining>()

/** Registers the steps of a member. @returns a function that removes them. */
export function onRejoin(memberId: string, rejoining: Rejoining): () => void {
  members.set(memberId, rejoining)
  return () => void members.delete(memberId)
}

/** Patches kafkajs, for every consumer of this process. */
export function addHandOverToRejoin(): void {
  const load = createRequire(import.meta.url)
  const { prototype } = load('kafkajs/src/consumer/consumerGroup') as { prototype: ConsumerGroup }
  // oxlint-disable-next-line typescript/unbound-method -- called on its group below
  const join = prototype.joinAndSync
  prototype.joinAndSync = async function joinAfterHandOver(this: ConsumerGroup): Promise<void> {
    // A member that the group has forgotten has no id, and can commit nothing.
    const rejoining = members.get(this.memberId ?? '')
    await rejoining?.handOver()
    try {
      await join.call(this)
    } catch (error) {
      // kafkajs goes on under the old generation. A new coordinator, which has not heard of the rebalance, answers its
      // heartbeats, and no broker ever tells it to join again.
      rejoining?.onFailed(error)
      throw error
    }
  }
}
