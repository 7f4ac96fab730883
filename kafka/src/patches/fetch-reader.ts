/**
 * Reads Kafka's fetch responses in kafkajs's place. Its own reader makes about a dozen objects a record (a decoder, a slice,
 * a 64-bit number and its text for an offset), which costs more than the rest of the consumer's work on a record.
 * Here the response for a partition is one message to kafkajs, which passes it on. The assignment unpacks its record batches.
 *
 * Format: FetchResponse version 11, which every broker since 2.3 speaks; https://kafka.apache.org/protocol.
 */
import { createRequire } from 'node:module'
import { LEAST_BATCH_BYTES, PackedBatch } from './record-batch.ts'

/** kafkajs's own reader, used for the fields around the records. */
interface Decoder {
  readInt16(): number
  readInt32(): number
  readInt64(): bigint
  readString(): string
  readBytes(length: number): Buffer
  readArray<T>(read: (decoder: Decoder) => T): T[]
}

const load = createRequire(import.meta.url)
const KafkajsDecoder = load('kafkajs/src/protocol/decoder') as new (bytes: Buffer) => Decoder
const response = load('kafkajs/src/protocol/requests/fetch/v11/response') as {
  decode(bytes: Buffer): Promise<unknown>
}

/** Makes every kafkajs consumer of this process read records in this way. */
export function replaceFetchReader(): void {
  response.decode = readFetchResponse
}

/** The result of one fetch of one partition. To kafkajs it is a message at the last fetched offset, so it continues after it. */
export class FetchedBatches {
  readonly offset: number
  /** Without aborted transactions and control batches. Offsets in none of the batches are holes. */
  readonly batches: readonly PackedBatch[]

  constructor(offset: number, batches: readonly PackedBatch[]) {
    this.offset = offset
    this.batches = batches
  }
}

async function readFetchResponse(bytes: Buffer): Promise<unknown> {
  const decoder = new KafkajsDecoder(bytes)
  return {
    // The broker does not throttle this request; it expects the client to wait before the next one.
    throttleTime: 0,
    clientSideThrottleTime: decoder.readInt32(),
    errorCode: decoder.readInt16(),
    sessionId: decoder.readInt32(),
    responses: decoder.readArray(() => ({
      topicName: decoder.readString(),
      partitions: decoder.readArray(readPartition),
    })),
  }
}

function readPartition(decoder: Decoder): unknown {
  const head = {
    partition: decoder.readInt32(),
    errorCode: decoder.readInt16(),
    highWatermark: decoder.readInt64().toString(),
    lastStableOffset: decoder.readInt64().toString(),
    lastStartOffset: decoder.readInt64().toString(),
  }
  const aborted = decoder.readArray(() => ({
    producerId: decoder.readInt64(),
    firstOffset: Number(decoder.readInt64()),
  }))
  const preferredReadReplica = decoder.readInt32()
  const batches = readRecordBatches(decoder.readBytes(Math.max(0, decoder.readInt32())))
  const last = batches.at(-1)
  const messages = last === undefined ? [] : [new FetchedBatches(last.lastOffset, committedOf(batches, aborted))]
  return { ...head, abortedTransactions: [], preferredReadReplica, messages }
}

/** Positions in a record batch, bytes from its start. The length field counts the bytes behind it. */
const [LENGTH, LENGTH_END] = [8, 12]

/** A faulty batch is the last one: its length may be wrong. It stops its own partition, once the pipeline comes to it. */
function readRecordBatches(bytes: Buffer): PackedBatch[] {
  const batches: PackedBatch[] = []
  // The last batch may be cut off at the size limit of the fetch. The next fetch brings it whole.
  for (let start = 0; start + LEAST_BATCH_BYTES <= bytes.length;) {
    const end = start + LENGTH_END + bytes.readInt32BE(start + LENGTH)
    if (end > bytes.length) break
    const batch = new PackedBatch(bytes.subarray(start, Math.max(end, start + LEAST_BATCH_BYTES)))
    batches.push(batch)
    if (batch.fault !== undefined) break
    start = end
  }
  return batches
}

interface AbortedTransaction {
  readonly producerId: bigint
  readonly firstOffset: number
}

/** A batch has one producer, and lies wholly inside or outside of a transaction. */
function committedOf(batches: readonly PackedBatch[], aborted: readonly AbortedTransaction[]): PackedBatch[] {
  const coming = aborted.toSorted((one, other) => one.firstOffset - other.firstOffset)
  const open = new Set<bigint>()
  return batches.filter((batch) => {
    for (; coming[0] !== undefined && coming[0].firstOffset <= batch.lastOffset; coming.shift()) {
      open.add(coming[0].producerId)
    }
    if (batch.isControl && batch.isAbort) open.delete(batch.producerId)
    return !batch.isControl && !(batch.inTransaction && open.has(batch.producerId))
  })
}
