/**
 * Record batches of Kafka and their records, read from the bytes that the broker stores: RecordBatch with magic 2, the only
 * one that brokers since 4.0 store; https://kafka.apache.org/documentation/#recordbatch.
 */
import { type BatchDecoders, type LogRecord, storableLogTime } from '../source.ts'
import { unpackContent } from './codecs.ts'
import { crc32c } from './crc32c.ts'

/** Positions in a record batch, bytes from its start. */
const AT = {
  magic: 16,
  crc: 17,
  /** From here on the CRC counts. */
  attributes: 21,
  lastOffsetDelta: 23,
  firstTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  count: 57,
}
const HEAD_BYTES = 61
/** Up to the magic: what every format begins with. */
export const LEAST_BATCH_BYTES: number = AT.magic + 1
const [COMPRESSED, LOG_APPEND_TIME, IN_TRANSACTION, CONTROL] = [0x07, 0x08, 0x10, 0x20]

/** Fields that the records of a batch share. */
interface RecordBatch {
  /** The records one after the other, unpacked. */
  readonly bytes: Buffer
  readonly firstOffset: number
  readonly firstTimestamp: number
  readonly maxTimestamp: number
  readonly logAppendTime: boolean
}

/** Approximate size of an object and of the references to it, bytes. */
const OBJECT_BYTES = 120

/** A record for the pipeline: positions in the bytes of its batch. Its key, value and headers are made on access. */
class FetchedRecord implements LogRecord {
  readonly offset: number
  readonly logTimeMs: number
  readonly #bytes: Buffer
  readonly #keyAt: number
  readonly #valueAt: number
  /** -1 for null. */
  readonly #valueLength: number

  /** @param reader - Stands behind the record's attributes; afterwards somewhere inside the record. */
  constructor(batch: RecordBatch, reader: RecordReader) {
    const timeDelta = reader.varint()
    this.offset = batch.firstOffset + reader.varint()
    this.logTimeMs = storableLogTime(batch.logAppendTime ? batch.maxTimestamp : batch.firstTimestamp + timeDelta)
    this.#bytes = batch.bytes
    this.#keyAt = reader.position
    const keyLength = reader.varint()
    reader.position += Math.max(0, keyLength)
    this.#valueLength = reader.varint()
    this.#valueAt = reader.position
  }

  get value(): Buffer | null {
    if (this.#valueLength < 0) return null
    return this.#bytes.subarray(this.#valueAt, this.#valueAt + this.#valueLength)
  }

  get key(): Buffer | null {
    return new RecordReader(this.#bytes, this.#keyAt).bytes()
  }

  get headers(): Readonly<Record<string, unknown>> | undefined {
    return new RecordReader(this.#bytes, this.#valueAt + Math.max(0, this.#valueLength)).headers()
  }
}

/**
 * A record batch as the broker stores it. It may wait for long, so it stays packed: unpacked, with an object a record, it
 * weighs many times as much.
 */
export class PackedBatch {
  readonly firstOffset: number
  /** Last offset that the batch covers, whether or not a record is left there. */
  readonly lastOffset: number
  /** Whether it is a control batch: the marker that ends a transaction, and no records. */
  readonly isControl: boolean
  readonly inTransaction: boolean
  readonly producerId: bigint
  /** Why no field but `firstOffset` can be trusted: another format, or a wrong CRC. Then `unpack` throws it. */
  readonly fault: string | undefined
  readonly #bytes: Buffer
  readonly #attributes: number

  /**
   * @param bytes - At least {@link LEAST_BATCH_BYTES}. Kept as a view if they are most of their buffer, else copied: a view
   * retains the whole buffer.
   */
  constructor(bytes: Buffer) {
    this.fault = faultOf(bytes)
    const sound = this.fault === undefined
    this.#bytes = 2 * bytes.length > bytes.buffer.byteLength ? bytes : Buffer.from(bytes)
    this.#attributes = sound ? bytes.readInt16BE(AT.attributes) : 0
    this.firstOffset = Number(bytes.readBigInt64BE(0))
    this.lastOffset = this.firstOffset + (sound ? bytes.readInt32BE(AT.lastOffsetDelta) : 0)
    this.isControl = (this.#attributes & CONTROL) !== 0
    this.inTransaction = (this.#attributes & IN_TRANSACTION) !== 0
    this.producerId = sound ? bytes.readBigInt64BE(AT.producerId) : -1n
  }

  /** Bytes that it retains while it waits. */
  get weight(): number {
    return this.#bytes.length + OBJECT_BYTES
  }

  /** Of a control batch: whether it aborts its transaction. Control records are never compressed. */
  get isAbort(): boolean {
    const key = this.#read(this.#bytes.subarray(HEAD_BYTES))[0]?.key
    return key?.readInt16BE(2) === 0
  }

  /** @throws Error that names the reason if the batch cannot be unpacked. */
  async unpack(decoders: BatchDecoders): Promise<UnpackedBatch> {
    if (this.fault !== undefined) throw new Error(this.fault)
    const packed = this.#bytes.subarray(HEAD_BYTES)
    const codec = this.#attributes & COMPRESSED
    if (codec === 0) return unpackedBatch(this.#read(packed), 0, () => undefined)
    const unpacked = await unpackContent(codec, packed, decoders)
    return unpackedBatch(this.#read(unpacked), unpacked.length, () => freeNow(unpacked))
  }

  #read(unpacked: Buffer): FetchedRecord[] {
    const batch: RecordBatch = {
      bytes: unpacked,
      firstOffset: this.firstOffset,
      firstTimestamp: Number(this.#bytes.readBigInt64BE(AT.firstTimestamp)),
      maxTimestamp: Number(this.#bytes.readBigInt64BE(AT.maxTimestamp)),
      logAppendTime: (this.#attributes & LOG_APPEND_TIME) !== 0,
    }
    const records: FetchedRecord[] = []
    const reader = new RecordReader(unpacked)
    let end = 0
    for (let left = this.#bytes.readInt32BE(AT.count); left > 0; left--) {
      reader.position = end
      const length = reader.varint()
      end = reader.position + length
      if (end > unpacked.length) throw new RangeError('record batch ends within a record')
      // The attributes of a record: none is in use.
      reader.position++
      records.push(new FetchedRecord(batch, reader))
    }
    if (end < unpacked.length) throw new RangeError('record batch goes on behind its last record')
    return records
  }
}

function faultOf(bytes: Buffer): string | undefined {
  const magic = bytes.readInt8(AT.magic)
  if (magic !== 2) return `record batch of magic ${magic}: expected 2, which brokers since 0.11 write`
  if (bytes.length < HEAD_BYTES) return `record batch of ${bytes.length} bytes: expected at least ${HEAD_BYTES}`
  const [stored, actual] = [bytes.readUInt32BE(AT.crc), crc32c(bytes.subarray(AT.attributes))]
  return stored === actual ? undefined : `its CRC-32C is ${hex(actual)}, expected ${hex(stored)}`
}

function hex(crc: number): string {
  return crc.toString(16).padStart(8, '0')
}

/** The unpacked records of a batch. */
export interface UnpackedBatch {
  readonly records: readonly LogRecord[]
  /** Bytes that they take, beside the packed batch. */
  readonly bytes: number
  /** Frees the memory. The records then have no content. */
  readonly free: () => void
}

function unpackedBatch(records: readonly LogRecord[], bytes: number, free: () => void): UnpackedBatch {
  return { records, bytes: bytes + OBJECT_BYTES * records.length, free }
}

/** Free the buffer now: V8 collects external memory only after about 100 MB, so dead buffers would dominate RSS. */
function freeNow({ buffer }: Buffer): void {
  // Small buffers share a pool.
  if (buffer instanceof ArrayBuffer && buffer.byteLength > Buffer.poolSize) buffer.transfer(0)
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

  /** Bytes with a length prefix; null if the length is -1. */
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
      // As in kafkajs, a name that comes more than once has a list of values.
      if (before === undefined) headers[name] = value
      else headers[name] = Array.isArray(before) ? [...(before as unknown[]), value] : [before, value]
    }
    return headers
  }
}
