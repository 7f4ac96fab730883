/** The rows of an insert: decodes its Avro container by avsc, as a server would, so that the real blocks are read. */
import type { Table } from '@agent-audit/consumer/pipeline'
import avsc from 'avsc'

/** The fields of a row that the model depends on, for both tables. */
export interface Row {
  readonly table: Table
  readonly logId: string
  readonly partition: number
  readonly offset: number
  readonly retentionClass: string
  /** Partition of the table. */
  readonly partitionKey: string
  /** `run_id:run_seq`, if the row has both. */
  readonly runId: string | undefined
  readonly runSeq: number
  /** Of a skipped row: duplicate, dead or hole. */
  readonly kind: string | undefined
  readonly reason: string | null
  /** Of a skipped row: the record's bytes that it keeps. */
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: string | null
  /** Of an event. */
  readonly eventId: string | undefined
  readonly logTimeMs: number
  /** Its Avro bytes; of an event, the columns of the pipeline at their end included. */
  readonly bytes: Buffer
}

interface Decoded {
  run_id: Uint8Array | null
  run_seq: number | null
  retention_class: string
  kind?: string
  reason?: string
  event_id?: string
  key?: Buffer | null
  value?: Buffer | null
  headers?: string | null
  log_id: Uint8Array
  log_partition: number
  log_offset: number
  log_time: number
}

const MAGIC = Buffer.from('Obj\u0001')
const SYNC_BYTES = 16
const METADATA = avsc.Type.forSchema({ type: 'map', values: 'bytes' })
const LONG = avsc.Type.forSchema('long')
/** Columns that are read, by table. The others are skipped: one of them is a number that JavaScript cannot hold. */
const COLUMNS: Record<Table, readonly string[]> = {
  audit_events: ['run_id', 'run_seq', 'retention_class', 'event_id'],
  audit_skipped: ['run_id', 'run_seq', 'retention_class', 'kind', 'reason', 'key', 'value', 'headers'],
}
const POSITION = ['log_id', 'log_partition', 'log_offset', 'log_time']

interface Reader {
  readonly type: avsc.Type
  readonly resolver: unknown
}
const readers = new Map<string, Reader>()

/** @throws Error if the container is not one block of rows of this table. */
export function decodeRows(table: Table, body: readonly Buffer[]): Row[] {
  const bytes = Buffer.concat(body)
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw new Error('no Avro container')
  const metadata = decode(METADATA, bytes, MAGIC.length)
  const reader = readerOf(table, (metadata.value as Record<string, Buffer>)['avro.schema']?.toString() ?? '')
  const sync = bytes.subarray(metadata.offset, metadata.offset + SYNC_BYTES)
  const count = decode(LONG, bytes, metadata.offset + SYNC_BYTES)
  const size = decode(LONG, bytes, count.offset)
  const end = size.offset + Number(size.value)
  const rows: Row[] = []
  let at = size.offset
  while (at < end) {
    const { value, offset } = decode(reader.type, bytes, at, reader.resolver)
    rows.push(makeRow(table, value as Decoded, bytes.subarray(at, offset)))
    at = offset
  }
  if (at !== end || rows.length !== count.value) throw new Error('the block does not end where it says')
  if (!bytes.subarray(end).equals(sync)) throw new Error('more than one block')
  return rows
}

function makeRow(table: Table, value: Decoded, bytes: Buffer): Row {
  const month = new Date(value.log_time).toISOString().slice(0, 7)
  return {
    table,
    logId: Buffer.from(value.log_id).toString('hex'),
    partition: value.log_partition,
    offset: value.log_offset,
    retentionClass: value.retention_class,
    partitionKey: `${value.retention_class} ${month}`,
    runId: value.run_id === null ? undefined : Buffer.from(value.run_id).toString('hex'),
    runSeq: value.run_seq ?? -1,
    kind: value.kind,
    reason: value.kind === undefined ? null : (value.reason ?? null),
    key: value.key ?? null,
    value: value.value ?? null,
    headers: value.headers ?? null,
    eventId: value.event_id,
    logTimeMs: value.log_time,
    bytes,
  }
}

function readerOf(table: Table, schemaText: string): Reader {
  const known = readers.get(schemaText)
  if (known !== undefined) return known
  const schema = JSON.parse(schemaText) as { name: string; fields: { name: string }[] }
  const writer = avsc.Type.forSchema(schema as never, { wrapUnions: false })
  const wanted = new Set([...COLUMNS[table], ...POSITION])
  const fields = schema.fields.filter(({ name }) => wanted.has(name))
  const type = avsc.Type.forSchema({ ...schema, fields } as never, { wrapUnions: false })
  const reader = { type, resolver: type.createResolver(writer) }
  readers.set(schemaText, reader)
  return reader
}

function decode(type: avsc.Type, bytes: Buffer, at: number, resolver?: unknown): { value: unknown; offset: number } {
  const found = (type.decode as (...input: unknown[]) => { value: unknown; offset: number })(bytes, at, resolver)
  if (found.offset < 0) throw new Error('the container ends within a row')
  return found
}
