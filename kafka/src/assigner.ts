/**
 * Divides the partitions among the members of a group. kafkajs's own assigner gives every member partitions of every topic that
 * the leader subscribes: a member that does not subscribe a topic drops its partitions without an error, and no member reads them.
 */
import kafkajs, { type BrokerMetadata, type Cluster, type PartitionAssigner } from 'kafkajs'

/**
 * Name and metadata are those of kafkajs's assigner, so that a group may have members with either one. Only the leader's assigner
 * runs: after a rolling deploy every leader has this one.
 */
const NAME = 'RoundRobinAssigner'
const VERSION = 0
const { MemberAssignment, MemberMetadata } = kafkajs.AssignerProtocol

/** Partitions by topic. */
type Assigned = Record<string, number[]>

/** kafkajs declares no parameter, and takes one. */
type AnyTopics = Cluster & { metadata(of: { topics: string[] }): Promise<BrokerMetadata> }

export const assignBySubscription: PartitionAssigner = ({ cluster }) => ({
  name: NAME,
  version: VERSION,
  protocol: ({ topics }) => ({ name: NAME, metadata: MemberMetadata.encode(metadataOf(topics)) }),
  async assign({ members }) {
    const subscriptions = new Map(
      members.map(({ memberId, memberMetadata }) => [memberId, MemberMetadata.decode(memberMetadata)?.topics ?? []]),
    )
    const topics = [...new Set([...subscriptions.values()].flat())]
    // The leader knows its own topics only. It asks for the others without subscribing them.
    const { topicMetadata } = await (cluster as AnyTopics).metadata({ topics })
    const partitions = new Map(
      topicMetadata.map(({ topic, partitionMetadata }) => [topic, partitionMetadata.map((of) => of.partitionId)]),
    )
    return [...dividePartitions(subscriptions, partitions)].map(([memberId, assignment]) => ({
      memberId,
      memberAssignment: MemberAssignment.encode({ version: VERSION, assignment, userData: Buffer.alloc(0) }),
    }))
  },
})

function metadataOf(topics: string[]): Parameters<typeof MemberMetadata.encode>[0] {
  return { version: VERSION, topics, userData: Buffer.alloc(0) }
}

/**
 * Gives each partition to the member with the fewest among those that subscribe its topic. Topics with few subscribers come
 * first: the members that also read others then get less of those.
 * @returns For each member its partitions by topic.
 */
export function dividePartitions(
  subscriptions: ReadonlyMap<string, readonly string[]>,
  partitions: ReadonlyMap<string, readonly number[]>,
): Map<string, Assigned> {
  const members = [...subscriptions.keys()].toSorted().map((id) => ({ id, count: 0, byTopic: {} as Assigned }))
  const subscribersOf = (topic: string): typeof members =>
    members.filter(({ id }) => subscriptions.get(id)?.includes(topic))
  const topics = [...partitions.keys()]
    .toSorted()
    .toSorted((one, other) => subscribersOf(one).length - subscribersOf(other).length)
  for (const topic of topics) {
    const subscribers = subscribersOf(topic)
    for (const partition of (partitions.get(topic) ?? []).toSorted((one, other) => one - other)) {
      const [first] = subscribers.toSorted((one, other) => one.count - other.count)
      if (first === undefined) break
      first.count++
      ;(first.byTopic[topic] ??= []).push(partition)
    }
  }
  return new Map(members.map(({ id, byTopic }) => [id, byTopic]))
}
