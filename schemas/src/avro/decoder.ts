/** Decoding for the paths where speed does not matter: dead letters, and ranges that the server refused. */
import type avsc from 'avsc'
import { loadAvsc, NEWEST_SCHEMA, type SchemaVersion } from './avro-schema.ts'

/** Longs as numbers where a number can hold them, else as bigints: avsc alone refuses such longs. */
const EXACT_LONG = {
  fromBuffer: (bytes: Buffer) => {
    const value = bytes.readBigInt64LE()
    return Number.isSafeInteger(Number(value)) ? Number(value) : value
  },
  toBuffer: (value: number | bigint) => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigInt64LE(BigInt(value))
    return bytes
  },
  fromJSON: (value: number) => value,
  toJSON: (value: number | bigint) => Number(value),
  isValid: (value: unknown) => typeof value === 'bigint' || Number.isSafeInteger(value),
  compare: (a: number | bigint, b: number | bigint) => (a < b ? -1 : Number(a > b)),
}

export interface ReadIdentity {
  /** 16 bytes. */
  readonly runId: Buffer
  readonly runSeq: number
}

/** The fields that every version begins with. */
const IDENTITY: avsc.Schema = {
  type: 'record',
  name: 'Identity',
  fields: [
    { name: 'run_id', type: { type: 'fixed', name: 'run_id', size: 16 } },
    { name: 'run_seq', type: 'long' },
  ],
}

let identityType: avsc.Type | undefined

/**
 * Reads the identity of a record, also where the rest of it cannot be read.
 * @returns undefined where the bytes end before, or hold no run_seq from 0 to 2^53 - 1.
 */
export function readIdentity(message: Buffer, bodyStart: number): ReadIdentity | undefined {
  try {
    identityType ??= loadAvsc().Type.forSchema(IDENTITY)
    const { value, offset } = identityType.decode(message, bodyStart)
    if (offset < 0) return undefined
    const { run_id: runId, run_seq: runSeq } = value as { run_id: Buffer; run_seq: number }
    return runSeq < 0 ? undefined : { runId: Buffer.from(runId), runSeq }
  } catch {
    // avsc refuses a long that a number cannot hold.
    return undefined
  }
}

/** Reads event_id, which stands at the same place in every version, of a record that the checker has passed. */
export function readEventId(message: Buffer, bodyStart: number): string {
  let position = bodyStart
  for (const { name, type } of typeOf(NEWEST_SCHEMA).fields) {
    const { value, offset } = type.decode(message, position)
    if (name === 'event_id') return String(value)
    position = offset
  }
  return ''
}

const types = new WeakMap<SchemaVersion, avsc.types.RecordType>()

/**
 * Reads the fields of a record of this version.
 * @throws Error if the bytes are not one whole record.
 */
export function decodeRecord(version: SchemaVersion, message: Buffer, bodyStart: number): Record<string, unknown> {
  return { ...(typeOf(version).fromBuffer(message.subarray(bodyStart)) as Record<string, unknown>) }
}

/** Reads the fields of a damaged record in their order, up to the first that cannot be read. */
export function decodeAsFarAsPossible(
  version: SchemaVersion,
  message: Buffer,
  bodyStart: number,
): Record<string, unknown> {
  const fields: Record<string, unknown> = {}
  let position = bodyStart
  for (const { name, type } of typeOf(version).fields) {
    try {
      const { value, offset } = type.decode(message, position)
      if (offset < 0) return fields
      fields[name] = value as unknown
      position = offset
    } catch {
      return fields
    }
  }
  return fields
}

function typeOf(version: SchemaVersion): avsc.types.RecordType {
  const known = types.get(version)
  if (known !== undefined) return known
  const { Type, types: builtIn } = loadAvsc()
  // oxlint-disable-next-line eslint/no-underscore-dangle -- avsc names it so
  const long = builtIn.LongType.__with(EXACT_LONG)
  const schema = JSON.parse(version.text) as avsc.Schema
  const type = Type.forSchema(schema, { wrapUnions: false, registry: { long } }) as avsc.types.RecordType
  types.set(version, type)
  return type
}
