/** Chunks made from numbers, the same in the test and in its child processes. */
import { createHash } from 'node:crypto'
import type { Chunk } from '@agent-audit/spool'

/** A run_id made from a number. */
export function runIdOf(number: number): string {
  return number.toString(16).padStart(32, '0')
}

/** The same chunk as stored before the number of partitions is known: a hash of each key instead of a partition. */
export function unplaced(chunk: Chunk): Chunk {
  return { ...chunk, partitions: chunk.partitions.map((_, index) => ~hashOf(chunk, index)) }
}

/** Which of `count` partitions each record of such a chunk belongs to. */
export function placesOf(chunk: Chunk, count: number): number[] {
  return Array.from(chunk.ends, (_, index) => hashOf(chunk, index) % count)
}

/** Above 2^30, where a careless sign would show. */
function hashOf({ firstSeq }: Chunk, index: number): number {
  return 2 ** 31 - 1 - 97 * (firstSeq + index)
}

/** `count` records from run_seq `firstSeq` on, of differing sizes; the same call gives the same bytes. */
export function chunkOf(firstSeq: number, count: number, recordBytes = 300): Chunk {
  const records: Uint8Array[] = []
  const ends = new Uint32Array(count)
  const keyStarts = new Uint32Array(count)
  const keyLengths = new Uint32Array(count)
  const partitions = new Int32Array(count)
  let at = 0
  for (let index = 0; index < count; index++) {
    const seq = firstSeq + index
    const key = Buffer.from(`session-${seq % 7}`)
    const noise = createHash('shake256', { outputLength: recordBytes + (seq % 5) })
      .update(`${seq}`)
      .digest()
    records.push(Buffer.concat([Buffer.of(0xc3, 0x01), key, noise]))
    keyStarts[index] = at + 2
    keyLengths[index] = key.length
    partitions[index] = seq % 3
    at += 2 + key.length + noise.length
    ends[index] = at
  }
  return { bytes: Buffer.concat(records), ends, keyStarts, keyLengths, partitions, firstSeq }
}
