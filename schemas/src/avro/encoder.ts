/**
 * The encoder of the hot path: one function generated from the newest schema, about twice as fast as a general Avro
 * library. Tests compare its bytes with those of such a library.
 */
import { NEWEST_SCHEMA, type RecordField } from './avro-schema.ts'
import type { AuditRecord } from './record.ts'
import { MAX_VARINT_BYTES, varintBytes, writeLong } from './varint.ts'

/** Writes `record` at `offset` of `target` and returns the end. */
type WriteRecord = (record: AuditRecord, target: Buffer, offset: number) => number

/** Longest text (UTF-16 units) that is written unit by unit: its length takes one byte. */
const LOOP_TEXT = 12

const textFields = NEWEST_SCHEMA.fields.filter((field) => field.kind === 'string' || field.kind === 'uuid')
const fixedBytes = NEWEST_SCHEMA.fields.reduce((sum, field) => sum + field.size + MAX_VARINT_BYTES + 1, 0)

/** Writes the Avro body of a record; `target` must have {@link maxRecordBytes} free. Returns the end. */
export const writeRecord: WriteRecord = generateWriter()

/** An upper bound of the bytes {@link writeRecord} writes. Cheap: counts UTF-16 units, at most 3 bytes each. */
export const maxRecordBytes: (record: AuditRecord) => number = generateBound()

function generateWriter(): WriteRecord {
  const lines = NEWEST_SCHEMA.fields.map((field) => {
    if (!field.optional) return `v = r.${field.name}; ${writeValue(field)}`
    return `v = r.${field.name}; if (v === null) b[p++] = 0; else { b[p++] = 2; ${writeValue(field)} }`
  })
  const body = `return function writeAuditEvent(r, b, p) { let v; ${lines.join('\n')} return p }`
  // The text of the function comes only from the schema file of this package; avsc makes its readers and writers this way too.
  // oxlint-disable-next-line typescript/no-implied-eval
  const make = new Function('text', 'long', 'double', 'fixed', body) as (...helpers: unknown[]) => WriteRecord
  return make(writeText, writeLong, writeDouble, writeFixed)
}

function writeValue(field: RecordField): string {
  switch (field.kind) {
    case 'string':
    case 'uuid':
      return 'p = text(b, p, v)'
    case 'long':
      return 'p = long(b, p, v)'
    case 'double':
      return 'p = double(b, p, v)'
    case 'boolean':
      return 'b[p++] = v ? 1 : 0'
    case 'fixed':
      return 'p = fixed(b, p, v)'
  }
}

function generateBound(): (record: AuditRecord) => number {
  const terms = textFields.map((field) =>
    field.optional ? `(r.${field.name} === null ? 0 : r.${field.name}.length)` : `r.${field.name}.length`,
  )
  // oxlint-disable-next-line typescript/no-implied-eval
  return new Function('r', `return ${fixedBytes} + 3 * (${terms.join(' + ')})`) as (record: AuditRecord) => number
}

function writeText(target: Buffer, offset: number, text: string): number {
  return text.length > LOOP_TEXT ? writeLongText(target, offset, text) : writeShortText(target, offset, text)
}

/** Expects ASCII: it has as many bytes as units, so that the length is known before the text is written. */
function writeLongText(target: Buffer, offset: number, text: string): number {
  const start = writeLong(target, offset, text.length)
  const bytes = target.write(text, start)
  if (bytes === text.length) return start + bytes
  // The text is not ASCII. Write its real length; if the length takes more bytes now, move the text first.
  const body = offset + varintBytes(bytes)
  if (body > start) target.copyWithin(body, start, start + bytes)
  writeLong(target, offset, bytes)
  return body + bytes
}

/** For a short ASCII text a loop is cheaper than a call into C++. */
function writeShortText(target: Buffer, offset: number, text: string): number {
  const { length } = text
  for (let index = 0; index < length; index++) {
    const unit = text.charCodeAt(index)
    if (unit > 0x7f) return writeLongText(target, offset, text)
    target[offset + 1 + index] = unit
  }
  target[offset] = length << 1
  return offset + 1 + length
}

function writeDouble(target: Buffer, offset: number, value: number): number {
  return target.writeDoubleLE(value, offset)
}

function writeFixed(target: Buffer, offset: number, bytes: Uint8Array): number {
  target.set(bytes, offset)
  return offset + bytes.length
}
