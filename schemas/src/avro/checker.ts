/**
 * The structural check: whether bytes are one whole record of a schema version, which ClickHouse will return byte for byte.
 * It does not decode the record. A record that fails becomes a dead letter, so every reason names the field.
 *
 * Like the encoder, it is one function generated from the schema: the cheapest way to walk 56 fields, most of them null.
 */
import { isUtf8 } from 'node:buffer'
import { findSchema, type RecordField, type SchemaVersion } from './avro-schema.ts'

/** The fields that the pipeline needs of a record before its row exists. Reused between calls. */
export interface RecordHead {
  /** Where the 16 bytes of run_id start. */
  runIdStart: number
  runSeq: number
  retentionClass: string
  /** Whether its event_type is `events_lost`. */
  reportsLoss: boolean
}

/** Checks records of one schema version. It holds the state of a walk, so use one per thread. */
export interface RecordChecker {
  /** Describes the record that was checked last, if it passed. */
  readonly head: RecordHead
  /**
   * Walks the record in `bytes[start, end)`.
   * @returns undefined if it is whole and storable, else the reason, naming the field. Never the content.
   */
  check(bytes: Buffer, start: number, end: number): string | undefined
}

/** Texts up to this length are scanned in JavaScript; for longer texts a call into C++ is cheaper. */
const SCAN_BYTES = 64
const UUID_BYTES = 36
/** Range of DateTime64(6): 1900-01-01 to 2299-12-31, microseconds since 1970. */
const TIMESTAMP_RANGE = [Date.UTC(1900, 0, 1) * 1000, Date.UTC(2300, 0, 1) * 1000 - 1] as const

/** Faults: a step over a field returns one of them instead of a position. */
const [ENDS_EARLY, NO_BRANCH, NO_BOOLEAN, LONG_FORM, TOO_BIG, NEGATIVE, NO_UTF8, NO_UUID, NO_LOWER_CASE] = [
  -1, -2, -3, -4, -5, -6, -7, -8, -9,
] as const
const [NO_SEQUENCE, NO_TIMESTAMP] = [-10, -11] as const
const REASONS: Readonly<Record<number, string>> = {
  [ENDS_EARLY]: 'record ends early',
  [NO_BRANCH]: 'no such union branch',
  [NO_BOOLEAN]: 'a boolean is 0 or 1',
  [LONG_FORM]: 'number is not in its shortest form',
  [TOO_BIG]: 'number has more than 64 bits',
  [NEGATIVE]: 'negative length',
  [NO_UTF8]: 'invalid UTF-8',
  [NO_UUID]: `expected a UUID of ${UUID_BYTES} characters`,
  [NO_LOWER_CASE]: 'expected a UUID in lower case',
  [NO_SEQUENCE]: 'expected 0 to 2^53 - 1',
  [NO_TIMESTAMP]: 'expected 1900 to 2299',
}

/** Steps over the content of one field. @returns the position of its end, or, below zero, a fault. */
type Step = (bytes: Buffer, start: number, end: number) => number

/** The number that {@link long} last read; exact for safe integers. */
let number = 0

/** A zigzag varint. A longer form than needed is refused: ClickHouse would return the shortest form. */
function long(bytes: Buffer, start: number, end: number): number {
  let position = start
  let factor = 1
  let zigzag = 0
  for (let count = 1; ; count++) {
    if (position >= end) return ENDS_EARLY
    const byte = bytes[position++] ?? 0
    zigzag += (byte & 0x7f) * factor
    if (byte < 0x80) {
      if (byte === 0 && count > 1) return LONG_FORM
      if (count === 10 && byte > 1) return TOO_BIG
      break
    }
    if (count === 10) return TOO_BIG
    factor *= 0x80
  }
  number = zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2
  return position
}

/** Like {@link long}, faster for one byte: most texts are short. */
function length(bytes: Buffer, start: number, end: number): number {
  const byte = bytes[start] ?? 0
  if (byte >= 0x80 || (byte & 1) !== 0 || start >= end) return long(bytes, start, end)
  number = byte >> 1
  return start + 1
}

function text(bytes: Buffer, start: number, end: number): number {
  const from = length(bytes, start, end)
  if (from < 0) return from
  if (number < 0) return NEGATIVE
  if (number > end - from) return ENDS_EARLY
  const to = from + number
  if (number <= SCAN_BYTES) {
    let position = from
    while (position < to && (bytes[position] ?? 0) < 0x80) position++
    if (position === to) return to
  }
  return isUtf8(bytes.subarray(from, to)) ? to : NO_UTF8
}

/** 1 for 0-9 and a-f. */
const HEX_DIGITS = Uint8Array.from({ length: 256 }, (_, byte) => Number(/[0-9a-f]/.test(String.fromCharCode(byte))))

function uuid(bytes: Buffer, start: number, end: number): number {
  if (start >= end) return ENDS_EARLY
  if (bytes[start] !== UUID_BYTES << 1) return NO_UUID
  const from = start + 1
  if (from + UUID_BYTES > end) return ENDS_EARLY
  for (let index = 0; index < UUID_BYTES; index++) {
    const byte = bytes[from + index] ?? 0
    const dash = index === 8 || index === 13 || index === 18 || index === 23
    if (dash ? byte !== 0x2d : HEX_DIGITS[byte] === 0) return NO_LOWER_CASE
  }
  return from + UUID_BYTES
}

function boolean(bytes: Buffer, start: number, end: number): number {
  if (start >= end) return ENDS_EARLY
  return (bytes[start] ?? 2) > 1 ? NO_BOOLEAN : start + 1
}

function sequence(bytes: Buffer, start: number, end: number): number {
  const position = long(bytes, start, end)
  return position >= 0 && (number < 0 || !Number.isSafeInteger(number)) ? NO_SEQUENCE : position
}

function timestamp(bytes: Buffer, start: number, end: number): number {
  const position = long(bytes, start, end)
  return position >= 0 && (number < TIMESTAMP_RANGE[0] || number > TIMESTAMP_RANGE[1]) ? NO_TIMESTAMP : position
}

/** Nearly every record has the retention class of the record before: compare before making a string. */
function sameText(bytes: Buffer, from: number, to: number, known: string): boolean {
  if (to - from !== known.length) return false
  for (let index = 0; index < known.length; index++) if (bytes[from + index] !== known.charCodeAt(index)) return false
  return true
}

const lastNumber = (): number => number
const STEPS: Readonly<Record<string, Step | ((...parts: never[]) => unknown)>> = {
  long,
  text,
  uuid,
  boolean,
  sequence,
  timestamp,
  sameText,
  lastNumber,
}

function createChecker(version: SchemaVersion): RecordChecker {
  const head: RecordHead = { runIdStart: 0, runSeq: 0, retentionClass: '', reportsLoss: false }
  const describe = (fault: number, index: number): string =>
    `${REASONS[fault] ?? 'damaged'} (field ${version.fields[index]?.name})`
  const lines = version.fields.map((field, index) => {
    const step = `${stepOver(field)} if (p < 0) return describe(p, ${index});${noteOf(field)}`
    if (!field.optional) return `s = p; ${step}`
    return `if (p >= end) return describe(${ENDS_EARLY}, ${index}); t = b[p++];
      if (t !== 0) { if (t !== 2) return describe(${NO_BRANCH}, ${index}); ${step} }`
  })
  const body = `return function checkAuditEvent(b, p, end) { let s = 0, t = 0; ${lines.join('\n')}
    return p === end ? undefined : (end - p) + ' bytes after the last field' }`
  // The text of the function comes only from the schema files of this package, like that of the encoder.
  // oxlint-disable-next-line typescript/no-implied-eval
  const make = new Function('head', 'describe', ...Object.keys(STEPS), body) as (
    ...parts: unknown[]
  ) => RecordChecker['check']
  return { head, check: make(head, describe, ...Object.values(STEPS)) }
}

function stepOver(field: RecordField): string {
  if (field.name === 'run_seq') return 'p = sequence(b, p, end);'
  if (field.name === 'timestamp') return 'p = timestamp(b, p, end);'
  switch (field.kind) {
    case 'string':
      return 'p = text(b, p, end);'
    case 'double':
    case 'fixed':
      return `p += ${field.kind === 'double' ? 8 : field.size}; if (p > end) p = ${ENDS_EARLY};`
    default:
      return `p = ${field.kind}(b, p, end);`
  }
}

/** Code that fills in the head from a field; `s` is the start of the field. */
function noteOf(field: RecordField): string {
  if (field.name === 'run_id') return ' head.runIdStart = s;'
  if (field.name === 'run_seq') return ' head.runSeq = lastNumber();'
  // Its length is compared first: nearly no other type has it, and a record costs one comparison.
  if (field.name === 'event_type') return " head.reportsLoss = p - s === 12 && sameText(b, s + 1, p, 'events_lost');"
  if (field.name !== 'retention_class') return ''
  return ` t = p - lastNumber();
    if (!sameText(b, t, p, head.retentionClass)) head.retentionClass = b.toString('utf8', t, p);`
}

const checkers = new Map<bigint, RecordChecker>()

/** The checker of a schema version by fingerprint, or undefined if no version of the record has it. */
export function findChecker(fingerprint: bigint): RecordChecker | undefined {
  const known = checkers.get(fingerprint)
  if (known !== undefined) return known
  const version = findSchema(fingerprint)
  if (version === undefined) return undefined
  const checker = createChecker(version)
  checkers.set(fingerprint, checker)
  return checker
}
