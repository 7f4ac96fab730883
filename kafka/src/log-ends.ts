/** Where logs end, and what a group has committed of them: two requests a topic, however many partitions it has. */
import type { Admin } from 'kafkajs'
import type { LogPosition } from './source.ts'

export interface LogEndsOptions {
  readonly groupId: string
  readonly topics: readonly string[]
}

/** The positions of all partitions of the topics. Not retried: the caller polls. */
export async function positionsOf(admin: Admin, { groupId, topics }: LogEndsOptions): Promise<LogPosition[]> {
  const [groups, ends] = await Promise.all([
    admin.fetchOffsets({ groupId, topics: [...topics] }),
    Promise.all(topics.map((topic) => admin.fetchTopicOffsets(topic))),
  ])
  return topics.flatMap((topic, index) => {
    const partitions = groups.find((group) => group.topic === topic)?.partitions ?? []
    const offsets = new Map(partitions.map(({ partition, offset }) => [partition, Number(offset)]))
    return (ends[index] ?? []).map(({ partition, low, high }) => {
      const committed = offsets.get(partition) ?? -1
      const known = committed < 0 ? undefined : committed
      return { topic, partition, committed: known, start: Number(low), end: Number(high) }
    })
  })
}
