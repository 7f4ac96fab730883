/** Fills topics with records as several concurrent producers would: the backlog on which consumers are measured. */
import { createSchemaRegistry, NEWEST_SCHEMA, reframeToConfluent, SINGLE_OBJECT_BYTES } from '@agent-audit/schemas'
import type { Admin, Producer } from 'kafkajs'
import { connectKafka, createTopic, ZSTD } from '../support/kafka.ts'
import { fieldsOf, type Message, Run } from '../support/records.ts'
import type { SessionScript } from '../support/sessions.ts'

export interface Backlog {
  readonly name: string
  readonly topic: string
  /** The same records in the same order, in the Confluent wire format; undefined without a registry. */
  readonly confluentTopic: string | undefined
  readonly events: number
  readonly partitions: number
  /** Mean size of an encoded record without its framing, bytes. */
  readonly recordBytes: number
}

const RUNS = 8
export const PARTITIONS = 4
/** Records of one run and partition in a batch: about as many as the producer sends under load. */
const BATCH_RECORDS = 1000

export interface BacklogOrder {
  readonly name: string
  readonly events: number
  readonly scripts: readonly SessionScript[]
}

export async function fillBacklog(
  { brokers, registryUrl }: { brokers: readonly string[]; registryUrl?: string | undefined },
  { name, events, scripts }: BacklogOrder,
): Promise<Backlog> {
  const kafka = connectKafka(brokers)
  const [admin, producer] = [kafka.admin(), kafka.producer({ allowAutoTopicCreation: false })]
  await Promise.all([admin.connect(), producer.connect()])
  const topic = `bench.${process.pid}.${Date.now()}`
  try {
    await createTopic(admin, topic, PARTITIONS)
    const confluent =
      registryUrl === undefined ? undefined : await makeConfluent(admin, `${topic}.confluent`, registryUrl)
    const filler = new Filler(producer, topic, confluent)
    const bytes = await filler.fill(makeRuns(scripts), events)
    const recordBytes = Math.round(bytes / events - SINGLE_OBJECT_BYTES)
    return { name, topic, confluentTopic: confluent?.topic, events, partitions: PARTITIONS, recordBytes }
  } finally {
    await Promise.all([admin.disconnect(), producer.disconnect()])
  }
}

function makeRuns(scripts: readonly SessionScript[]): Run[] {
  const plans = scripts.map(fieldsOf)
  return Array.from({ length: RUNS }, (_, number) => new Run(number, plans, PARTITIONS))
}

/** A topic in the Confluent wire format. */
interface Confluent {
  readonly topic: string
  readonly registryId: number
}

async function makeConfluent(admin: Admin, topic: string, url: string): Promise<Confluent> {
  await createTopic(admin, topic, PARTITIONS)
  return { topic, registryId: await createSchemaRegistry({ url }).register(topic, NEWEST_SCHEMA) }
}

export class Filler {
  readonly #producer: Producer
  readonly #topic: string
  readonly #confluent: Confluent | undefined
  /** The last send of each partition. */
  readonly #sending: Promise<unknown>[] = Array.from({ length: PARTITIONS }, () => Promise.resolve())

  constructor(producer: Producer, topic: string, confluent?: Confluent) {
    this.#producer = producer
    this.#topic = topic
    this.#confluent = confluent
  }

  /** @returns Bytes of all values. */
  async fill(runs: readonly { next(): Message }[], events: number): Promise<number> {
    const batches = runs.map(() => Array.from({ length: PARTITIONS }, (): Message[] => []))
    let bytes = 0
    for (let made = 0; made < events; made++) {
      const turn = Math.floor(made / BATCH_RECORDS) % runs.length
      const message = runs[turn]?.next()
      const batch = batches[turn]?.[message?.partition ?? 0]
      if (message === undefined || batch === undefined) continue
      bytes += message.value.length
      batch.push(message)
      if (batch.length === BATCH_RECORDS) await this.#send(batch)
    }
    for (const batch of batches.flat()) await this.#send(batch)
    await Promise.all(this.#sending)
    return bytes
  }

  /** Sends the batch, with one send in flight for each partition. The batch is empty afterwards. */
  async #send(batch: Message[]): Promise<void> {
    const partition = batch[0]?.partition
    if (partition === undefined) return
    await this.#sending[partition]
    const messages = batch.splice(0)
    const topicMessages = [{ topic: this.#topic, messages }]
    if (this.#confluent !== undefined) {
      const { topic, registryId } = this.#confluent
      const reframed = messages.map((message) => ({
        ...message,
        value: reframeToConfluent(Buffer.from(message.value), registryId),
      }))
      topicMessages.push({ topic, messages: reframed })
    }
    this.#sending[partition] = this.#producer.sendBatch({ compression: ZSTD, topicMessages })
  }
}
