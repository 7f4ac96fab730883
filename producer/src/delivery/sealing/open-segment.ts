/** The records that the next seal of a run will cover: their leaves, as whole chunks in order, and the gaps between them. */
import { createHash } from 'node:crypto'
import { LeafList, MAX_SEAL_RANGES, type Range } from '@agent-audit/seals'
import { NEWEST_SCHEMA, SINGLE_OBJECT_BYTES } from '@agent-audit/schemas'
import type { Chunk, ChunkLeaves } from '@agent-audit/spool'

/** Half of what a seal may name: the other half is for records that never reach the topic. */
const MOST_GAPS = MAX_SEAL_RANGES / 2
const NEWEST = NEWEST_SCHEMA.fingerprint.toString(16).padStart(16, '0')

/** Records that one seal covers. */
export interface Segment extends Range {
  readonly count: number
  readonly schema: string
  readonly digest: Buffer
  readonly gaps: readonly Range[]
}

/** One for all chunks of the thread: its buffers are used again. */
const LEAVES = new LeafList()

/** The leaves of a chunk: of each record's Avro body, without the framing, which differs between logs. */
export function leavesOf({ bytes, ends, firstSeq }: Chunk): ChunkLeaves {
  LEAVES.clear()
  let start = 0
  for (const end of ends) {
    LEAVES.add(bytes, start + SINGLE_OBJECT_BYTES, end)
    start = end
  }
  return { firstSeq, records: ends.length, schema: schemaOf(bytes), leaves: LEAVES.leaves() }
}

/** A run writes all its records with one schema, which the framing of the first one names. */
function schemaOf(bytes: Uint8Array): string {
  const fingerprint = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(2, true)
  return fingerprint === NEWEST_SCHEMA.fingerprint ? NEWEST : fingerprint.toString(16).padStart(16, '0')
}

export class OpenSegment {
  #from: number
  #chunks: ChunkLeaves[] = []
  #records = 0
  #gaps = 0

  /** @param from - The first run_seq that no earlier seal covers; below 0: that of the next record. */
  constructor(from: number) {
    this.#from = from
  }

  get chunks(): readonly ChunkLeaves[] {
    return this.#chunks
  }

  /** The first run_seq of the range. */
  get from(): number {
    return this.#from
  }

  /** Whether a seal of at most so many records has to be made before the chunk is added. */
  isFullFor({ records, schema }: ChunkLeaves, most: number): boolean {
    const previous = this.#chunks.at(-1)
    return previous !== undefined && (this.#records + records > most || previous.schema !== schema)
  }

  isFull(most: number): boolean {
    return this.#records >= most || this.#gaps >= MOST_GAPS
  }

  add(chunk: ChunkLeaves): void {
    const { firstSeq, records } = chunk
    const newest = this.#chunks.at(-1)
    if (this.#from < 0) this.#from = firstSeq
    const expected = newest === undefined ? this.#from : newest.firstSeq + newest.records
    if (firstSeq < expected) throw new Error(`run_seq ${firstSeq} is sealed already, next is ${expected}`)
    if (firstSeq > expected) this.#gaps++
    this.#chunks.push(chunk)
    this.#records += records
  }

  /** Ends the segment, and begins the next one. @param nextSeq - No record below it is to come. */
  cut(nextSeq = 0): Segment {
    const first = this.#from < 0 ? nextSeq : this.#from
    const gaps: Range[] = []
    const digest = createHash('sha256')
    let next = first
    for (const { firstSeq, records, leaves } of this.#chunks) {
      if (firstSeq > next) gaps.push({ first: next, last: firstSeq - 1 })
      next = firstSeq + records
      digest.update(leaves)
    }
    if (nextSeq > next) gaps.push({ first: next, last: nextSeq - 1 })
    const [count, schema] = [this.#records, this.#chunks[0]?.schema ?? NEWEST]
    this.#from = Math.max(next, nextSeq)
    this.#chunks = []
    this.#records = 0
    this.#gaps = 0
    return { first, last: this.#from - 1, count, schema, digest: digest.digest(), gaps }
  }
}
