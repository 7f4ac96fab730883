/** Keeps a record below the size limit: cuts its longest texts, and notes the length and digest of each text before its cut. */
import { hash } from 'node:crypto'
import { CUT_FIELDS, InvalidInputError, maxRecordBytes, SINGLE_OBJECT_BYTES } from '@agent-audit/schemas'
import type { AuditRecord } from '@agent-audit/schemas'
import type { FieldNotes } from './field-writer.ts'

/** Room for a field's note: its name, the digest, and the length. */
const NOTE_BYTES = 160

export interface FitOptions {
  readonly maxBytes: number
  readonly onOversize: 'cut' | 'refuse'
}

/**
 * Writes field_notes, and cuts the record if it is too large.
 * @returns An upper bound of its encoded bytes.
 * @throws InvalidInputError `RECORD_TOO_LARGE` when the record is too large, and cutting is not allowed or not enough.
 */
export function fitRecord(record: AuditRecord, notes: FieldNotes, options: FitOptions): number {
  record.field_notes = notes.text()
  const quick = SINGLE_OBJECT_BYTES + maxRecordBytes(record)
  if (quick <= options.maxBytes) return quick
  let bytes = boundBytes(record)
  if (bytes <= options.maxBytes) return bytes
  if (options.onOversize === 'refuse') throw tooLarge(record, bytes, options.maxBytes)
  for (let round = 0; bytes > options.maxBytes; round++) {
    if (round === CUT_FIELDS.length) throw tooLarge(record, bytes, options.maxBytes)
    cutLongest(record, notes, bytes - options.maxBytes)
    record.field_notes = notes.text()
    bytes = boundBytes(record)
  }
  return bytes
}

/** As maxRecordBytes, but with each text counted in bytes, not by the most bytes that its characters could take. */
function boundBytes(record: AuditRecord): number {
  let spare = 0
  for (const value of Object.values(record) as unknown[]) {
    if (typeof value === 'string') spare += 3 * value.length - Buffer.byteLength(value)
  }
  return SINGLE_OBJECT_BYTES + maxRecordBytes(record) - spare
}

function cutLongest(record: AuditRecord, notes: FieldNotes, excess: number): void {
  let longest: (typeof CUT_FIELDS)[number] = 'content'
  for (const field of CUT_FIELDS) {
    if ((record[field]?.length ?? 0) > (record[longest]?.length ?? 0)) longest = field
  }
  const bytes = Buffer.from(record[longest] ?? '')
  notes.add(longest, 'cut', { bytes: bytes.length, sha256: hash('sha256', bytes, 'hex') })
  record[longest] = bytes.toString('utf8', 0, boundaryBelow(bytes, bytes.length - excess - NOTE_BYTES))
}

/** The end of the last whole character that ends at or before `end`. */
function boundaryBelow(bytes: Buffer, end: number): number {
  let boundary = Math.max(0, end)
  while (boundary > 0 && ((bytes[boundary] ?? 0) & 0xc0) === 0x80) boundary--
  return boundary
}

function tooLarge(record: AuditRecord, bytes: number, maxBytes: number): InvalidInputError {
  const message = `${record.event_type} not recorded: up to ${bytes} bytes encoded, maxRecordBytes is ${maxBytes}`
  return new InvalidInputError('RECORD_TOO_LARGE', message)
}
