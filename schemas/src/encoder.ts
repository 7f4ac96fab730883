/**
 * The encoder of the hot path: one function generated from the newest schema, about twice as fast as a general Avro
 * library, which stays its oracle in the tests.
 */
import { NEWEST_SCHEMA, type RecordField } from './avro-schema.ts'
import type { AuditRecord } from './record.ts'
import { MAX_VARINT_BYTES, writeLong } from './varint.ts'

/** Writes `record` at `offset` of `target` and returns where it ends. */
type WriteRecord = (record: AuditRecord, target: Buffer, offset: number) => number

/** Longest text (UTF-16 units) whose length surely takes one varint byte: 21 units are at most 63 UTF-8 bytes. */
const ONE_BYTE_TEXT = 21

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
  // The text comes from our own schema file alone; avsc makes its readers and writers in the same way.
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
  const { length } = text
  if (length > ONE_BYTE_TEXT) {
    const bytes = Buffer.byteLength(text)
    const start = writeLong(target, offset, bytes)
    return start + target.write(text, start, bytes)
  }
  // Short text: a plain loop is cheaper than a call into C++, as long as it is ASCII.
  for (let index = 0; index < length; index++) {
    const unit = text.charCodeAt(index)
    if (unit > 0x7f) {
      const bytes = target.write(text, offset + 1, ONE_BYTE_TEXT * 3)
      target[offset] = bytes << 1
      return offset + 1 + bytes
    }
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
