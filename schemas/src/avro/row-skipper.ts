/**
 * Finds the bounds of rows of audit_events in the bytes that ClickHouse gives back (`FORMAT Avro`, the columns of row form 1): where
 * the record of each writer schema ends, its identity, and its position in the log. Nothing is decoded.
 *
 * Like the checker, it is one function generated from the schema.
 */
import { NEWEST_SCHEMA, type RecordField, SCHEMA_VERSIONS, type SchemaVersion } from './avro-schema.ts'
import { MAX_VARINT_BYTES, writeBigLong } from './varint.ts'

/** The row that was skipped last. Reused between calls. */
export interface RowBounds {
  /** Where the 16 bytes of run_id start. */
  runIdStart: number
  runSeq: number
  /** The text of producer_id. */
  producerStart: number
  producerEnd: number
  /** Whether it is the replay of a dead letter. */
  isReplay: boolean
  /** Where the fields of each version of the record end: the oldest version first. */
  readonly bodyEnds: number[]
  logOffset: number
  /** Milliseconds since 1970. */
  logTimeMs: number
  /** Where writer_schema starts, the last field. */
  schemaStart: number
}

/** Skips rows. It holds the state of a walk, so use one per thread. */
export interface RowSkipper {
  readonly bounds: RowBounds
  /** @returns the end of the row that starts at `start`; -1, if the bytes end before */
  skip(bytes: Buffer, start: number): number
}

let number = 0

/** A zigzag varint; {@link number} is exact for safe integers. */
function long(bytes: Buffer, start: number): number {
  let [position, factor, zigzag] = [start, 1, 0]
  for (;;) {
    const byte = bytes[position++] ?? 0
    zigzag += (byte & 0x7f) * factor
    if (byte < 0x80) break
    factor *= 0x80
  }
  number = zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2
  return position
}

const lastNumber = (): number => number

const TEXT = 't = b[p++]; if (t < 0x80) p += t >> 1; else { p = long(b, p - 1); p += lastNumber() }'
const LONG = 'while (b[p++] >= 0x80);'
const VALUE = 'p = long(b, p);'

function stepOver({ name, kind, size }: RecordField): string {
  if (name === 'run_seq') return `${VALUE} bounds.runSeq = lastNumber();`
  switch (kind) {
    case 'string':
    case 'uuid':
      return TEXT
    case 'long':
      return LONG
    default:
      return `p += ${kind === 'double' ? 8 : kind === 'boolean' ? 1 : size};`
  }
}

function fieldLine(field: RecordField, index: number): string {
  const step = stepOver(field)
  const ends = SCHEMA_VERSIONS.flatMap(({ fields }, version) =>
    fields.length === index + 1 ? [`bounds.bodyEnds[${version}] = p;`] : [],
  ).join(' ')
  if (field.name === 'run_id') return `bounds.runIdStart = p; ${step} ${ends}`
  // The text ends at p: its length is varint and bytes.
  if (field.name === 'producer_id')
    return `p = long(b, p); bounds.producerStart = p; p += lastNumber(); bounds.producerEnd = p; ${ends}`
  const note = field.name === 'replay_of' ? 'bounds.isReplay = b[p] !== 0;' : ''
  return `${note} ${field.optional ? `if (b[p++] !== 0) { ${step} }` : step} ${ends}`
}

export function createRowSkipper(): RowSkipper {
  const bounds: RowBounds = {
    runIdStart: 0,
    runSeq: 0,
    producerStart: 0,
    producerEnd: 0,
    isReplay: false,
    bodyEnds: SCHEMA_VERSIONS.map(() => 0),
    logOffset: 0,
    logTimeMs: 0,
    schemaStart: 0,
  }
  const body = `return function skipRow(b, p) { let t = 0;
    ${NEWEST_SCHEMA.fields.map(fieldLine).join('\n')}
    p += 8; ${LONG}
    ${VALUE} bounds.logOffset = lastNumber(); ${VALUE} bounds.logTimeMs = lastNumber();
    bounds.schemaStart = p; ${LONG}
    return p <= b.length ? p : -1 }`
  // The text of the function comes only from the schema files of this package, like that of the checker.
  // oxlint-disable-next-line typescript/no-implied-eval
  const make = new Function('bounds', 'long', 'lastNumber', body) as (...parts: unknown[]) => RowSkipper['skip']
  return { bounds, skip: make(bounds, long, lastNumber) }
}

/** The bytes of the column writer_schema of each version, as latin1 text. */
export const SCHEMA_TAILS: ReadonlyMap<string, SchemaVersion> = new Map(
  SCHEMA_VERSIONS.map((version) => {
    const bytes = Buffer.alloc(MAX_VARINT_BYTES)
    // The column is a signed Int64; the fingerprint has 64 unsigned bits.
    const end = writeBigLong(bytes, 0, BigInt.asIntN(64, version.fingerprint))
    return [bytes.toString('latin1', 0, end), version]
  }),
)
