/** The bytes of the contract never change, equal those of any Avro library, and the checker accepts no others. */
import { readdirSync, readFileSync } from 'node:fs'
import {
  type AuditRecord,
  findChecker,
  findSchema,
  fingerprint64,
  fingerprintOf,
  maxRecordBytes,
  NEWEST_SCHEMA,
  readFrame,
  type RecordField,
  reframeToConfluent,
  SCHEMA_VERSIONS,
  SINGLE_OBJECT_BYTES,
  singleObjectHeader,
  writeRecord,
} from '@agent-audit/schemas'
import avsc from 'avsc'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FULL, FULL_2, LEAST } from './records.ts'

const GOLDEN = new URL('golden/', import.meta.url)
const { fields, avroType } = NEWEST_SCHEMA

/** A record in single-object encoding. */
function encode(record: AuditRecord): Buffer {
  const bytes = Buffer.alloc(SINGLE_OBJECT_BYTES + maxRecordBytes(record))
  singleObjectHeader(NEWEST_SCHEMA).copy(bytes)
  return bytes.subarray(0, writeRecord(record, bytes, SINGLE_OBJECT_BYTES))
}

function check(body: Buffer): string | undefined {
  const checker = findChecker(NEWEST_SCHEMA.fingerprint)
  if (checker === undefined) throw new Error('no checker of the newest version')
  return checker.check(body, 0, body.length)
}

/** Fixed fields as Buffers: avsc accepts and returns nothing else. */
function asAvsc(record: AuditRecord): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(record).map(([name, value]: [string, unknown]) => [
      name,
      value instanceof Uint8Array ? Buffer.from(value) : value,
    ]),
  )
}

describe('golden bytes', () => {
  it.each([
    ['0001-least.bin', LEAST],
    ['0001-full.bin', FULL],
    ['0002-least.bin', LEAST],
    ['0002-full.bin', FULL_2],
  ])('the encoder writes the bytes of %s', (file, record) => {
    const golden = readFileSync(new URL(file, GOLDEN))
    const frame = readFrame(golden)
    if (frame.kind !== 'single-object') throw new Error(frame.kind)
    const version = findSchema(frame.fingerprint)
    if (version === undefined) throw new Error('a version is gone')
    // Versions after the golden one append their fields, each one null byte here.
    const body = encode(record).subarray(SINGLE_OBJECT_BYTES)
    expect(
      body.equals(Buffer.concat([golden.subarray(SINGLE_OBJECT_BYTES), Buffer.alloc(version.missingFields)])),
    ).toBe(true)
    const decoded = version.avroType.fromBuffer(golden.subarray(frame.bodyStart)) as object
    expect({ ...Object.fromEntries(version.fields.map(({ name }) => [name, null])), ...decoded }).toEqual(
      Object.fromEntries(Object.entries(asAvsc(record)).slice(0, version.fields.length)),
    )
  })

  it.each([
    [1, '5c05d5104382e074'],
    [2, 'fc3c36e5cc74476a'],
  ])('the fingerprint of version %i never changes', (version, fingerprint) => {
    expect(SCHEMA_VERSIONS[version - 1]?.fingerprint.toString(16).padStart(16, '0')).toBe(fingerprint)
  })

  it('every version of the schema has golden bytes, which the checker accepts', () => {
    const files = readdirSync(GOLDEN)
    for (const { version, fingerprint } of SCHEMA_VERSIONS) {
      const own = files.filter((file) => file.startsWith(String(version).padStart(4, '0')))
      expect(own.length).toBeGreaterThan(0)
      for (const file of own) {
        const bytes = readFileSync(new URL(file, GOLDEN))
        expect(readFrame(bytes)).toMatchObject({ kind: 'single-object', fingerprint })
        expect(findChecker(fingerprint)?.check(bytes, SINGLE_OBJECT_BYTES, bytes.length)).toBeUndefined()
      }
    }
  })
})

function withoutDoc(field: RecordField): RecordField {
  return { ...field, doc: '' }
}

describe('the schema', () => {
  it('has a doc for every field', () => {
    const undocumented = fields.filter(({ doc }) => !/\w.*\.$/.test(doc)).map(({ name }) => name)
    expect(undocumented).toEqual([])
  })

  it('a version only appends optional fields to the version before', () => {
    for (const [index, { fields: own }] of SCHEMA_VERSIONS.entries()) {
      const before = SCHEMA_VERSIONS[index - 1]?.fields ?? own
      // Only a doc may say more than before.
      expect(own.slice(0, before.length).map(withoutDoc)).toEqual(before.map(withoutDoc))
      expect(own.slice(before.length).filter((field) => !field.optional)).toEqual([])
    }
  })

  it('the newest version of the history is the schema file itself', () => {
    const directory = new URL('../../schemas/avro/', import.meta.url)
    const newest = readdirSync(new URL('history/', directory)).toSorted().at(-1) ?? ''
    const text = (file: string): string => readFileSync(new URL(file, directory), 'utf8')
    expect(text(`history/${newest}`)).toBe(text('audit-event.avsc'))
  })

  it('the fingerprint of each version is that of its canonical form by avsc', () => {
    for (const { text, fingerprint } of SCHEMA_VERSIONS) expect(fingerprint).toBe(fingerprintOf(text))
  })

  it('fingerprints are CRC-64-AVRO', () => {
    // From the Avro project's own test data, share/test/data/schema-tests.txt.
    expect(BigInt.asIntN(64, fingerprint64('"null"'))).toBe(7195948357588979594n)
    expect(BigInt.asIntN(64, fingerprint64('"int"'))).toBe(8247732601305521295n)
    expect(BigInt.asIntN(64, fingerprint64('{"name":"foo","type":"fixed","size":15}'))).toBe(1756455273707447556n)
  })
})

/** Decodes as avsc does, but with longs of all 64 bits: a damaged record can hold such longs. */
const wholeLongs = avsc.Type.forSchema(JSON.parse(NEWEST_SCHEMA.text, plainLong) as avsc.Schema, {
  wrapUnions: false,
  registry: {
    // oxlint-disable-next-line no-underscore-dangle -- avsc names it so
    long: avsc.types.LongType.__with({
      fromBuffer: (bytes: Buffer) => bytes.readBigInt64LE(),
      toBuffer: (value: bigint) => {
        const bytes = Buffer.alloc(8)
        bytes.writeBigInt64LE(value)
        return bytes
      },
      fromJSON: BigInt,
      toJSON: Number,
      isValid: (value: unknown) => typeof value === 'bigint',
      compare: (one: bigint, other: bigint) => Number(one - other),
    }),
  },
})

/** Avsc looks into its registry for `long` only where no logical type stands beside it. */
function plainLong(_key: string, value: unknown): unknown {
  return (value as { logicalType?: string } | null)?.logicalType === 'timestamp-micros' ? 'long' : value
}

/** Avsc accepts no integer beyond these. */
const safeLong = fc.integer({ min: 0, max: 2 ** 53 - 2 })

/** Any value of a field, extremes included. */
function valueOf(field: RecordField): fc.Arbitrary<unknown> {
  const value = contentOf(field)
  return field.optional ? fc.option(value, { nil: null }) : value
}

function contentOf({ name, kind, size }: RecordField): fc.Arbitrary<unknown> {
  if (name === 'timestamp') return fc.integer({ min: -2e15, max: 2 ** 53 - 2 })
  if (name === 'run_seq') return safeLong
  switch (kind) {
    case 'string':
      return fc.oneof(
        fc.string(),
        fc.string({ unit: 'binary', maxLength: 100 }),
        fc.string({ minLength: 20, maxLength: 80 }),
      )
    case 'uuid':
      return fc.uuid()
    case 'long':
      return fc.oneof(safeLong, fc.integer(), fc.integer({ min: -(2 ** 52), max: 2 ** 52 }))
    case 'double':
      return fc.double()
    case 'boolean':
      return fc.boolean()
    case 'fixed':
      return fc.uint8Array({ minLength: size, maxLength: size })
  }
}

const records = fc.record(
  Object.fromEntries(fields.map((field) => [field.name, valueOf(field)])),
) as unknown as fc.Arbitrary<AuditRecord>

describe('any record', () => {
  it('is written as avsc writes it, within the bound, and the checker accepts it', () => {
    fc.assert(
      fc.property(records, (record) => {
        const body = encode(record).subarray(SINGLE_OBJECT_BYTES)
        expect(body.equals(avroType.toBuffer(asAvsc(record)))).toBe(true)
        expect(check(body)).toBeUndefined()
      }),
      { numRuns: 500 },
    )
  })

  // Lengths in bytes around which the length itself takes another byte; below 70 the encoder has a loop for short texts.
  const boundaries = [64, 8192, 2 ** 20].flatMap((bytes) => [bytes - 1, bytes, bytes + 1])
  it.each(['a', '\u00e9', '\u20ac', '\u{1f600}'])(
    'texts of %s are written as avsc writes them, at every length',
    (unit) => {
      const unitBytes = Buffer.byteLength(unit)
      for (const bytes of [...Array.from({ length: 70 }, (_, length) => length), ...boundaries]) {
        const count = Math.floor(bytes / unitBytes)
        const rest = 'x'.repeat(bytes - count * unitBytes)
        for (const text of [rest + unit.repeat(count), unit.repeat(count) + rest]) {
          const record = { ...LEAST, output_text: text, error: 'text of the next field' }
          expect(
            encode(record)
              .subarray(SINGLE_OBJECT_BYTES)
              .equals(avroType.toBuffer(asAvsc(record))),
          ).toBe(true)
        }
      }
    },
  )

  it('keeps its body in the Confluent wire format', () => {
    fc.assert(
      fc.property(records, fc.nat(), (record, id) => {
        const body = Buffer.from(encode(record).subarray(SINGLE_OBJECT_BYTES))
        const message = reframeToConfluent(encode(record), id)
        expect(readFrame(message)).toEqual({ kind: 'confluent', registryId: id, bodyStart: 5 })
        expect(message.subarray(5).equals(body)).toBe(true)
        // A resend frames the same bytes again, in place.
        const again = encode(record)
        reframeToConfluent(again, id)
        expect(reframeToConfluent(again, id).equals(message)).toBe(true)
      }),
      { numRuns: 100 },
    )
  })

  it('is refused when it is cut anywhere, with the name of a field, and when bytes follow its end', () => {
    const body = encode(FULL).subarray(SINGLE_OBJECT_BYTES)
    for (let end = 0; end < body.length; end++)
      expect(check(Buffer.from(body.subarray(0, end)))).toMatch(/\(field \w+\)$/)
    expect(check(Buffer.concat([body, Buffer.of(0)]))).toBe('1 bytes after the last field')
  })

  it('is refused with any damage, or is still a record that decodes and encodes to the same bytes', () => {
    const body = encode(FULL).subarray(SINGLE_OBJECT_BYTES)
    fc.assert(
      fc.property(fc.nat({ max: body.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, bits) => {
        const damaged = Buffer.from(body)
        damaged[at] = (damaged[at] ?? 0) ^ bits
        const fault = check(damaged)
        const comesBack = fault === undefined && wholeLongs.toBuffer(wholeLongs.fromBuffer(damaged)).equals(damaged)
        expect(comesBack ? 'comes back' : fault).toMatch(/^comes back$|\(field \w+\)$|^\d+ bytes after the last field$/)
      }),
      { numRuns: 3000 },
    )
  })
})

/** The bytes of a record, with the value of one text replaced. */
function replaced(marker: string, by: Buffer): Buffer {
  const body = encode({ ...LEAST, reasoning: marker }).subarray(SINGLE_OBJECT_BYTES)
  const at = body.indexOf(marker)
  return Buffer.concat([body.subarray(0, at), by, body.subarray(at + marker.length)])
}

function encodeBody(record: AuditRecord): Buffer {
  return encode(record).subarray(SINGLE_OBJECT_BYTES)
}

function upperCaseId(): Buffer {
  return encodeBody({ ...LEAST, event_id: '0197A0B2-1234-7abc-8def-0123456789ab' })
}

/** A record with one byte replaced, that of a field, counted from the end: in LEAST each field after event_id is one byte. */
function replaceByte(record: AuditRecord, name: string, value: number): Buffer {
  const body = Buffer.from(encodeBody(record))
  const fromEnd = fields.length - fields.findIndex((field) => field.name === name)
  body[body.length - fromEnd] = value
  return body
}

function longNumber(): Buffer {
  const body = encodeBody(LEAST)
  return Buffer.concat([body.subarray(0, 16), Buffer.of(0x80, 0x00), body.subarray(17)])
}

describe('the checker names the fault and the field', () => {
  it.each([
    ['invalid UTF-8', replaced('abcd', Buffer.of(0x61, 0xff, 0xfe, 0x62)), 'invalid UTF-8 (field reasoning)'],
    ['an encoded surrogate', replaced('abc', Buffer.of(0xed, 0xa0, 0x80)), 'invalid UTF-8 (field reasoning)'],
    ['a UUID in upper case', upperCaseId(), 'expected a UUID in lower case (field event_id)'],
    ['an unknown union branch', replaceByte(LEAST, 'environment', 4), 'no such union branch (field environment)'],
    ['a boolean of 2', replaceByte(LEAST, 'requires_approval', 2), 'a boolean is 0 or 1 (field requires_approval)'],
    ['a negative run_seq', encodeBody({ ...LEAST, run_seq: -1 }), 'expected 0 to 2^53 - 1 (field run_seq)'],
    [
      'a timestamp of the year 2300',
      encodeBody({ ...LEAST, timestamp: 1.05e16 }),
      'expected 1900 to 2299 (field timestamp)',
    ],
    ['a number in a longer form', longNumber(), 'number is not in its shortest form (field run_seq)'],
    ['an empty body', Buffer.alloc(0), 'record ends early (field run_id)'],
  ])('%s', (_what, body, fault) => {
    expect(check(body)).toBe(fault)
  })
})
