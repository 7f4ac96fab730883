/**
 * The structural check: whether bytes are one whole record of a schema version that will come back from ClickHouse byte
 * for byte, without decoding it. What fails here becomes a dead letter, so every reason names the field.
 */
import { isUtf8 } from 'node:buffer'
import { type FieldKind, findSchema, type RecordField, type SchemaVersion } from './avro-schema.ts'

/** What the pipeline needs of a record before its row exists. Reused between calls. */
export interface RecordHead {
  /** Where the 16 bytes of run_id start. */
  runIdStart: number
  runSeq: number
  retentionClass: string
}

type Kind = 0 | 1 | 2 | 3 | 4 | 5
const KINDS: Record<FieldKind, Kind> = { string: 0, uuid: 1, long: 2, double: 3, boolean: 4, fixed: 5 }

/** Texts up to this length are scanned in JavaScript; from here on a call into C++ is cheaper. */
const SCAN_BYTES = 48
const UUID_BYTES = 36
/** What DateTime64(6) can hold: 1900-01-01 to 2299-12-31, microseconds since 1970. */
const TIMESTAMP_RANGE = [Date.UTC(1900, 0, 1) * 1000, Date.UTC(2300, 0, 1) * 1000 - 1] as const

interface FieldPlan {
  readonly kind: Kind
  readonly optional: boolean
  readonly size: number
  readonly field: RecordField
  /** Set for the fields of the head, and for the one whose column is narrower than its wire type. */
  readonly role: 'run_id' | 'run_seq' | 'retention_class' | 'timestamp' | undefined
}

const ROLES = new Set(['run_id', 'run_seq', 'retention_class', 'timestamp'])

/** Checks records of one schema version; holds the state of a walk, so use one per thread of work. */
export class RecordChecker {
  readonly head: RecordHead = { runIdStart: 0, runSeq: 0, retentionClass: '' }
  readonly #plans: readonly FieldPlan[]
  #bytes: Buffer = Buffer.alloc(0)
  #position = 0
  #end = 0
  #value = 0

  constructor(version: SchemaVersion) {
    this.#plans = version.fields.map((field) => ({
      kind: KINDS[field.kind],
      optional: field.optional,
      size: field.size,
      field,
      role: ROLES.has(field.name) ? (field.name as FieldPlan['role']) : undefined,
    }))
  }

  /**
   * Walks the record in `bytes[start, end)`; afterwards `head` describes it.
   * @returns undefined if it is whole and storable, else why not, naming the field. Never the content.
   */
  check(bytes: Buffer, start: number, end: number): string | undefined {
    this.#bytes = bytes
    this.#position = start
    this.#end = end
    for (const plan of this.#plans) {
      const fault = this.#field(plan)
      if (fault !== undefined) return `${fault} (field ${plan.field.name})`
    }
    if (this.#position !== end) return `${end - this.#position} bytes after the last field`
    return undefined
  }

  #field(plan: FieldPlan): string | undefined {
    const start = this.#position
    if (plan.optional) {
      if (start >= this.#end) return 'record ends early'
      const branch = this.#bytes[this.#position++]
      if (branch === 0) return undefined
      if (branch !== 2) return 'no such union branch'
    }
    const fault = this.#content(plan)
    if (fault !== undefined || plan.role === undefined) return fault
    return this.#note(plan, start)
  }

  #content(plan: FieldPlan): string | undefined {
    switch (plan.kind) {
      case 0:
        return this.#text()
      case 1:
        return this.#uuid()
      case 2:
        return this.#long()
      case 3:
        return this.#skip(8)
      case 4:
        return this.#boolean()
      case 5:
        return this.#skip(plan.size)
    }
  }

  #note(plan: FieldPlan, start: number): string | undefined {
    if (plan.role === 'run_id') this.head.runIdStart = start
    else if (plan.role === 'retention_class') this.#noteClass(start)
    else if (plan.role === 'run_seq') {
      if (this.#value < 0 || !Number.isSafeInteger(this.#value)) return 'expected 0 to 2^53 - 1'
      this.head.runSeq = this.#value
    } else if (this.#value < TIMESTAMP_RANGE[0] || this.#value > TIMESTAMP_RANGE[1]) return 'expected 1900 to 2299'
    return undefined
  }

  // Nearly every record has the class of the one before: compare before making a string.
  #noteClass(start: number): void {
    const text = start + 1
    const length = this.#position - text
    const known = this.head.retentionClass
    let same = length === known.length
    for (let index = 0; same && index < length; index++) same = this.#bytes[text + index] === known.charCodeAt(index)
    if (!same) this.head.retentionClass = this.#bytes.toString('utf8', this.#position - this.#value, this.#position)
  }

  #skip(size: number): string | undefined {
    this.#position += size
    return this.#position > this.#end ? 'record ends early' : undefined
  }

  #boolean(): string | undefined {
    if (this.#position >= this.#end) return 'record ends early'
    return (this.#bytes[this.#position++] ?? 2) > 1 ? 'a boolean is 0 or 1' : undefined
  }

  /** Reads a zigzag varint into #value; exact for safe integers. Refuses spare bytes, which would not come back. */
  #long(): string | undefined {
    let factor = 1
    let zigzag = 0
    for (let count = 1; ; count++) {
      if (this.#position >= this.#end) return 'record ends early'
      const byte = this.#bytes[this.#position++] ?? 0
      zigzag += (byte & 0x7f) * factor
      if (byte < 0x80) {
        if (byte === 0 && count > 1) return 'number is not in its shortest form'
        if (count === 10 && byte > 1) return 'number has more than 64 bits'
        break
      }
      if (count === 10) return 'number has more than 64 bits'
      factor *= 0x80
    }
    this.#value = zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2
    return undefined
  }

  #text(): string | undefined {
    const fault = this.#long()
    if (fault !== undefined) return fault
    const length = this.#value
    const start = this.#position
    if (length < 0) return 'negative length'
    if (length > this.#end - start) return 'record ends early'
    this.#position = start + length
    if (length <= SCAN_BYTES) {
      let index = start
      while (index < this.#position && (this.#bytes[index] ?? 0) < 0x80) index++
      if (index === this.#position) return undefined
    }
    return isUtf8(this.#bytes.subarray(start, this.#position)) ? undefined : 'invalid UTF-8'
  }

  #uuid(): string | undefined {
    const start = this.#position + 1
    if (this.#position >= this.#end) return 'record ends early'
    if (this.#bytes[this.#position] !== UUID_BYTES << 1) return 'expected a UUID of 36 characters'
    if (start + UUID_BYTES > this.#end) return 'record ends early'
    this.#position = start + UUID_BYTES
    for (let index = 0; index < UUID_BYTES; index++) {
      const byte = this.#bytes[start + index] ?? 0
      const dash = index === 8 || index === 13 || index === 18 || index === 23
      const hex = (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66)
      if (dash ? byte !== 0x2d : !hex) return 'expected a UUID in lower case'
    }
    return undefined
  }
}

const checkers = new Map<bigint, RecordChecker>()

/** The checker of a schema version by fingerprint, or undefined if it was never one of ours. */
export function findChecker(fingerprint: bigint): RecordChecker | undefined {
  const known = checkers.get(fingerprint)
  if (known !== undefined) return known
  const version = findSchema(fingerprint)
  if (version === undefined) return undefined
  const checker = new RecordChecker(version)
  checkers.set(fingerprint, checker)
  return checker
}
