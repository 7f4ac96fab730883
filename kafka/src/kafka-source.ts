/**
 * The source on Kafka: a member of a consumer group. It works around these faults of kafkajs's consumer:
 *
 * - Its commit call may resolve without having sent anything, and its retrier repeats an unanswered commit under a later
 *   generation. So commits go through the function that it passes to eachBatch, which sends once and repeats nothing.
 * - It has no call for "partitions revoked". Before the member rejoins, it hands over its assignments in order
 *   (patches/rejoin.ts). In every case an epoch ends with a JoinGroup request.
 * - It heartbeats only between fetches. So eachBatch only hands records over, and never waits for ClickHouse.
 * - After an offset out of range it reads elsewhere without an error: every batch is compared with the requested offset.
 */
import { AuditUnavailableError, logIdOf, TrailError } from '@agent-audit/schemas'
import type { Admin, Consumer, ConsumerGroupJoinEvent, EachBatchPayload, Kafka } from 'kafkajs'
import { createKafka, describeKafkaError, isKafkaJsError } from './client.ts'
import { REQUEST_TIMEOUT_MS } from './client-config.ts'
import type { KafkaConnection } from './connection.ts'
import { HEARTBEAT_MS, memberConfig } from './group-config.ts'
import { KafkaAssignment } from './kafka-assignment.ts'
import { positionsOf } from './log-ends.ts'
import { FetchedBatches } from './patches/fetch-reader.ts'
import { onRejoin } from './patches/rejoin.ts'
import type { Assignment, BatchDecoders, CommitAnswer, FetchMemory, Source } from './source.ts'
import { noteTopicIds, TopicWatch, topicIdsOf } from './topic-ids.ts'
import { positionOf } from './topics.ts'
import { within } from './within.ts'

export { dividePartitions } from './assigner.ts'

export interface KafkaSourceOptions extends KafkaConnection {
  readonly topics: readonly string[]
  readonly groupId: string
  readonly sessionTimeoutMs: number
  /** Records fetched ahead count into it. */
  readonly memory: FetchMemory
  readonly decoders: BatchDecoders
}

/** Longest waits for a member to leave, and for an admin client to close, milliseconds: a drain has 10 s. */
const [LEAVE_TIMEOUT_MS, CLOSE_TIMEOUT_MS] = [2000, 1000]
/** Longest wait for work on assignments that have ended, milliseconds: longer than any query or insert may take. */
const WORK_TIMEOUT_MS = 45_000

export function createKafkaSource(options: KafkaSourceOptions): Source {
  const kafka = createKafka(options)
  /** Uses each client for a short time only: a lost connection can leave a kafkajs client broken. */
  async function withAdmin<T>(use: (admin: Admin, clusterId: string) => Promise<T>): Promise<T> {
    const admin = kafka.admin()
    try {
      await admin.connect()
      return await use(admin, (await admin.describeCluster()).clusterId)
    } catch (error) {
      throw error instanceof WorkFault ? error.cause : describeKafkaError(error, options)
    } finally {
      await disconnect(admin, CLOSE_TIMEOUT_MS)
    }
  }
  /** As told first. */
  const topicIds = new Map<string, string>()
  return {
    sourceId: () => withAdmin((_, clusterId) => Promise.resolve(clusterId)),
    topicIds: async () => {
      noteTopicIds(topicIds, await withAdmin((admin) => topicIdsOf(admin, options.topics)))
      return topicIds
    },
    positions: () => withAdmin((admin) => positionsOf(admin, options)),
    members: () => withAdmin((admin) => membersOf(admin, options.groupId)),
    run: (work, draining, joined = () => undefined) =>
      withAdmin((admin, clusterId) =>
        new GroupMember({ kafka, admin, clusterId, topicIds, options, work, draining, joined }).run(),
      ),
    close: () => Promise.resolve(),
  }
}

async function membersOf(admin: Admin, groupId: string): Promise<string[]> {
  const { groups } = await admin.describeGroups([groupId])
  return groups.flatMap(({ members }) => members.map(({ clientId, clientHost }) => `${clientId} at ${clientHost}`))
}

/** Bounded: kafkajs may wait for ever. The group forgets a member that could not leave after its session timeout. */
async function disconnect(client: { disconnect(): Promise<void> }, timeoutMs: number): Promise<void> {
  const gone = client.disconnect().catch(() => undefined)
  await within(gone, { ms: timeoutMs, keepAlive: true })
}

interface MemberParts {
  readonly kafka: Kafka
  readonly admin: Admin
  readonly clusterId: string
  readonly topicIds: Map<string, string>
  readonly options: KafkaSourceOptions
  readonly work: (assignment: Assignment) => Promise<void>
  readonly draining: AbortSignal
  readonly joined: (foreign: readonly string[]) => void
}

type SendCommit = EachBatchPayload['commitOffsetsIfNecessary']
type Joined = ConsumerGroupJoinEvent['payload']

/** One membership of the group: from joining to leaving, over any number of epochs. */
class GroupMember {
  readonly #parts: MemberParts
  readonly #consumer: Consumer
  readonly #watch: TopicWatch
  readonly #assignments = new Map<string, KafkaAssignment>()
  readonly #working = new Set<Promise<void>>()
  readonly #failed = Promise.withResolvers<never>()
  /** When the group last confirmed the membership, by `performance.now()`. */
  #aliveAt = performance.now()
  #epoch = new AbortController()
  /** Aborted to have this epoch's assignments handed over. */
  #handingOver = new AbortController()
  #forgetRejoin: () => void = () => undefined
  /** Whether it is leaving. A join under way then makes no assignments: no later step would end them. */
  #leaving = false
  #sendCommit: SendCommit | undefined

  constructor(parts: MemberParts) {
    this.#parts = parts
    this.#consumer = parts.kafka.consumer(memberConfig(parts.options))
    this.#watch = new TopicWatch(parts.admin, parts.topicIds)
  }

  async run(): Promise<void> {
    const { draining } = this.#parts
    this.#failed.promise.catch(() => undefined)
    this.#listen()
    const watch = setInterval(() => this.#checkAlive(), HEARTBEAT_MS).unref()
    try {
      await Promise.race([this.#failed.promise, this.#join()])
      await Promise.race([this.#failed.promise, aborted(draining)])
      await Promise.race([this.#failed.promise, Promise.all(this.#working)])
    } finally {
      clearInterval(watch)
      this.#leaving = true
      this.#endEpoch()
      await disconnect(this.#consumer, LEAVE_TIMEOUT_MS)
      // Abandon work that hangs: its assignment has ended, so it can commit nothing, and the next owner of the partition, even in
      // this process, waits for its inserts as for those of another consumer.
      await within(Promise.all(this.#working), { ms: WORK_TIMEOUT_MS, keepAlive: true })
    }
  }

  async #join(): Promise<void> {
    await this.#consumer.connect()
    await this.#consumer.subscribe({ topics: [...this.#parts.options.topics], fromBeginning: true })
    await this.#consumer.run({
      autoCommit: false,
      partitionsConsumedConcurrently: 16,
      eachBatch: (payload) => this.#deliver(payload),
    })
  }

  #listen(): void {
    const { events } = this.#consumer
    this.#consumer.on(events.REQUEST, ({ payload }) => {
      // The new generation begins with the response to this request. Work of the old epoch must not commit under it.
      if (payload.apiName === 'JoinGroup') this.#endEpoch()
    })
    // Comes just before the event that the group was joined. kafkajs has left these topics out of the assignment.
    let foreign: readonly string[] = []
    this.#consumer.on(events.RECEIVED_UNSUBSCRIBED_TOPICS, ({ payload }) => (foreign = payload.topicsNotSubscribed))
    this.#consumer.on(events.GROUP_JOIN, ({ payload }) => {
      this.#aliveAt = performance.now()
      this.#parts.joined(foreign)
      foreign = []
      this.#startEpoch(payload)
    })
    this.#consumer.on(events.HEARTBEAT, () => void (this.#aliveAt = performance.now()))
    this.#consumer.on(events.CRASH, ({ payload }) => this.#failed.reject(payload.error))
  }

  /** kafkajs can wait for ever on a lost connection, without an error. The only sign is that its heartbeats end. */
  #checkAlive(): void {
    const longestMs = 2 * this.#parts.options.sessionTimeoutMs + REQUEST_TIMEOUT_MS
    if (performance.now() - this.#aliveAt < longestMs) return
    const message = `no heartbeat was answered for ${Math.round(longestMs / 1000)} s`
    this.#failed.reject(new AuditUnavailableError('BROKER_UNAVAILABLE', message))
  }

  #endEpoch(): void {
    this.#forgetRejoin()
    this.#epoch.abort()
    this.#assignments.clear()
  }

  /**
   * The group is about to rebalance: every assignment finishes its batch in hand and leaves its partition clean, as in a
   * drain. Otherwise the next owner, even this member, would have to wait out the lease. Heartbeats pause meanwhile, so the
   * wait is bounded; a partition whose work is not finished by then is left busy.
   */
  async #handOver(): Promise<void> {
    this.#handingOver.abort()
    const longestMs = Math.floor(this.#parts.options.sessionTimeoutMs / 2)
    await within(Promise.all(this.#working), { ms: longestMs, keepAlive: true })
    this.#endEpoch()
  }

  #startEpoch({ memberId, memberAssignment }: Joined): void {
    this.#endEpoch()
    const { clusterId, work } = this.#parts
    if (this.#leaving || this.#parts.draining.aborted) return
    this.#epoch = new AbortController()
    this.#handingOver = new AbortController()
    this.#forgetRejoin = onRejoin(memberId, {
      handOver: () => this.#handOver(),
      onFailed: (error) => this.#failed.reject(error),
    })
    const draining = AbortSignal.any([this.#parts.draining, this.#handingOver.signal])
    for (const [topic, partitions] of Object.entries(memberAssignment)) {
      const logId = logIdOf(clusterId, topic)
      // Nothing is fetched before the assignment's reader asks: the tables say where to begin, not the group.
      this.#consumer.pause([{ topic, partitions }])
      for (const partition of partitions) {
        const logPartition = { logId, topic, partition, ended: this.#epoch.signal, draining }
        const kafka = this.#partition(topic, partition)
        const assignment = new KafkaAssignment(logPartition, kafka, this.#parts.options)
        this.#assignments.set(keyOf(assignment), assignment)
        const { signal: handingOver } = this.#handingOver
        const working = work(assignment).catch((error: unknown) => {
          // A commit may come too late for the generation that ends. The assignment has ended with it.
          if (handingOver.aborted && isCommitLost(error)) return
          this.#failed.reject(error instanceof TrailError || isKafkaJsError(error) ? error : new WorkFault(error))
        })
        this.#working.add(working)
        void working.finally(() => this.#working.delete(working))
      }
    }
  }

  #partition(topic: string, partition: number): ConstructorParameters<typeof KafkaAssignment>[1] {
    const { admin, options } = this.#parts
    const partitions = [{ topic, partitions: [partition] }]
    const describe = (error: unknown): never => {
      throw describeKafkaError(error, options)
    }
    return {
      seek: (offset) => this.#consumer.seek({ topic, partition, offset: String(offset) }),
      pause: () => this.#consumer.pause(partitions),
      resume: () => this.#consumer.resume(partitions),
      commit: (offset, metadata) => this.#commit({ topic, partition, offset: String(offset), metadata }),
      position: () => positionOf(admin, { groupId: options.groupId, topic, partition }).catch(describe),
      expectSameLog: () => this.#watch.expectSame().catch(describe),
    }
  }

  async #commit(commit: { topic: string; partition: number; offset: string; metadata: string }): Promise<CommitAnswer> {
    const { topic, ...partition } = commit
    // Set with the first batch. Before it no record needs a lease.
    if (this.#sendCommit === undefined) return 'refused'
    try {
      await this.#sendCommit({ topics: [{ topic, partitions: [partition] }] })
      return 'acknowledged'
    } catch (error) {
      const { name, type } = error as { name?: string; type?: string }
      // With an error code the coordinator refuses, except REQUEST_TIMED_OUT: its own log was too slow, and the commit may land.
      return name === 'KafkaJSProtocolError' && type !== 'REQUEST_TIMED_OUT' ? 'refused' : 'unanswered'
    }
  }

  async #deliver(payload: EachBatchPayload): Promise<void> {
    const { batch } = payload
    this.#sendCommit = (offsets) => payload.commitOffsetsIfNecessary(offsets)
    // patches/fetch-reader.ts made this message.
    const fetched: unknown = batch.messages[0]
    if (!(fetched instanceof FetchedBatches)) {
      throw new AuditUnavailableError('BROKER_UNAVAILABLE', 'the broker is too old: expected Kafka 2.3 or newer')
    }
    this.#assignments.get(keyOf(batch))?.deliver({
      batches: fetched.batches,
      firstOffset: Number((batch as unknown as { fetchedOffset: string }).fetchedOffset),
      nextOffset: fetched.offset + 1,
      logEnd: Number(batch.highWatermark),
    })
  }
}

/**
 * An unexpected error in the work on a partition: a fault of this program. kafkajs has faults too, and throws a TypeError for
 * a broker that is gone. That one is retried; this one is not, since retries would hide it.
 */
class WorkFault extends Error {
  constructor(cause: unknown) {
    super('work on a partition failed', { cause })
  }
}

function isCommitLost(error: unknown): boolean {
  return error instanceof TrailError && error.code === 'LOG_UNAVAILABLE'
}

function keyOf({ topic, partition }: { topic: string; partition: number }): string {
  return `${topic}/${partition}`
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
