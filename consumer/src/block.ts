/**
 * Stage: Avro object containers of one block, as ClickHouse takes them. Event records pass through as the bytes the
 * producer wrote, with the columns of the pipeline appended: an Avro record has no framing of its own, so more bytes at
 * its end are more fields of a longer schema.
 */
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
import type { LogPlace, LogRecord } from './source.ts'

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

/** Room in front of a block's data for all that a container has there, so that closing it copies nothing. */
const HEAD_ROOM = EVENT_HEADER.length + 2 * MAX_VARINT_BYTES
const INITIAL_BYTES = 256 * 1024

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

/** Collects event records into the data of one block, and closes it into a container. Reused: its memory stays. */
export class EventBlock {
  readonly #place: Buffer
  readonly #tails = new Map<SchemaVersion, Buffer>()
  #buffer: Buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES)
  /** End of each record in the buffer. */
  #ends: number[] = []

  constructor(place: LogPlace) {
    const partition = Buffer.alloc(MAX_VARINT_BYTES)
    this.#place = Buffer.concat([place.logId, partition.subarray(0, writeLong(partition, 0, place.partition))])
  }

  get count(): number {
    return this.#ends.length
  }

  get bytes(): number {
    return this.#end - HEAD_ROOM
  }

  get #end(): number {
    return this.#ends.at(-1) ?? HEAD_ROOM
  }

  /** Appends `value[bodyStart…]`, brought up to the newest schema, and the place of the record. */
  append(value: Buffer, bodyStart: number, version: SchemaVersion, offset: number, logTimeMs: number): void {
    const tail = this.#tail(version)
    const start = this.#end
    this.#reserve(
      start + value.length + version.missingFields + this.#place.length + 2 * MAX_VARINT_BYTES + tail.length,
    )
    const buffer = this.#buffer
    let position = start + value.copy(buffer, start, bodyStart)
    // A field this version lacks is null in the newest: one 0x00 byte each.
    for (let missing = 0; missing < version.missingFields; missing++) buffer[position++] = 0
    buffer.set(this.#place, position)
    position = writeLong(buffer, position + this.#place.length, offset)
    position = writeLong(buffer, position, logTimeMs)
    buffer.set(tail, position)
    this.#ends.push(position + tail.length)
  }

  /** Takes out the records at these positions: rare, so it moves the bytes after them. */
  remove(positions: ReadonlySet<number>): void {
    const ends: number[] = []
    let target = HEAD_ROOM
    for (const [index, end] of this.#ends.entries()) {
      if (positions.has(index)) continue
      const start = this.#ends[index - 1] ?? HEAD_ROOM
      this.#buffer.copyWithin(target, start, end)
      target += end - start
      ends.push(target)
    }
    this.#ends = ends
  }

  /** The container: a view of this block's memory, good until the next call of any other method. */
  close(): Buffer {
    const end = this.#end
    this.#reserve(end + CONTAINER_SYNC.length)
    const lengths = blockLengths(this.count, this.bytes)
    const start = HEAD_ROOM - lengths.length - EVENT_HEADER.length
    this.#buffer.set(EVENT_HEADER, start)
    this.#buffer.set(lengths, HEAD_ROOM - lengths.length)
    this.#buffer.set(CONTAINER_SYNC, end)
    return this.#buffer.subarray(start, end + CONTAINER_SYNC.length)
  }

  reset(): void {
    this.#ends = []
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

  #reserve(bytes: number): void {
    if (bytes <= this.#buffer.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(bytes, this.#buffer.length * 2))
    this.#buffer.copy(grown, HEAD_ROOM, HEAD_ROOM, this.#end)
    this.#buffer = grown
  }
}

/** A container of rows for audit_skipped. */
export function encodeSkipped(place: LogPlace, rows: readonly SkippedRow[]): Buffer {
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
