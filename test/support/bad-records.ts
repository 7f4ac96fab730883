/**
 * Generates messages that are certainly not audit records. A random change of a record may by chance give a record again, so
 * each message is judged by other means than the checker under test: avsc decodes it, and the bytes must come back.
 */
import { isUtf8 } from 'node:buffer'
import { type AuditRecord, NEWEST_SCHEMA, SINGLE_OBJECT_BYTES, singleObjectHeader } from '@agent-audit/schemas'
import * as fc from 'fast-check'
import { encodeRecord, makeRecord, uuidOf } from './records.ts'

export const BAD_KINDS = [
  'random bytes',
  'random bytes behind a header',
  'truncated',
  'overlong',
  'unknown fingerprint',
  'unknown schema id',
  'invalid UTF-8',
  'bad UUID',
  'changed bytes',
  'tombstone',
  'empty value',
] as const

export interface BadMessage {
  readonly kind: (typeof BAD_KINDS)[number]
  /** null is a tombstone. */
  readonly value: Buffer | null
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const UUID_FIELDS = ['event_id', 'parent_event_id', 'approval_id'] as const
const MICROSECONDS = { earliest: Date.UTC(1900, 0) * 1000, end: Date.UTC(2300, 0) * 1000 }
const header = singleObjectHeader(NEWEST_SCHEMA)
/** Every text field filled, so that a change may fall into any of them. */
const textFields = NEWEST_SCHEMA.fields.filter((field) => field.kind === 'string').map((field) => field.name)

function fullRecord(fields: Partial<AuditRecord> = {}): AuditRecord {
  const texts = Object.fromEntries(textFields.map((name) => [name, `text of ${name}`])) as Partial<AuditRecord>
  const ids = { parent_event_id: uuidOf('parent'), approval_id: uuidOf('approval') }
  return makeRecord('bad', 0, { ...texts, ...ids, input_tokens: 12, cost_usd: 0.25, ...fields })
}

/** Whether a body could be stored and come back; `undefined` where avsc itself cannot tell (numbers beyond 2^53). */
export function isStorable(body: Buffer): boolean | undefined {
  let record: AuditRecord
  try {
    record = NEWEST_SCHEMA.avroType.fromBuffer(body) as AuditRecord
    if (!NEWEST_SCHEMA.avroType.toBuffer(record).equals(body)) return false
  } catch (error) {
    return String(error).includes('precision') ? undefined : false
  }
  const uuids = UUID_FIELDS.every((name) => UUID.test(record[name] ?? uuidOf('none')))
  const { run_seq: runSeq, timestamp } = record
  return uuids && runSeq >= 0 && timestamp >= MICROSECONDS.earliest && timestamp < MICROSECONDS.end
}

const good = encodeRecord(fullRecord())
const body = good.subarray(SINGLE_OBJECT_BYTES)
const bytes = (min: number, max: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: min, maxLength: max }).map((array) => Buffer.from(array))
const framed = (arbitrary: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> =>
  arbitrary.filter((made) => isStorable(made) === false).map((made) => Buffer.concat([header, made]))

/** Byte sequences that are no UTF-8: stray and missing continuations, overlong forms, surrogates, beyond U+10FFFF. */
const NOT_UTF8 = ['80', 'ff', 'c3', 'c080', 'e08080', 'eda080', 'f0808080', 'f4908080', 'e282'].map((hex) =>
  Buffer.from(hex, 'hex'),
)

const invalidUtf8 = fc
  .record({ field: fc.constantFrom(...textFields), noise: fc.constantFrom(...NOT_UTF8), at: fc.nat({ max: 50 }) })
  .map(({ field, noise, at }) => {
    const text = `before${'.'.repeat(at)}${'#'.repeat(noise.length)}after`
    const made = Buffer.from(encodeRecord(fullRecord({ [field]: text })))
    noise.copy(made, made.indexOf(`${'#'.repeat(noise.length)}after`))
    return made
  })
  .filter((made) => !isUtf8(made.subarray(made.indexOf('before'), made.indexOf('after'))))

const badUuid = fc
  .record({
    field: fc.constantFrom(...UUID_FIELDS),
    at: fc.nat({ max: 35 }),
    to: fc.constantFrom(...Array.from('GgzA-+ 0_{')),
  })
  .map(({ field, at, to }) => {
    const uuid = uuidOf(field)
    return { field, changed: `${uuid.slice(0, at)}${to}${uuid.slice(at + 1)}` }
  })
  .filter(({ changed }) => !UUID.test(changed))
  .map(({ field, changed }) => {
    const made = encodeRecord(fullRecord({ [field]: uuidOf(field) }))
    made.write(changed, made.indexOf(uuidOf(field)), 'latin1')
    return made
  })

const shortUuid = fc
  .record({ field: fc.constantFrom(...UUID_FIELDS), text: fc.string({ maxLength: 60 }) })
  .filter(({ text }) => !UUID.test(text))
  .map(({ field, text }) => Buffer.concat([header, NEWEST_SCHEMA.avroType.toBuffer(fullRecord({ [field]: text }))]))

const changedBytes = framed(
  fc
    .array(fc.record({ at: fc.nat({ max: body.length - 1 }), to: fc.nat({ max: 255 }) }), {
      minLength: 1,
      maxLength: 4,
    })
    .map((changes) => {
      const made = Buffer.from(body)
      for (const { at, to } of changes) made[at] = to
      return made
    }),
)

const kinds: Record<BadMessage['kind'], fc.Arbitrary<Buffer | null>> = {
  'random bytes': bytes(1, 300).filter((made) => !made.subarray(0, 2).equals(header.subarray(0, 2))),
  'random bytes behind a header': framed(bytes(0, 300)),
  truncated: fc.nat({ max: good.length - 2 }).map((end) => good.subarray(0, end + 1)),
  overlong: bytes(1, 40).map((more) => Buffer.concat([good, more])),
  'unknown fingerprint': bytes(8, 8)
    .filter((made) => !made.equals(header.subarray(2)))
    .map((made) => Buffer.concat([header.subarray(0, 2), made, body])),
  'unknown schema id': bytes(4, 4).map((id) => Buffer.concat([Buffer.of(0), id, body])),
  'invalid UTF-8': invalidUtf8,
  'bad UUID': fc.oneof(badUuid, shortUuid),
  'changed bytes': changedBytes,
  tombstone: fc.constant(null),
  'empty value': fc.constant(Buffer.alloc(0)),
}

/** All kinds, the two without content less often. */
export const badMessages: fc.Arbitrary<BadMessage> = fc.oneof(
  ...BAD_KINDS.map((kind) => ({
    weight: kind === 'tombstone' || kind === 'empty value' ? 1 : 3,
    arbitrary: kinds[kind].map((value) => ({ kind, value })),
  })),
)
