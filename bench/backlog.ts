/** Fills a topic with records, as several producers at once would: the backlog that consumers are measured on. */
import type { Producer } from 'kafkajs'
import { connectKafka, createTopic, ZSTD } from './kafka.ts'
import { fieldsOf, type Message, Run } from './records.ts'
import type { SessionScript } from './sessions.ts'

export interface Backlog {
  readonly name: string
  readonly topic: string
  readonly events: number
  readonly partitions: number
  /** Mean of an encoded record, framing left out, bytes. */
  readonly recordBytes: number
}

const RUNS = 8
const PARTITIONS = 4
/** Records of one run and partition in a batch: about what the producer sends under load. */
const BATCH_RECORDS = 1000
const FRAMING_BYTES = 10

export async function fillTopic(
  brokers: readonly string[],
  { name, events, scripts }: { name: string; events: number; scripts: readonly SessionScript[] },
): Promise<Backlog> {
  const kafka = connectKafka(brokers)
  const [admin, producer] = [kafka.admin(), kafka.producer({ allowAutoTopicCreation: false })]
  await Promise.all([admin.connect(), producer.connect()])
  const topic = `bench.${process.pid}.${Date.now()}`
  try {
    await createTopic(admin, topic, PARTITIONS)
    const bytes = await new Filler(producer, topic).fill(makeRuns(scripts), events)
    return { name, topic, events, partitions: PARTITIONS, recordBytes: Math.round(bytes / events - FRAMING_BYTES) }
  } finally {
    await Promise.all([admin.disconnect(), producer.disconnect()])
  }
}

function makeRuns(scripts: readonly SessionScript[]): Run[] {
  const plans = scripts.map(fieldsOf)
  return Array.from({ length: RUNS }, (_, number) => new Run(number, plans, PARTITIONS))
}

class Filler {
  readonly #producer: Producer
  readonly #topic: string
  /** The last send of each partition. */
  readonly #sending: Promise<unknown>[] = Array.from({ length: PARTITIONS }, () => Promise.resolve())

  constructor(producer: Producer, topic: string) {
    this.#producer = producer
    this.#topic = topic
  }

  /** @returns Bytes of all values. */
  async fill(runs: readonly Run[], events: number): Promise<number> {
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

  /** One send a partition at a time. The batch is empty afterwards. */
  async #send(batch: Message[]): Promise<void> {
    const partition = batch[0]?.partition
    if (partition === undefined) return
    await this.#sending[partition]
    const messages = batch.splice(0)
    this.#sending[partition] = this.#producer.send({ topic: this.#topic, compression: ZSTD, messages })
  }
}
