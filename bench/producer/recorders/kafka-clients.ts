/** Kafka clients with default settings: the event as JSON, acknowledged by all replicas. */
import { setImmediate } from 'node:timers/promises'
import { Producer as PlatformaticProducer, stringSerializers } from '@platformatic/kafka'
import { connectKafka, ZSTD } from '../../support/kafka.ts'
import { bytesOf, toMessages } from './plain-events.ts'
import type { OpenRecorder, Recorder, RecorderOrder } from './recorder.ts'

interface Message {
  readonly key: string
  readonly value: string
}

/** A connected client. */
interface Client {
  send(messages: Message[], compress: boolean): Promise<unknown>
  close(): Promise<unknown>
}

type Connect = (order: RecorderOrder) => Promise<Client>

const BATCH_EVENTS = 1000

export const kafkajs: Connect = async ({ brokers, topic }) => {
  const producer = connectKafka(brokers).producer({ allowAutoTopicCreation: false })
  await producer.connect()
  return {
    send: (messages, compress) => producer.send({ topic, messages, ...(compress && { compression: ZSTD }) }),
    close: () => producer.disconnect(),
  }
}

export const platformatic: Connect = ({ brokers, topic }) => {
  const producer = new PlatformaticProducer({
    clientId: 'bench',
    bootstrapBrokers: [...brokers],
    serializers: stringSerializers,
    acks: -1,
  })
  return Promise.resolve({
    send: (messages, compress) =>
      producer.send({
        messages: messages.map((message) => ({ topic, ...message })),
        ...(compress && { compression: 'zstd' }),
      }),
    close: () => producer.close(),
  })
}

/** This many events in a send, with zstd; the next send follows the answer. */
export function inBatches(connect: Connect): OpenRecorder {
  return async (order) => {
    const client = await connect(order)
    const batch: Message[] = []
    return recorderOf(client, {
      async take(messages) {
        batch.push(...messages)
        if (batch.length >= BATCH_EVENTS) await client.send(batch.splice(0, BATCH_EVENTS), true)
      },
      async flush() {
        if (batch.length > 0) await client.send(batch.splice(0), true)
      },
    })
  }
}

/** One send for each event. */
export function oneByOne(connect: Connect, { awaited }: { awaited: boolean }): OpenRecorder {
  return async (order) => {
    const client = await connect(order)
    const sending: Promise<unknown>[] = []
    return recorderOf(client, {
      async take(messages) {
        for (const message of messages) {
          const sent = client.send([message], false)
          if (awaited) await sent
          else sending.push(sent)
        }
      },
      async flush() {
        await Promise.all(sending.splice(0))
      },
    })
  }
}

interface Way {
  take(messages: Message[]): Promise<void>
  flush(): Promise<void>
}

function recorderOf(client: Client, way: Way): Recorder {
  return {
    async play(script) {
      const messages = toMessages(script)
      await way.take(messages)
      await setImmediate()
      return { events: messages.length, bytes: bytesOf(messages) }
    },
    flush: () => way.flush(),
    close: () => client.close(),
  }
}
