/**
 * Stage: Avro object containers of one block, as ClickHouse takes them. Event records pass through as the bytes the
 * producer wrote, with the columns of the pipeline appended: an Avro record has no framing of its own, so more bytes at
 * its end are more fields of a longer schema.
 */
import type { LogPartition, LogRecord } from '@agent-audit/kafka'
import {
  blockLengths,
  CONTAINER_SYNC,
  containerHeader,
  encodeContainer,
  MAX_VARINT_BYTES,
  NEWEST_SCHEMA,
  type SchemaVersion,
  writeBigLong,
  writeLong,
} from '@agent-audit/schemas'
import type { BufferMemory } from './buffer-memory.ts'

const PLACE_FIELDS = [
  { name: 'log_id', type: { type: 'fixed', name: 'log_id', size: 8 } },
  { name: 'log_partition', type: 'int' },
  { name: 'log_offset', type: 'long' },
  { name: 'log_time', type: { type: 'long', logicalType: 'timestamp-millis' } },
]
const eventSchema = JSON.parse(NEWEST_SCHEMA.text) as { fields: unknown[] }
const EVENT_HEADER = containerHeader({
  ...eventSchema,
  fields: [...eventSchema.fields, ...PLACE_FIELDS, { name: 'writer_schema', type: 'long' }],
})
const SKIPPED_SCHEMA = {
  type: 'record',
  name: 'Skipped',
  fields: [
    { name: 'kind', type: 'string' },
    { name: 'reason', type: 'string' },
    { name: 'run_id', type: ['null', { type: 'fixed', name: 'run_id', size: 16 }] },
    { name: 'run_seq', type: ['null', 'long'] },
    { name: 'key', type: ['null', 'bytes'] },
    { name: 'value', type: ['null', 'bytes'] },
    { name: 'headers', type: ['null', 'string'] },
    ...PLACE_FIELDS,
  ],
}

/** A row of audit_skipped. */
export interface SkippedRow {
  readonly kind: 'duplicate' | 'dead' | 'hole'
  readonly reason: string
  readonly identity: { readonly runId: Buffer; readonly runSeq: number } | undefined
  readonly offset: number
  readonly logTimeMs: number
  /** The record, kept for dead letters only. */
  readonly record: LogRecord | undefined
}

/** Part of a block's data. */
interface Piece {
  readonly memory: Buffer
  /** How much of it is used. */
  end: number
  /** Records that lie in it, and in the pieces before. */
  countTo: number
}

/** Collects event records into the data of one block, and closes it into a container. Holds memory until released. */
export class EventBlock {
  readonly #memory: BufferMemory
  readonly #place: Buffer
  readonly #tails = new Map<SchemaVersion, Buffer>()
  #pieces: Piece[] = []
  /** Where each record ends in its piece. */
  #ends: number[] = []
  #bytes = 0

  constructor(place: LogPartition, memory: BufferMemory) {
    this.#memory = memory
    const partition = Buffer.alloc(MAX_VARINT_BYTES)
    this.#place = Buffer.concat([place.logId, partition.subarray(0, writeLong(partition, 0, place.partition))])
  }

  get count(): number {
    return this.#ends.length
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Appends `value[bodyStart…]`, brought up to the newest schema, and the place of the record. */
  append(value: Buffer, bodyStart: number, version: SchemaVersion, offset: number, logTimeMs: number): void {
    const tail = this.#tail(version)
    const bound = value.length + version.missingFields + this.#place.length + 2 * MAX_VARINT_BYTES + tail.length
    const piece = this.#pieceFor(bound)
    const { memory, end: start } = piece
    let position = start + value.copy(memory, start, bodyStart)
    // A field this version lacks is null in the newest: one 0x00 byte each.
    for (let missing = 0; missing < version.missingFields; missing++) memory[position++] = 0
    memory.set(this.#place, position)
    position = writeLong(memory, position + this.#place.length, offset)
    position = writeLong(memory, position, logTimeMs)
    memory.set(tail, position)
    piece.end = position + tail.length
    piece.countTo++
    this.#bytes += piece.end - start
    this.#ends.push(piece.end)
  }

  /** Takes out the records at these positions: rare, so it moves the bytes after them. */
  remove(positions: ReadonlySet<number>): void {
    const ends: number[] = []
    let index = 0
    for (const piece of this.#pieces) {
      let [start, target] = [0, 0]
      for (; index < piece.countTo; index++) {
        const end = this.#ends[index] ?? start
        if (!positions.has(index)) {
          piece.memory.copyWithin(target, start, end)
          target += end - start
          ends.push(target)
        }
        start = end
      }
      this.#bytes -= piece.end - target
      piece.end = target
      piece.countTo = ends.length
    }
    this.#ends = ends
  }

  /** The container, in pieces: views of this block's memory, good until it is changed or released. */
  close(): Buffer[] {
    const data = this.#pieces.map(({ memory, end }) => memory.subarray(0, end))
    return [Buffer.concat([EVENT_HEADER, blockLengths(this.count, this.#bytes)]), ...data, CONTAINER_SYNC]
  }

  /** Gives its memory back and is empty. */
  release(): void {
    for (const { memory } of this.#pieces) this.#memory.givePiece(memory)
    this.#pieces = []
    this.#ends = []
    this.#bytes = 0
  }

  #pieceFor(bytes: number): Piece {
    const last = this.#pieces.at(-1)
    if (last !== undefined && last.end + bytes <= last.memory.length) return last
    const piece = { memory: this.#memory.takePiece(bytes), end: 0, countTo: this.count }
    this.#pieces.push(piece)
    return piece
  }

  #tail(version: SchemaVersion): Buffer {
    const known = this.#tails.get(version)
    if (known !== undefined) return known
    const bytes = Buffer.alloc(MAX_VARINT_BYTES)
    // The column is a signed Int64; the fingerprint has 64 unsigned bits.
    const tail = bytes.subarray(0, writeBigLong(bytes, 0, BigInt.asIntN(64, version.fingerprint)))
    this.#tails.set(version, tail)
    return tail
  }
}

/** A container of rows for audit_skipped. */
export function encodeSkipped(place: LogPartition, rows: readonly SkippedRow[]): Buffer {
  const values = rows.map((row) => ({
    kind: row.kind,
    reason: row.reason,
    run_id: row.identity?.runId ?? null,
    run_seq: row.identity?.runSeq ?? null,
    key: row.record?.key ?? null,
    value: row.record?.value ?? null,
    headers: row.record?.headers === undefined ? null : describeHeaders(row.record.headers),
    log_id: place.logId,
    log_partition: place.partition,
    log_offset: row.offset,
    log_time: row.logTimeMs,
  }))
  return encodeContainer(SKIPPED_SCHEMA as never, values)
}

function describeHeaders(headers: Readonly<Record<string, unknown>>): string {
  const entries = Object.entries(headers)
  return JSON.stringify(
    entries.map(([name, value]) => [name, Buffer.isBuffer(value) ? value.toString('base64') : value]),
  )
}
