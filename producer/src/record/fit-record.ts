/** Keeps a record below the size limit: cuts its longest texts, and notes the length and digest of each text before its cut. */
import { hash } from 'node:crypto'
import { CUT_FIELDS, InvalidInputError, maxRecordBytes, SINGLE_OBJECT_BYTES } from '@agent-audit/schemas'
import type { AuditRecord } from '@agent-audit/schemas'
import type { FieldNotes } from './field-writer.ts'

/**
 * With onOversize 'refuse' too, the text of an error is cut: the caller of a failed call did not write that text and cannot
 * shorten it, and RECORD_TOO_LARGE would take the place of the caller's own error.
 */
const FIELDS_TO_CUT: { readonly [Choice in FitOptions['onOversize']]: readonly CutField[] } = {
  cut: CUT_FIELDS,
  refuse: ['error'],
  whole: [],
}

/** Room for a field's note: its name, the digest, and the length. */
const NOTE_BYTES = 160

type CutField = (typeof CUT_FIELDS)[number]

export interface FitOptions {
  readonly maxBytes: number
  /** The option of the trail; `whole`: no text is cut, since the record stands for one that exists already. */
  readonly onOversize: 'cut' | 'refuse' | 'whole'
}

/** What becomes of a record's texts after they are cut: they are encrypted, which makes them longer. */
export interface Growth {
  has(field: keyof AuditRecord): boolean
  /** Upper bound of the bytes that a record grows by; `bytesOf` is an upper bound of a text's bytes. */
  bytes(record: AuditRecord, bytesOf: (text: string) => number): number
}

/**
 * Writes field_notes, and cuts the record if it is too large; with 'refuse' only its error.
 * @returns An upper bound of its encoded bytes.
 * @throws InvalidInputError `RECORD_TOO_LARGE` when the record is too large, and cutting is not allowed or not enough.
 */
// The fourth parameter is undefined for nearly every trail: an object for all four would be made for each event.
// oxlint-disable-next-line eslint/max-params
export function fitRecord(record: AuditRecord, notes: FieldNotes, options: FitOptions, growth?: Growth): number {
  record.field_notes = notes.text()
  const quick = SINGLE_OBJECT_BYTES + maxRecordBytes(record) + (growth?.bytes(record, mostBytes) ?? 0)
  if (quick <= options.maxBytes) return quick
  const bound = (): number => boundBytes(record) + (growth?.bytes(record, utf8Bytes) ?? 0)
  let bytes = bound()
  if (bytes <= options.maxBytes) return bytes
  const fields = FIELDS_TO_CUT[options.onOversize]
  for (let round = 0; bytes > options.maxBytes; round++) {
    const longest = round < fields.length ? longestOf(record, fields) : undefined
    if (longest === undefined) throw tooLarge(record, bytes, options.maxBytes)
    const encrypted = growth?.has(longest) === true
    cut(record, notes, { field: longest, excess: bytes - options.maxBytes, encrypted })
    record.field_notes = notes.text()
    bytes = bound()
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

function utf8Bytes(text: string): number {
  return Buffer.byteLength(text)
}

/** As maxRecordBytes counts a text. */
function mostBytes(text: string): number {
  return 3 * text.length
}

/** Undefined: none of the fields has a text. */
function longestOf(record: AuditRecord, fields: readonly CutField[]): CutField | undefined {
  let longest: CutField | undefined
  let length = 0
  for (const field of fields) {
    const own = record[field]?.length ?? 0
    if (own > length) [longest, length] = [field, own]
  }
  return longest
}

/** Bytes of a text that is encrypted take 4/3 of them in the record. Its digest would outlive its key. */
interface Cut {
  readonly field: CutField
  readonly excess: number
  readonly encrypted: boolean
}

function cut(record: AuditRecord, notes: FieldNotes, { field, excess, encrypted }: Cut): void {
  const bytes = Buffer.from(record[field] ?? '')
  notes.add(field, 'cut', { bytes: bytes.length, ...(encrypted ? {} : { sha256: hash('sha256', bytes, 'hex') }) })
  const less = encrypted ? Math.ceil(excess * 0.75) : excess
  record[field] = bytes.toString('utf8', 0, boundaryBelow(bytes, bytes.length - less - NOTE_BYTES))
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
