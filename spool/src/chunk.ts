/** A chunk: the records that a recorder commits at once, and their encoding as a row. Pure: no I/O. */
import { crc32 } from 'node:zlib'
import { InvalidInputError } from '@agent-audit/schemas'

/** Records from the recorder: their bytes back to back, and the position of each record and of its key. */
export interface Chunk {
  /** Encoded records back to back, nothing between or after them. */
  readonly bytes: Uint8Array
  /** End of each record in `bytes`: record i spans `ends[i - 1] ?? 0` to `ends[i]`. One entry a record, at least one. */
  readonly ends: Uint32Array
  /** Start of each record's message key (session_id, UTF-8) in `bytes`; the key is inside its own record. */
  readonly keyStarts: Uint32Array
  /** Length of each key in bytes. */
  readonly keyLengths: Uint32Array
  /**
   * Kafka partition of each record, chosen once, never changed; 0 or more. While the number of partitions is unknown, each
   * record has `~hash` of its key instead, below 0; its partition is `hash % partitions` once the number is known.
   */
  readonly partitions: Int32Array
  /** run_seq of the first record; the others follow without a gap. */
  readonly firstSeq: number
}

const COLUMNS = 4

/** @throws InvalidInputError `OPTIONS_INVALID` when the chunk does not describe its own bytes. */
export function checkChunk(chunk: Chunk): void {
  const fault = findFault(chunk)
  if (fault !== undefined) throw new InvalidInputError('OPTIONS_INVALID', `chunk: ${fault}`)
}

function findFault(chunk: Chunk): string | undefined {
  const { bytes, ends, keyStarts, keyLengths, partitions, firstSeq } = chunk
  const count = ends.length
  if (count === 0) return 'expected at least one record'
  if (keyStarts.length !== count || keyLengths.length !== count || partitions.length !== count) {
    return `ends, keyStarts, keyLengths and partitions must have one length, not ${count}, ${keyStarts.length}, ${keyLengths.length}, ${partitions.length}`
  }
  if (!Number.isSafeInteger(firstSeq) || firstSeq < 0) return `firstSeq must be a whole number from 0, not ${firstSeq}`
  let start = 0
  for (let index = 0; index < count; index++) {
    const end = ends[index] ?? 0
    const keyStart = keyStarts[index] ?? 0
    const keyEnd = keyStart + (keyLengths[index] ?? 0)
    if (end < start) return `record ${index} ends at ${end}, before its start ${start}`
    if (keyStart < start || keyEnd > end) return `key of record ${index} is outside of its record`
    if (isUnassigned(chunk) !== (partitions[index] ?? 0) < 0)
      return `either all records have a partition or none, unlike record ${index}`
    start = end
  }
  return start === bytes.length ? undefined : `records end at ${start}, the bytes at ${bytes.length}`
}

/** Whether its records have no partition yet: `partitions` holds hashes. */
export function isUnassigned({ partitions }: Chunk): boolean {
  return (partitions[0] ?? 0) < 0
}

/** The chunk with a partition for each record, out of `count`. @param chunk - Unassigned: it has hashes instead. */
export function assignPartitions(chunk: Chunk, count: number): Chunk {
  return { ...chunk, partitions: chunk.partitions.map((complement) => ~complement % count) }
}

/** A chunk of one record of another chunk. */
export function chunkOfRecord(chunk: Chunk, index: number): Chunk {
  const start = index === 0 ? 0 : (chunk.ends[index - 1] ?? 0)
  const bytes = chunk.bytes.slice(start, chunk.ends[index])
  return {
    bytes,
    ends: Uint32Array.of(bytes.length),
    keyStarts: Uint32Array.of((chunk.keyStarts[index] ?? 0) - start),
    keyLengths: chunk.keyLengths.slice(index, index + 1),
    partitions: chunk.partitions.slice(index, index + 1),
    firstSeq: chunk.firstSeq + index,
  }
}

/** The four tables of a chunk as one blob, 16 bytes per record, in this machine's byte order: the file stays on it. */
export function packLayout(chunk: Chunk): Uint8Array {
  const count = chunk.ends.length
  const packed = new Uint32Array(COLUMNS * count)
  packed.set(chunk.ends, 0)
  packed.set(chunk.keyStarts, count)
  packed.set(chunk.keyLengths, 2 * count)
  packed.set(new Uint32Array(chunk.partitions.buffer, chunk.partitions.byteOffset, count), 3 * count)
  return new Uint8Array(packed.buffer)
}

/** The chunk of a row, as views of `layout` and `bytes`; undefined when the layout does not have `count` records. */
export function unpackChunk(row: {
  firstSeq: number
  count: number
  layout: Uint8Array
  bytes: Uint8Array
}): Chunk | undefined {
  const { firstSeq, count, bytes } = row
  if (row.layout.length !== 4 * COLUMNS * count) return undefined
  // Typed arrays of 4 bytes need an aligned start, which a blob from SQLite does not promise.
  const layout = row.layout.byteOffset % 4 === 0 ? row.layout : row.layout.slice()
  const at = (column: number): [ArrayBufferLike, number, number] => [
    layout.buffer,
    layout.byteOffset + 4 * column * count,
    count,
  ]
  return {
    bytes,
    ends: new Uint32Array(...at(0)),
    keyStarts: new Uint32Array(...at(1)),
    keyLengths: new Uint32Array(...at(2)),
    partitions: new Int32Array(...at(3)),
    firstSeq,
  }
}

/**
 * CRC-32 over a chunk's row and its topic: a damaged topic must not send the chunk elsewhere. SQLite checks its write-ahead
 * log, but not the pages of the file.
 */
export function chunkChecksum(row: {
  topic: string
  id: number
  firstSeq: number
  layout: Uint8Array
  bytes: Uint8Array
}): number {
  return crc32(row.bytes, crc32(row.layout, crc32(`${row.topic} ${row.id} ${row.firstSeq}`)))
}
