/** A batch of the embedded log: records that were appended together, in one row. Pure: no I/O. */
import { crc32 } from 'node:zlib'

/** A record to append. A null value is a tombstone, which is not the same as an empty value. */
export interface LogAppend {
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
}

export interface LogRecord extends LogAppend {
  readonly offset: number
  /** When it was appended, milliseconds since 1970; never falls within a partition. */
  readonly appendTimeMs: number
}

export interface PackedBatch {
  /** Length of key and value of each record, -1 for null; in this machine's byte order: the file stays on it. */
  readonly layout: Uint8Array
  /** Keys and values back to back. */
  readonly body: Uint8Array
  readonly checksum: number
  readonly count: number
}

/** A larger record gets a separate batch. Small enough that reading a few records does not load much. */
const BATCH_BYTES = 1024 * 1024
const NULL = -1

/** Bytes that a record counts in limits. */
export function sizeOf(record: LogAppend): number {
  return (record.key?.length ?? 0) + (record.value?.length ?? 0)
}

/** Cuts records into batches of about a mebibyte, in order. */
export function packBatches(records: readonly LogAppend[]): PackedBatch[] {
  const batches: PackedBatch[] = []
  let first = 0
  let bytes = 0
  for (const [index, record] of records.entries()) {
    const size = sizeOf(record)
    if (index > first && bytes + size > BATCH_BYTES) {
      batches.push(pack(records.slice(first, index), bytes))
      first = index
      bytes = 0
    }
    bytes += size
  }
  batches.push(pack(records.slice(first), bytes))
  return batches
}

function pack(records: readonly LogAppend[], bytes: number): PackedBatch {
  const lengths = new Int32Array(2 * records.length)
  const body = new Uint8Array(bytes)
  let at = 0
  let column = 0
  for (const { key, value } of records) {
    for (const part of [key, value]) {
      lengths[column++] = part?.length ?? NULL
      if (part === null) continue
      body.set(part, at)
      at += part.length
    }
  }
  const layout = new Uint8Array(lengths.buffer)
  return { layout, body, checksum: checksumOf(layout, body), count: records.length }
}

export function checksumOf(layout: Uint8Array, body: Uint8Array): number {
  return crc32(body, crc32(layout))
}

/** The records of a batch; keys and values view `body`. */
export function unpackBatch(row: {
  baseOffset: number
  appendTimeMs: number
  layout: Uint8Array
  body: Uint8Array
}): LogRecord[] {
  const { baseOffset, appendTimeMs, body } = row
  const layout = row.layout.byteOffset % 4 === 0 ? row.layout : row.layout.slice()
  const lengths = new Int32Array(layout.buffer, layout.byteOffset, layout.length / 4)
  const records: LogRecord[] = []
  let at = 0
  const take = (length: number): Uint8Array | null => {
    if (length === NULL) return null
    at += length
    return body.subarray(at - length, at)
  }
  for (let column = 0; column < lengths.length; column += 2) {
    const key = take(lengths[column] ?? NULL)
    const value = take(lengths[column + 1] ?? NULL)
    records.push({ offset: baseOffset + column / 2, appendTimeMs, key, value })
  }
  return records
}
