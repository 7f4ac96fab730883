/**
 * One digest for a record and for its row. A record's bytes depend on its framing and on the version of its schema; its fields
 * do not, since an older version lacks fields that are null in the row. So the digest is of the fields: those of the row in
 * ClickHouse's RowBinary, by the server, and the same bytes made from the record.
 */
import { createHash } from 'node:crypto'
import {
  decodeRecord,
  findChecker,
  findSchema,
  NEWEST_SCHEMA,
  readFrame,
  type RecordField,
  SCHEMA_VERSIONS,
  type SchemaVersion,
} from '@agent-audit/schemas'

/** The digest of a row of audit_events, as SQL: 64 upper-case hex digits. */
export const ROW_DIGEST: string = `hex(SHA256(formatRow('RowBinary', ${NEWEST_SCHEMA.fields.map(columnOf).join(', ')})))`

function columnOf({ name, kind }: RecordField): string {
  if (name === 'timestamp') return `toUnixTimestamp64Micro(${name})`
  return kind === 'uuid' ? `toString(${name})` : name
}

/** The digest of a record's fields, as of its row; undefined if its bytes are not one whole record. */
export function digestOfRecord(value: Buffer): string | undefined {
  const frame = readFrame(value)
  if (frame.kind === 'unknown') return undefined
  const named = frame.kind === 'single-object' ? findSchema(frame.fingerprint) : undefined
  // Without a registry: bytes are whole in one version alone, since each has more fields than the one before.
  const versions = frame.kind === 'confluent' ? SCHEMA_VERSIONS : named === undefined ? [] : [named]
  const version = versions.find((one) => isWhole(one, value, frame.bodyStart))
  if (version === undefined) return undefined
  const fields = decodeRecord(version, value, frame.bodyStart)
  // Every field takes as many bytes as in the record, but for numbers of fixed size and the flag of an optional field.
  const row = Buffer.allocUnsafe(value.length + NEWEST_SCHEMA.fields.length * 9)
  let end = 0
  for (const field of NEWEST_SCHEMA.fields) {
    const content = fields[field.name] ?? null
    if (field.optional) row[end++] = content === null ? 1 : 0
    if (content !== null) end = write(field, content, row, end)
  }
  return createHash('sha256').update(row.subarray(0, end)).digest('hex').toUpperCase()
}

function isWhole({ fingerprint }: SchemaVersion, value: Buffer, bodyStart: number): boolean {
  return findChecker(fingerprint)?.check(value, bodyStart, value.length) === undefined
}

/** @returns the end. */
function write({ kind }: RecordField, content: unknown, row: Buffer, start: number): number {
  switch (kind) {
    case 'string':
    case 'uuid':
      return writeText(content as string, row, start)
    case 'long':
      return row.writeBigInt64LE(BigInt(content as number | bigint), start)
    case 'double':
      return row.writeDoubleLE(content as number, start)
    case 'boolean':
      return row.writeUInt8(content === true ? 1 : 0, start)
    case 'fixed':
      row.set(content as Uint8Array, start)
      return start + (content as Uint8Array).length
  }
}

/** Its length in bytes as LEB128, then its UTF-8. */
function writeText(text: string, row: Buffer, start: number): number {
  let end = start
  let left = Buffer.byteLength(text)
  for (; left > 0x7f; left = Math.floor(left / 0x80)) row[end++] = (left % 0x80) | 0x80
  row[end++] = left
  return end + row.write(text, end)
}
