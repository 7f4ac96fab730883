/**
 * Stage: makes rows for ClickHouse, and Avro object containers of one block of them. Event records pass through as the bytes that the producer
 * wrote, with the pipeline's columns appended: an Avro record has no framing, so more bytes at its end are more fields of a
 * longer schema.
 */
import type { LogPartition, LogRecord } from '@agent-audit/kafka'
import {
  blockLengths,
  CONTAINER_SYNC,
  containerHeader,
  encodeRows,
  EVENTS_TABLE,
  MAX_VARINT_BYTES,
  NEWEST_SCHEMA,
  type SchemaVersion,
  SKIPPED_TABLE,
  writeBigLong,
  writeLong,
} from '@agent-audit/schemas'
import type { BufferMemory } from './buffer-memory.ts'
import type { Table } from './sink.ts'

const LOG_FIELDS = [
  { name: 'log_id', type: { type: 'fixed', name: 'log_id', size: 8 } },
  { name: 'log_partition', type: 'int' },
  { name: 'log_offset', type: 'long' },
  { name: 'log_time', type: { type: 'long', logicalType: 'timestamp-millis' } },
]
interface BlockSchema {
  readonly fields: readonly { readonly name: string }[]
}
const recordSchema = JSON.parse(NEWEST_SCHEMA.text) as BlockSchema
const EVENT_SCHEMA: BlockSchema = {
  ...recordSchema,
  fields: [...recordSchema.fields, ...LOG_FIELDS, { name: 'writer_schema', type: 'long' }],
}
const SKIPPED_SCHEMA = {
  type: 'record',
  name: 'Skipped',
  fields: [
    { name: 'kind', type: 'string' },
    { name: 'reason', type: 'string' },
    { name: 'retention_class', type: 'string' },
    { name: 'run_id', type: ['null', { type: 'fixed', name: 'run_id', size: 16 }] },
    { name: 'run_seq', type: ['null', 'long'] },
    { name: 'key', type: ['null', 'bytes'] },
    { name: 'value', type: ['null', 'bytes'] },
    { name: 'headers', type: ['null', 'string'] },
    ...LOG_FIELDS,
  ],
}

/**
 * The columns of a block, by table. An insert names them. Without them the server drops a field that has no column, without a
 * word, and refuses a block that lacks a column (code 8): the migration for the next version would stop running consumers.
 */
export const BLOCK_COLUMNS: Readonly<Record<Table, readonly string[]>> = {
  [EVENTS_TABLE]: EVENT_SCHEMA.fields.map(({ name }) => name),
  [SKIPPED_TABLE]: SKIPPED_SCHEMA.fields.map(({ name }) => name),
}

const HEADERS: Readonly<Record<Table, Buffer>> = {
  [EVENTS_TABLE]: containerHeader(EVENT_SCHEMA),
  [SKIPPED_TABLE]: containerHeader(SKIPPED_SCHEMA),
}

/** Rows of a table as the data of a block, or of a part of it. */
export interface EncodedRows {
  readonly count: number
  readonly bytes: number
  readonly data: readonly Buffer[]
}

/** A container of one block with all of these rows, in order; in pieces, among them the given ones. */
export function closeBlock(table: Table, rows: readonly EncodedRows[]): Buffer[] {
  const count = rows.reduce((sum, part) => sum + part.count, 0)
  const bytes = rows.reduce((sum, part) => sum + part.bytes, 0)
  const head = Buffer.concat([HEADERS[table], blockLengths(count, bytes)])
  return [head, ...rows.flatMap(({ data }) => data), CONTAINER_SYNC]
}

/** A row of audit_skipped. */
export interface SkippedRow {
  readonly kind: 'duplicate' | 'dead' | 'hole'
  readonly reason: string
  readonly identity: { readonly runId: Buffer; readonly runSeq: number } | undefined
  readonly offset: number
  readonly logTimeMs: number
  /** The record with all its bytes: a hole has none. */
  readonly record: LogRecord | undefined
}

/** Rows of audit_skipped of one retention class. */
export interface SkippedRows {
  readonly retentionClass: string
  readonly skipped: readonly SkippedRow[]
}

/** Part of a block's data. */
interface Piece {
  readonly memory: Buffer
  /** Bytes in use. */
  end: number
  /** Count of records up to the end of this piece, with those of the pieces before. */
  countTo: number
}

/** Collects event records into the data of a block. Holds memory until released. */
export class EventBlock {
  /** Records of type `events_lost` that were added. */
  lossReports: number = 0
  readonly #memory: BufferMemory
  /** log_id and log_partition, encoded. */
  readonly #logColumns: Buffer
  readonly #tails = new Map<SchemaVersion, Buffer>()
  #pieces: Piece[] = []
  /** End of each record, bytes from the start of its piece. */
  #ends: number[] = []
  #bytes = 0

  constructor(logPartition: LogPartition, memory: BufferMemory) {
    this.#memory = memory
    const partition = Buffer.alloc(MAX_VARINT_BYTES)
    this.#logColumns = Buffer.concat([
      logPartition.logId,
      partition.subarray(0, writeLong(partition, 0, logPartition.partition)),
    ])
  }

  get count(): number {
    return this.#ends.length
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Appends `value[bodyStart…]`, extended to the newest schema, and the record's log position. */
  append(value: Buffer, bodyStart: number, version: SchemaVersion, offset: number, logTimeMs: number): void {
    const tail = this.#tail(version)
    const bound = value.length + version.missingFields + this.#logColumns.length + 2 * MAX_VARINT_BYTES + tail.length
    const piece = this.#pieceFor(bound)
    const { memory, end: start } = piece
    let position = start + value.copy(memory, start, bodyStart)
    // Each field that this version lacks is null in the newest one: a 0x00 byte.
    for (let missing = 0; missing < version.missingFields; missing++) memory[position++] = 0
    memory.set(this.#logColumns, position)
    position = writeLong(memory, position + this.#logColumns.length, offset)
    position = writeLong(memory, position, logTimeMs)
    memory.set(tail, position)
    piece.end = position + tail.length
    piece.countTo++
    this.#bytes += piece.end - start
    this.#ends.push(piece.end)
  }

  /** A view of a record's body and of its columns of the pipeline, valid until the block is changed or released. */
  view(index: number): Buffer {
    let first = 0
    for (const { memory, countTo } of this.#pieces) {
      if (index < countTo) return memory.subarray(index === first ? 0 : this.#ends[index - 1], this.#ends[index])
      first = countTo
    }
    throw new RangeError(`the block has no record ${index}`)
  }

  /** Removes the records at these positions by moving the bytes behind them: this is rare. */
  remove(positions: Pick<ReadonlySet<number>, 'has'>): void {
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

  /** Its rows: views of this block's memory, valid until the block is changed or released. */
  close(): EncodedRows {
    const data = this.#pieces.map(({ memory, end }) => memory.subarray(0, end))
    return { count: this.count, bytes: this.#bytes, data }
  }

  /** Releases its memory. The block is then empty. */
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

/** The skipped rows of a batch. */
export function encodeSkipped(logPartition: LogPartition, { retentionClass, skipped }: SkippedRows): EncodedRows {
  const values = skipped.map((row) => ({
    kind: row.kind,
    reason: row.reason,
    retention_class: retentionClass,
    run_id: row.identity?.runId ?? null,
    run_seq: row.identity?.runSeq ?? null,
    key: row.record?.key ?? null,
    value: row.record?.value ?? null,
    headers: row.record?.headers === undefined ? null : describeHeaders(row.record.headers),
    log_id: logPartition.logId,
    log_partition: logPartition.partition,
    log_offset: row.offset,
    log_time: row.logTimeMs,
  }))
  const data = encodeRows(SKIPPED_SCHEMA as never, values)
  return { count: values.length, bytes: data.length, data: [data] }
}

function describeHeaders(headers: Readonly<Record<string, unknown>>): string {
  const entries = Object.entries(headers)
  return JSON.stringify(
    entries.map(([name, value]) => [name, Buffer.isBuffer(value) ? value.toString('base64') : value]),
  )
}
