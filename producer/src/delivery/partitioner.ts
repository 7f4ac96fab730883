/** Chooses a record's partition as every Kafka client does for the same key. */
import { NEWEST_SCHEMA, SINGLE_OBJECT_BYTES } from '@agent-audit/schemas'
import type { Chunk } from '@agent-audit/spool'
import type { EncodedChunk } from './protocol.ts'

const SEED = 0x9747b28c
const M = 0x5bd1e995
const R = 24

/** MurmurHash2 with Kafka's seed, as its DefaultPartitioner takes it, without the sign. */
export function murmur2(bytes: Uint8Array, start: number, length: number): number {
  let h = SEED ^ length
  const tail = start + (length & ~3)
  for (let at = start; at < tail; at += 4) {
    let k = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24)
    k = Math.imul(k, M)
    k = Math.imul(k ^ (k >>> R), M)
    h = Math.imul(h, M) ^ k
  }
  const left = length & 3
  if (left === 3) h ^= (bytes[tail + 2] ?? 0) << 16
  if (left >= 2) h ^= (bytes[tail + 1] ?? 0) << 8
  if (left >= 1) h = Math.imul(h ^ (bytes[tail] ?? 0), M)
  h = Math.imul(h ^ (h >>> 13), M)
  return (h ^ (h >>> 15)) & 0x7fffffff
}

const KEY_FIELD = NEWEST_SCHEMA.fields.findIndex((field) => field.name === 'session_id')
/** For each field before the key: its bytes if fixed, 0 for a number, -1 for text. There is no other kind. */
const STEPS: readonly number[] = NEWEST_SCHEMA.fields.slice(0, KEY_FIELD).map(({ kind, size, name }) => {
  if (kind === 'fixed') return size
  if (kind === 'long') return 0
  if (kind === 'string' || kind === 'uuid') return -1
  throw new Error(`field ${name} is before the key and cannot be skipped`)
})

/**
 * Finds each record's key, and chooses its partition among `partitions`: once, never changed. While the number is unknown,
 * it stores the complement of the key's hash, and the spool assigns the partition once it is given the number.
 */
export function assignPartitions({ firstSeq, bytes, ends }: EncodedChunk, partitions: number | undefined): Chunk {
  const count = ends.length
  const chunk = {
    firstSeq,
    bytes,
    ends,
    keyStarts: new Uint32Array(count),
    keyLengths: new Uint32Array(count),
    partitions: new Int32Array(count),
  }
  let start = 0
  for (let index = 0; index < count; index++) {
    const at = findKey(bytes, start + SINGLE_OBJECT_BYTES)
    const length = readLength(bytes, at)
    const keyStart = skipVarint(bytes, at)
    chunk.keyStarts[index] = keyStart
    chunk.keyLengths[index] = length
    const hash = murmur2(bytes, keyStart, length)
    chunk.partitions[index] = partitions === undefined ? ~hash : hash % partitions
    start = ends[index] ?? 0
  }
  return chunk
}

function findKey(bytes: Uint8Array, body: number): number {
  let at = body
  for (const step of STEPS) {
    if (step > 0) at += step
    else if (step === 0) at = skipVarint(bytes, at)
    else at = skipVarint(bytes, at) + readLength(bytes, at)
  }
  return at
}

function skipVarint(bytes: Uint8Array, start: number): number {
  let at = start
  while ((bytes[at++] ?? 0) > 0x7f);
  return at
}

/** Length of a text that this producer has written: it fits into 31 bits. */
function readLength(bytes: Uint8Array, start: number): number {
  let zigzag = 0
  let at = start
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++] ?? 0
    zigzag |= (byte & 0x7f) << shift
    if (byte < 0x80) return zigzag >>> 1
  }
}
