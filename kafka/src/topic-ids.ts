/** Whether topics are still the ones that they were: a topic that is made anew under its name gets another id from Kafka. */
import type { Admin, PartitionMetadata } from 'kafkajs'
import { TopicMadeAnewError } from './source.ts'

/** Kafka's ids, by topic. A topic that is not there: the brokers are too old to tell. */
export type TopicIds = ReadonlyMap<string, string>

/** @throws as kafkajs does, also for a topic that does not exist. */
export async function topicIdsOf(admin: Admin, names: readonly string[]): Promise<TopicIds> {
  const { topics } = await admin.fetchTopicMetadata({ topics: [...names] })
  return new Map(topics.flatMap(({ name, partitions }) => topicIdOf(partitions).map((id) => [name, id])))
}

/** patches/topic-ids.ts puts it there. @returns one id or none */
export function topicIdOf([partition]: readonly PartitionMetadata[]): string[] {
  const { topicId } = (partition ?? {}) as { topicId?: string }
  return topicId === undefined ? [] : [topicId]
}

/**
 * Notes ids, of topics that are not known yet.
 * @throws TopicMadeAnewError if a known topic has another id now.
 */
export function noteTopicIds(known: Map<string, string>, now: TopicIds): void {
  for (const [topic, id] of now) {
    const before = known.get(topic) ?? id
    known.set(topic, before)
    if (before === id) continue
    throw new TopicMadeAnewError(`topic ${topic} was made anew: its id is ${id}, and was ${before}`)
  }
}

/** How often a question is asked: within the 6 s that a caller waits. */
const TRIES = 4

/** Asks again and again whether topics have kept their ids. */
export class TopicWatch {
  readonly #admin: Admin
  readonly #known: Map<string, string>
  #asking: Promise<void> | undefined
  #following: Promise<void> | undefined

  constructor(admin: Admin, known: Map<string, string>) {
    this.#admin = admin
    this.#known = known
  }

  /**
   * What the caller has read from the topics before this call is from the known ones. Callers that come while a request is under
   * way share the next one: only that one is asked after they had read.
   * @throws TopicMadeAnewError.
   */
  expectSame(): Promise<void> {
    this.#following ??= this.#ask(this.#asking)
    return this.#following
  }

  async #ask(before: Promise<void> | undefined): Promise<void> {
    await before?.catch(() => undefined)
    this.#asking = this.#following
    this.#following = undefined
    const topics = [...this.#known.keys()]
    if (topics.length > 0) noteTopicIds(this.#known, await this.#tell(topics))
  }

  /** kafkajs asks a random broker, also one that is gone while the others still name it: then another try meets another one. */
  async #tell(topics: readonly string[]): Promise<TopicIds> {
    for (let left = TRIES - 1; left > 0; left--) {
      const ids = await topicIdsOf(this.#admin, topics).catch(() => undefined)
      if (ids !== undefined) return ids
    }
    return topicIdsOf(this.#admin, topics)
  }
}
