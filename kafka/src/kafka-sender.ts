/**
 * Sends to Kafka in the one way in which kafkajs loses no record: one partition a send, acks from all replicas, idempotent
 * with one request in flight, and a new client after any rejected send.
 */
import { isMainThread } from 'node:worker_threads'
import {
  AuditUnavailableError,
  createSchemaRegistry,
  IntegrityError,
  InvalidInputError,
  NEWEST_SCHEMA,
  reframeToConfluent,
  type RegistryConnection,
  TrailError,
} from '@agent-audit/schemas'
import type { ISocketFactory, Kafka, Message, Producer, RecordMetadata } from 'kafkajs'
import { describeRefusal, kafkaConfig, rootOf } from './client-config.ts'
import type { KafkaConnection } from './connection.ts'
import { registerZstd } from './patches/codecs.ts'
import { connectBroker } from './patches/ipv6-brokers.ts'
import type { OutgoingRecord, Reached, Sender, SenderSettings, TopicPartition } from './sender.ts'
import { TIME_IS_UP, within } from './within.ts'

/** Longest wait for a send: on a cut connection kafkajs may never settle it. */
const SEND_DEADLINE_MS = 60_000
const CLOSE_DEADLINE_MS = 3000
/** Few retries: delivery has its own loop, which retries for ever and reports each failure. */
const RETRY = { retries: 2, initialRetryTime: 100, maxRetryTime: 1000 }
const ALL_REPLICAS = -1

/** Makes a client of these brokers that is not connected yet. */
export function createKafkaSender(settings: SenderSettings, connection: KafkaConnection): Sender {
  return new KafkaSender(settings, connection)
}

class KafkaSender implements Sender {
  readonly #registry: RegistryConnection | undefined
  readonly #connection: KafkaConnection
  #producer: Producer | undefined
  readonly #registryIds: Map<string, number> = new Map<string, number>()
  #cluster = ''
  /** Connections of the producer that ended, in all and before the cluster was last asked for its id. */
  #cuts = { all: 0, checked: 0 }
  #checking: Promise<void> | undefined

  constructor(settings: SenderSettings, connection: KafkaConnection) {
    this.#registry = settings.schemaRegistry
    this.#connection = connection
  }

  async connect(topics: readonly string[]): Promise<Reached> {
    try {
      const { cluster, partitions } = await this.#describe(topics)
      this.#cluster = cluster
      if (this.#registry !== undefined) {
        const registry = createSchemaRegistry(this.#registry)
        for (const topic of topics) this.#registryIds.set(topic, await registry.register(topic, NEWEST_SCHEMA))
      }
      this.#producer = (await openKafka(this.#connection, this.#openSocket)).producer({
        idempotent: true,
        maxInFlightRequests: 1,
        allowAutoTopicCreation: false,
        retry: RETRY,
        createPartitioner: () => () => {
          throw new Error('messages come as one group, with its partition')
        },
      })
      await this.#producer.connect()
      return { cluster, partitions }
    } catch (error) {
      throw this.#translate(error, topics.join(' or '))
    }
  }

  /** Asks over connections of its own. */
  async #describe(names: readonly string[]): Promise<Reached> {
    const admin = (await openKafka(this.#connection)).admin({ retry: RETRY })
    try {
      await admin.connect()
      const { clusterId: cluster } = await admin.describeCluster()
      const { topics } = names.length === 0 ? { topics: [] } : await admin.fetchTopicMetadata({ topics: [...names] })
      return { cluster, partitions: new Map(topics.map(({ name, partitions }) => [name, partitions.length])) }
    } finally {
      await answered(CLOSE_DEADLINE_MS, admin.disconnect()).catch(() => {})
    }
  }

  async send(to: TopicPartition, records: readonly OutgoingRecord[]): Promise<{ baseOffset: number }> {
    if (this.#producer === undefined) throw new Error('connect first')
    const messages = this.#toMessages(to.topic, records)
    try {
      await this.#checkCluster()
      const sent = this.#producer.send({
        topic: to.topic,
        acks: ALL_REPLICAS,
        compression: 4, // CompressionTypes.ZSTD; kafkajs is not imported here.
        messages: oneGroup(to.partition, messages),
      })
      return { baseOffset: offsetIn(await answered(SEND_DEADLINE_MS, sent), to) }
    } catch (error) {
      throw this.#translate(error, to.topic)
    }
  }

  /**
   * kafkajs connects again by itself, also in the middle of a send, and another cluster may have taken over the names of the
   * brokers: one that an operator has built anew, or the one that DNS names now. So after a cut there is no new connection, and
   * a send in flight is rejected, before the cluster has said its id once more.
   */
  readonly #openSocket: ISocketFactory = (options) => {
    if (this.#cuts.all > this.#cuts.checked) throw new Error('a connection was lost')
    const onConnect = (): void => {
      // Not one that was refused: kafkajs then tries the next broker of the list. It connects again at any of these events.
      for (const event of ['end', 'error', 'close']) socket.once(event, () => this.#cuts.all++)
      options.onConnect()
    }
    const socket = connectBroker({ ...options, onConnect })
    return socket
  }

  #checkCluster(): Promise<void> | undefined {
    const { all, checked } = this.#cuts
    if (all === checked) return undefined
    this.#checking ??= this.#describe([])
      .then(({ cluster }) => {
        if (cluster === this.#cluster) return void (this.#cuts.checked = all)
        const where = `Kafka at ${this.#connection.brokers.join(', ')}`
        throw new IntegrityError('CLUSTER_CHANGED', `${where} was cluster ${this.#cluster} and is ${cluster} now`)
      })
      .finally(() => (this.#checking = undefined))
    return this.#checking
  }

  /** Our own writer takes records as they are; kafkajs's, in use on an agent's thread, wants plain objects. */
  #toMessages(topic: string, records: readonly OutgoingRecord[]): OutgoingRecord[] {
    const id = this.#registryIds.get(topic)
    if (id === undefined && !isMainThread) return [...records]
    return records.map((record) => {
      const { key } = record
      const value = id === undefined ? record.value : reframeToConfluent(record.value, id)
      return { key, value, bytes: key.length + value.length }
    })
  }

  async close(): Promise<void> {
    await answered(CLOSE_DEADLINE_MS, this.#producer?.disconnect() ?? Promise.resolve()).catch(() => {})
  }

  #translate(error: unknown, topic: string): TrailError {
    if (error instanceof TrailError) return error
    const refusal = describeRefusal(error, this.#connection)
    if (refusal !== undefined) return refusal
    const address = this.#connection.brokers.join(', ')
    const cause = rootOf(error)
    const message = cause instanceof Error ? cause.message : String(cause)
    const type = cause instanceof Error && 'type' in cause ? cause.type : undefined
    if (type === 'UNKNOWN_TOPIC_OR_PARTITION') {
      const said = `Kafka at ${address} has no topic ${topic}: create it, for example with agent-audit setup`
      return new AuditUnavailableError('BROKER_UNAVAILABLE', said, { cause: error })
    }
    if (type === 'MESSAGE_TOO_LARGE') {
      const said = `Kafka at ${address} takes no batch this large into ${topic}: raise max.message.bytes`
      return new InvalidInputError('RECORD_TOO_LARGE', said, { cause: error })
    }
    return new AuditUnavailableError('BROKER_UNAVAILABLE', `Kafka at ${address}: ${message}`, { cause: error })
  }
}

/** The answer must name the partition: kafkajs can resolve a send without having sent all of it. */
function offsetIn(answer: readonly RecordMetadata[], { topic, partition }: TopicPartition): number {
  const entry = answer.find((metadata) => metadata.topicName === topic && metadata.partition === partition)
  const offset = Number(entry?.baseOffset ?? entry?.offset ?? -1)
  if (entry?.errorCode === 0 && offset >= 0) return offset
  throw new Error(`no offset for ${topic}/${partition} in the answer`)
}

/**
 * Messages of one partition for kafkajs. It groups messages by `reduce`, with copies of a growing list: half a million copied
 * references for a thousand messages. These messages override `reduce`, since they are one group already.
 */
function oneGroup(partition: number, messages: OutgoingRecord[]): Message[] {
  return Object.assign(messages, { reduce: () => ({ [partition]: messages }) })
}

async function openKafka(connection: KafkaConnection, socketFactory = connectBroker): Promise<Kafka> {
  const module = (await import('kafkajs')).default
  registerZstd(module)
  // Patch the delivery thread's copy only: an agent may use kafkajs itself.
  if (!isMainThread) {
    const { stopIdlePolling } = await import('./patches/idle-polling.ts')
    const { replaceProduceWriter } = await import('./patches/produce-writer.ts')
    stopIdlePolling()
    replaceProduceWriter()
  }
  return new module.Kafka({ ...kafkaConfig(connection, RETRY), socketFactory })
}

/** Waits for an answer of kafkajs. Its timer keeps no thread alive. @throws Error when time is up. */
async function answered<T>(ms: number, work: Promise<T>): Promise<T> {
  const answer = await within(work, { ms, keepAlive: false })
  if (answer === TIME_IS_UP) throw new Error(`no answer within ${ms} ms`)
  return answer
}
