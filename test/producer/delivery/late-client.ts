/**
 * Loaded before the program, in each of its threads. Rejects one send of kafkajs, whose client keeps the records.
 * Once many later sends are acknowledged, a client sends the kept records: a client whose connection was cut in the middle
 * of a send may do so. Prints the number of records that were sent late.
 */
import { writeSync } from 'node:fs'
import kafkajs, { type Producer, type ProducerRecord, type RecordMetadata } from 'kafkajs'

const REJECTED = 3
const LATE = 23

type MakeProducer = typeof kafkajs.Kafka.prototype.producer
const kafka = kafkajs.Kafka.prototype as { producer: MakeProducer }
const makeProducer = kafka.producer
let sends = 0
let kept: ProducerRecord | undefined

kafka.producer = function makeFaulty(this: typeof kafkajs.Kafka.prototype, options): Producer {
  const producer = makeProducer.call(this, options)
  return { ...producer, send: (record) => send(record, producer, () => makeProducer.call(this, options)) }
}

async function send(record: ProducerRecord, producer: Producer, makeClient: () => Producer): Promise<RecordMetadata[]> {
  sends++
  if (sends === REJECTED) {
    kept = record
    throw new Error('the test has cut off this send')
  }
  const answer = await producer.send(record)
  if (sends < LATE || kept === undefined) return answer
  const late = kept
  kept = undefined
  const client = makeClient()
  await client.connect()
  await client.send(late)
  await client.disconnect()
  writeSync(1, `late ${late.messages.length}\n`)
  return answer
}
