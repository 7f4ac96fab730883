/**
 * Writes produce requests in kafkajs's place. Its own writer makes about a dozen buffers a record, one of 512 bytes, which
 * costs more than the rest of delivery's work on a record. This file loads kafkajs: import it only where kafkajs is needed.
 *
 * Formats: ProduceRequest version 7, which every broker since 2.1 takes and kafkajs chooses then, and RecordBatch with
 * magic 2; https://kafka.apache.org/protocol and https://kafka.apache.org/documentation/#recordbatch.
 */
import { varintBytes, writeLong } from '@agent-audit/schemas'
// Imports, not calls of require: a bundler follows them, and puts in the copy of kafkajs that the sender uses.
import encoderModule from 'kafkajs/src/protocol/encoder.js'
import compressionModule from 'kafkajs/src/protocol/message/compression/index.js'
import crc32CModule from 'kafkajs/src/protocol/recordBatch/crc32C/index.js'
import requestsModule from 'kafkajs/src/protocol/requests/produce/index.js'
import response from 'kafkajs/src/protocol/requests/produce/v7/response.js'
import type { OutgoingRecord } from '../sender.ts'

const VERSION = 7
const PRODUCE_API = 0
const NO_TIMESTAMP_DELTA = 0
const NO_HEADERS = 0

/** The argument that kafkajs's producer passes to the writer of a request. */
interface ProduceOrder {
  readonly acks: number
  readonly timeout: number
  readonly compression: number
  readonly transactionalId?: string | null
  readonly producerId: string | number
  readonly producerEpoch: number
  readonly topicData: readonly { readonly topic: string; readonly partitions: readonly PartitionData[] }[]
}

interface PartitionData {
  readonly partition: number
  readonly firstSequence: number
  readonly messages: readonly OutgoingRecord[]
}

/** kafkajs's own writer, used for the fields around the records. */
interface Encoder {
  writeInt16(value: number): this
  writeInt32(value: number): this
  writeString(value: string | null): this
  writeBytes(value: Buffer): this
}

interface Codec {
  compress(encoder: { readonly buffer: Buffer }): Promise<Buffer>
}

type ProduceRequests = { protocol(choice: { version: number }): (order: ProduceOrder) => unknown }

const KafkajsEncoder = encoderModule as new (bytes: number) => Encoder
const compression = compressionModule as { lookupCodec(type: number): Codec | null }
const crc32C = crc32CModule as (bytes: Buffer) => number
const requests = requestsModule as ProduceRequests & { replaced?: boolean }

/** Makes every kafkajs producer of this thread write records in this way: with a key and a value, without headers. */
export function replaceProduceWriter(): void {
  if (requests.replaced === true) return
  const protocol = requests.protocol.bind(requests)
  requests.replaced = true
  requests.protocol = (choice) => (choice.version === VERSION ? produce : protocol(choice))
}

function produce(order: ProduceOrder): unknown {
  const request = {
    apiKey: PRODUCE_API,
    apiVersion: VERSION,
    apiName: 'Produce',
    expectResponse: () => order.acks !== 0,
    encode: () => writeRequest(order),
  }
  return { request, response }
}

async function writeRequest(order: ProduceOrder): Promise<Encoder> {
  const batches = new Map<PartitionData, Buffer>()
  for (const data of order.topicData.flatMap(({ partitions }) => partitions)) {
    batches.set(data, await writeBatch(order, data))
  }
  const encoder = new KafkajsEncoder([...batches.values()].reduce((bytes, batch) => bytes + batch.length, 1024))
  encoder
    .writeString(order.transactionalId ?? null)
    .writeInt16(order.acks)
    .writeInt32(order.timeout)
  encoder.writeInt32(order.topicData.length)
  for (const { topic, partitions } of order.topicData) {
    encoder.writeString(topic).writeInt32(partitions.length)
    for (const data of partitions) encoder.writeInt32(data.partition).writeBytes(batches.get(data) ?? Buffer.alloc(0))
  }
  for (const batch of batches.values()) free(batch)
  return encoder
}

/** Frees the memory of a buffer that shares it with no other: garbage this large would stay for long. */
function free({ buffer }: Buffer): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0)
}

/** Positions in a record batch, bytes from its start. The length and the checksum each cover the bytes behind them. */
const AT = { length: 8, epoch: 12, magic: 16, checksum: 17, attributes: 21, lastOffset: 23, timestamps: 27 }
const AT_PRODUCER = { id: 43, epoch: 51, sequence: 53, count: 57 }
const HEAD_BYTES = 61
const LENGTH_END = 12
const MAGIC = 2
const IN_TRANSACTION = 0x10

async function writeBatch(order: ProduceOrder, { messages, firstSequence }: PartitionData): Promise<Buffer> {
  const plain = writeRecords(messages)
  const packed = (await compression.lookupCodec(order.compression)?.compress({ buffer: plain })) ?? plain
  if (packed !== plain) free(plain)
  const batch = Buffer.alloc(HEAD_BYTES + packed.length)
  batch.writeInt32BE(batch.length - LENGTH_END, AT.length)
  batch.writeInt8(MAGIC, AT.magic)
  batch.writeInt16BE(order.compression | (order.transactionalId ? IN_TRANSACTION : 0), AT.attributes)
  batch.writeInt32BE(messages.length - 1, AT.lastOffset)
  const now = BigInt(Date.now())
  batch.writeBigInt64BE(now, AT.timestamps)
  batch.writeBigInt64BE(now, AT.timestamps + 8)
  batch.writeBigInt64BE(BigInt(order.producerId), AT_PRODUCER.id)
  batch.writeInt16BE(order.producerEpoch, AT_PRODUCER.epoch)
  batch.writeInt32BE(firstSequence, AT_PRODUCER.sequence)
  batch.writeInt32BE(messages.length, AT_PRODUCER.count)
  batch.set(packed, HEAD_BYTES)
  batch.writeUInt32BE(crc32C(batch.subarray(AT.attributes)), AT.checksum)
  return batch
}

/** Bytes of a record around its key and value, at most: attributes, four numbers of up to 5 bytes, its time, no headers. */
const MOST_AROUND_BYTES = 24

function writeRecords(messages: readonly OutgoingRecord[]): Buffer {
  let most = 0
  for (const message of messages) most += message.bytes + MOST_AROUND_BYTES
  const bytes = Buffer.allocUnsafeSlow(most)
  let at = 0
  for (let index = 0; index < messages.length; index++) {
    const { key, value } = messages[index] as OutgoingRecord
    const around = 3 + varintBytes(index) + varintBytes(key.length) + varintBytes(value.length)
    at = writeLong(bytes, at, around + key.length + value.length)
    bytes[at++] = 0 // Attributes: none is in use.
    bytes[at++] = NO_TIMESTAMP_DELTA
    at = writeLong(bytes, at, index)
    at = writeLong(bytes, at, key.length)
    bytes.set(key, at)
    at = writeLong(bytes, at + key.length, value.length)
    bytes.set(value, at)
    at += value.length
    bytes[at++] = NO_HEADERS
  }
  return bytes.subarray(0, at)
}
