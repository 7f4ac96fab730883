/** Rows of audit_events as the records that were published: `FORMAT Avro` gives back their bytes. */
import { EVENTS_TABLE, readContainer, type RecordField, type SchemaVersion } from '@agent-audit/schemas'
import { snappyUncompress } from 'hyparquet'
import type { Analytics } from '../connection/clickhouse.ts'

/** A record without framing, and what names it. */
export interface StoredRecord {
  readonly body: Buffer
  /** 32 hex digits. */
  readonly runId: string
  readonly runSeq: number
  /** When the log took it. */
  readonly logTimeMs: number
  /** `the event at <partition>/<offset>`. */
  readonly place: string
}

export interface RecordsWhere {
  /** Conditions on `e`. */
  readonly condition: string
  readonly params: Readonly<Record<string, unknown>>
  /** Rows of one number. @defaultValue all */
  readonly most?: number
}

const RUN_ID_BYTES = 16
const CRC_BYTES = 4
const DOUBLE_BYTES = 8

/** The records of one version, in the order of run_id and run_seq, then of the log. */
export async function storedRecords(
  analytics: Analytics,
  version: SchemaVersion,
  { condition, params, most }: RecordsWhere,
): Promise<StoredRecord[]> {
  const columns = version.fields.map(({ name }) => `e.${name} AS ${name}`).join(', ')
  const limit = most === undefined ? '' : `LIMIT ${most} BY e.run_id, e.run_seq`
  const sql = `SELECT ${columns}, ${LOG_COLUMNS} FROM {database:Identifier}.${EVENTS_TABLE} AS e
    WHERE e.writer_schema = {writerSchema:Int64} AND ${condition}
    ORDER BY e.run_id, e.run_seq, e.log_id, e.log_partition, e.log_offset ${limit}`
  const writerSchema = BigInt.asIntN(64, version.fingerprint).toString()
  const chunks: Buffer[] = []
  for await (const chunk of analytics.bytes(sql, { format: 'Avro', params: { ...params, writerSchema } })) {
    chunks.push(chunk)
  }
  const { count, data } = readContainer(Buffer.concat(chunks), { snappy: unsnap })
  const records: StoredRecord[] = []
  for (let at = 0; records.length < count;) {
    const end = endOf(version, data, at)
    const body = data.subarray(at, end)
    const time = readLong(data, end)
    const partition = readLong(data, time.end)
    const offset = readLong(data, partition.end)
    const place = `the event at ${partition.value}/${offset.value}`
    records.push({ body, ...namesOf(body), logTimeMs: time.value, place })
    at = offset.end
  }
  return records
}

/** Behind the record in each row. */
const LOG_COLUMNS =
  'toUnixTimestamp64Milli(e.log_time) AS log_time_ms, e.log_partition AS log_partition, e.log_offset AS log_offset'

function namesOf(body: Buffer): Pick<StoredRecord, 'runId' | 'runSeq'> {
  const runId = body.subarray(0, RUN_ID_BYTES).toString('hex')
  return { runId, runSeq: readLong(body, RUN_ID_BYTES).value }
}

/** The server's own codec, which a read-only profile cannot change: raw snappy, and a CRC-32. */
function unsnap(block: Buffer): Buffer {
  let [length, factor, at] = [0, 1, 0]
  for (let more = true; more; at++) {
    const byte = block[at] ?? 0
    length += (byte & 0x7f) * factor
    factor *= 128
    more = byte >= 0x80
  }
  const data = Buffer.alloc(length)
  snappyUncompress(block.subarray(0, block.length - CRC_BYTES), data)
  return data
}

/** Where the record that begins at `start` ends. The server wrote it: it is whole. */
function endOf({ fields }: SchemaVersion, data: Buffer, start: number): number {
  let at = start
  for (const field of fields) {
    if (field.optional && data[at++] === 0) continue
    at = fieldEnd(field, data, at)
  }
  if (at <= data.length) return at
  throw new RangeError('the answer of the server ends within a record')
}

function fieldEnd({ kind, size }: RecordField, data: Buffer, at: number): number {
  if (kind === 'fixed') return at + size
  if (kind === 'boolean') return at + 1
  if (kind === 'double') return at + DOUBLE_BYTES
  const { value, end } = readLong(data, at)
  return kind === 'long' ? end : end + value
}

function readLong(data: Buffer, start: number): { value: number; end: number } {
  let [zigzag, factor, end] = [0, 1, start]
  for (;;) {
    const byte = data[end++] ?? 0
    zigzag += (byte & 0x7f) * factor
    factor *= 128
    if (byte < 0x80) return { value: zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2, end }
  }
}
