/**
 * Reads Kafka's fetch responses in kafkajs's place. Its own reader makes about a dozen objects a record (a decoder, a slice,
 * a 64-bit number and its text for an offset), which costs more than all the rest of the consumer does with a record.
 * What comes out is what kafkajs and the pipeline both take: one object a record over the buffer it arrived in.
 *
 * Formats: FetchResponse version 11, which every broker since 2.3 speaks, and RecordBatch with magic 2, the only one that
 * brokers since 4.0 store; https://kafka.apache.org/protocol and https://kafka.apache.org/documentation/#recordbatch.
 */
import { createRequire } from 'node:module'
import type { LogRecord } from './source.ts'

/** The reader of kafkajs that is good enough for what is around the records. */
interface Decoder {
  readonly buffer: Buffer
  readInt16(): number
  readInt32(): number
  readInt64(): bigint
  readString(): string
  readBytes(length: number): Buffer
  readArray<T>(read: (decoder: Decoder) => T): T[]
  readArrayAsync<T>(read: (decoder: Decoder) => Promise<T>): Promise<T[]>
}

const require = createRequire(import.meta.url)
const KafkajsDecoder = require('kafkajs/src/protocol/decoder') as new (bytes: Buffer) => Decoder
const compression = require('kafkajs/src/protocol/message/compression') as {
  lookupCodecByAttributes(attributes: number): { decompress(bytes: Buffer): Promise<Buffer> } | null
}
const response = require('kafkajs/src/protocol/requests/fetch/v11/response') as {
  decode(bytes: Buffer): Promise<unknown>
}

/** From here on every kafkajs consumer of this process reads records in this way. */
export function replaceFetchReader(): void {
  response.decode = readFetchResponse
}

/** What the records of one batch have in common; kafkajs leaves out those of an aborted transaction by it. */
interface RecordBatch {
  /** The records one after the other, unpacked. */
  readonly bytes: Buffer
  readonly firstOffset: number
  readonly firstTimestamp: number
  readonly maxTimestamp: number
  readonly logAppendTime: boolean
  readonly isControlBatch: boolean
  readonly inTransaction: boolean
  readonly producerId: string
}

/**
 * A record as kafkajs hands it on, and as the pipeline takes it. It may wait long: so it is numbers over the bytes of its
 * batch, and its parts are made when they are asked for.
 */
export class FetchedRecord implements LogRecord {
  readonly offset: number
  readonly logTimeMs: number
  readonly batchContext: RecordBatch
  readonly #keyAt: number
  readonly #valueAt: number
  /** -1 for null. */
  readonly #valueLength: number

  /** @param reader - Stands after the record's attributes; afterwards somewhere inside of it. */
  constructor(batch: RecordBatch, reader: RecordReader) {
    const timeDelta = reader.varint()
    this.offset = batch.firstOffset + reader.varint()
    this.logTimeMs = batch.logAppendTime ? batch.maxTimestamp : batch.firstTimestamp + timeDelta
    this.batchContext = batch
    this.#keyAt = reader.position
    const keyLength = reader.varint()
    reader.position += Math.max(0, keyLength)
    this.#valueLength = reader.varint()
    this.#valueAt = reader.position
  }

  get isControlRecord(): boolean {
    return this.batchContext.isControlBatch
  }

  get value(): Buffer | null {
    if (this.#valueLength < 0) return null
    return this.batchContext.bytes.subarray(this.#valueAt, this.#valueAt + this.#valueLength)
  }

  /** What it weighs while it waits: its value, and about what the object and its place in lists take. */
  get weight(): number {
    return Math.max(0, this.#valueLength) + OBJECT_BYTES
  }

  get key(): Buffer | null {
    return new RecordReader(this.batchContext.bytes, this.#keyAt).bytes()
  }

  get headers(): Readonly<Record<string, unknown>> | undefined {
    return new RecordReader(this.batchContext.bytes, this.#valueAt + Math.max(0, this.#valueLength)).headers()
  }
}

const OBJECT_BYTES = 120

async function readFetchResponse(bytes: Buffer): Promise<unknown> {
  const decoder = new KafkajsDecoder(bytes)
  return {
    // The broker has not throttled this request; it expects the client to wait before the next.
    throttleTime: 0,
    clientSideThrottleTime: decoder.readInt32(),
    errorCode: decoder.readInt16(),
    sessionId: decoder.readInt32(),
    responses: await decoder.readArrayAsync(async () => ({
      topicName: decoder.readString(),
      partitions: await decoder.readArrayAsync(readPartition),
    })),
  }
}

async function readPartition(decoder: Decoder): Promise<unknown> {
  return {
    partition: decoder.readInt32(),
    errorCode: decoder.readInt16(),
    highWatermark: decoder.readInt64().toString(),
    lastStableOffset: decoder.readInt64().toString(),
    lastStartOffset: decoder.readInt64().toString(),
    abortedTransactions: decoder.readArray(() => ({
      producerId: decoder.readInt64().toString(),
      firstOffset: decoder.readInt64().toString(),
    })),
    preferredReadReplica: decoder.readInt32(),
    messages: await readRecordBatches(decoder.readBytes(Math.max(0, decoder.readInt32()))),
  }
}

/** Places in a record batch, bytes from its start. Its length counts from after the length itself. */
const AT = { length: 8, magic: 16, attributes: 21, firstTimestamp: 27, maxTimestamp: 35, producerId: 43, count: 57 }
const HEAD_BYTES = 61
const LENGTH_END = 12
const [COMPRESSED, LOG_APPEND_TIME, IN_TRANSACTION, CONTROL] = [0x07, 0x08, 0x10, 0x20]

async function readRecordBatches(bytes: Buffer): Promise<FetchedRecord[]> {
  const records: FetchedRecord[] = []
  // The last batch may be cut off, where the fetch reached its limit: it comes whole with the next one.
  for (let start = 0; start + HEAD_BYTES <= bytes.length;) {
    const end = start + LENGTH_END + bytes.readInt32BE(start + AT.length)
    if (end > bytes.length) break
    await readRecordBatch(bytes.subarray(start, end), records)
    start = end
  }
  return records
}

async function readRecordBatch(bytes: Buffer, records: FetchedRecord[]): Promise<void> {
  const magic = bytes.readInt8(AT.magic)
  if (magic !== 2) throw new Error(`record batch of magic ${magic}: expected 2, as brokers since 0.11 write it`)
  const attributes = bytes.readInt16BE(AT.attributes)
  const codec = (attributes & COMPRESSED) === 0 ? null : compression.lookupCodecByAttributes(attributes)
  const packed = bytes.subarray(HEAD_BYTES)
  const batch: RecordBatch = {
    bytes: codec === null ? packed : await codec.decompress(packed),
    firstOffset: Number(bytes.readBigInt64BE(0)),
    firstTimestamp: Number(bytes.readBigInt64BE(AT.firstTimestamp)),
    maxTimestamp: Number(bytes.readBigInt64BE(AT.maxTimestamp)),
    logAppendTime: (attributes & LOG_APPEND_TIME) !== 0,
    isControlBatch: (attributes & CONTROL) !== 0,
    inTransaction: (attributes & IN_TRANSACTION) !== 0,
    producerId: bytes.readBigInt64BE(AT.producerId).toString(),
  }
  const reader = new RecordReader(batch.bytes)
  let end = 0
  for (let left = bytes.readInt32BE(AT.count); left > 0; left--) {
    reader.position = end
    const length = reader.varint()
    end = reader.position + length
    if (end > batch.bytes.length) throw new RangeError('record batch ends within a record')
    // The attributes of a record: none is in use.
    reader.position++
    records.push(new FetchedRecord(batch, reader))
  }
}

/** Reads the fields of records. */
class RecordReader {
  readonly #bytes: Buffer
  position: number

  constructor(bytes: Buffer, position = 0) {
    this.#bytes = bytes
    this.position = position
  }

  /** A zigzag varint; exact for safe integers. */
  varint(): number {
    let factor = 1
    let zigzag = 0
    for (;;) {
      const byte = this.#bytes[this.position++]
      if (byte === undefined) throw new RangeError('record batch ends within a record')
      zigzag += (byte & 0x7f) * factor
      if (byte < 0x80) break
      factor *= 0x80
    }
    return zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2
  }

  /** Bytes with their length in front; null where it is -1. */
  bytes(): Buffer | null {
    const length = this.varint()
    if (length < 0) return null
    this.position += length
    return this.#bytes.subarray(this.position - length, this.position)
  }

  headers(): Record<string, unknown> | undefined {
    const count = this.varint()
    if (count === 0) return undefined
    const headers: Record<string, unknown> = {}
    for (let index = 0; index < count; index++) {
      const name = (this.bytes() ?? '').toString()
      const value = this.bytes()
      const before = headers[name]
      // A name may come more than once, as kafkajs has it: then its values are a list.
      if (before === undefined) headers[name] = value
      else headers[name] = Array.isArray(before) ? [...(before as unknown[]), value] : [before, value]
    }
    return headers
  }
}
