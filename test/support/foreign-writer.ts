/**
 * A producer that is not ours: it writes records of every version of the schema with values that ours never writes (NaN, -0, 2^62,
 * zero bytes, all kinds of text), by avsc and bare varints, and seals them by the formats of docs/integrity.md alone.
 */
import { createHash } from 'node:crypto'
import {
  type RecordField,
  SCHEMA_VERSIONS,
  type SchemaVersion,
  singleObjectHeader,
  writeBigLong,
} from '@agent-audit/schemas'
import { formatNote, formatProducerSeal, type KeySigner, noteHash, type ProducerSeal } from '@agent-audit/seals'
import { runIdOf, uuidOf } from './records.ts'

export interface ForeignRun {
  readonly runId: string
  /** In single-object encoding, in the order of run_seq. */
  readonly records: readonly Buffer[]
  readonly notes: readonly string[]
}

export interface ForeignOrder {
  readonly topic: string
  /** Its key name is the producer_id. */
  readonly signer: KeySigner
  /** Records of each version. */
  readonly count: number
  readonly random: () => number
}

const TEXTS = [
  '',
  'a',
  ' a ',
  'zero \0 byte',
  '\0',
  '\u{1f600}\u{10ffff}',
  '\ufeffmark',
  'e\u0301 and \u00e9',
  'line\r\nline\t\u0085\u2028',
  '\u202ebackwards',
  "' OR 1=1 -- \\' \\",
  '{"a": [1, 2.50, "\\u0000"]}',
  'long '.repeat(2000),
]
const LONGS = [0n, 1n, -1n, 63n, 64n, 2n ** 31n, -(2n ** 31n), 2n ** 53n, 2n ** 62n, -(2n ** 62n), 2n ** 63n - 1n]
const DOUBLES = [0, -0, NaN, Infinity, -Infinity, 5e-324, 1.7976931348623157e308, 0.1, -1]

/** All records of its run: those of the oldest version first, each version in seals of its own. */
export function makeForeignRun({ topic, signer, count, random }: ForeignOrder): ForeignRun {
  const runId = runIdOf(`foreign ${topic} ${random()}`)
  const producerId = signer.keyName
  const records: Buffer[] = []
  const notes: string[] = []
  for (const version of SCHEMA_VERSIONS) {
    const first = records.length
    const bodies = Array.from({ length: count }, (_, index) =>
      encode(version, { runId, producerId, seq: first + index, random }),
    )
    records.push(...bodies.map((body) => Buffer.concat([singleObjectHeader(version), body])))
    const before = notes.at(-1)
    const seal: ProducerSeal = {
      topic,
      producerId,
      runId: runId.toString('hex'),
      number: notes.length,
      first,
      last: records.length - 1,
      count,
      schema: version.fingerprint.toString(16).padStart(16, '0'),
      digest: digestOf(bodies),
      gaps: [],
      undelivered: [],
      prev: before === undefined ? undefined : noteHash(before),
      time: Date.UTC(2026, 0),
      state: { kind: version === SCHEMA_VERSIONS.at(-1) ? 'closed' : 'open' },
    }
    const said = formatProducerSeal(seal)
    notes.push(formatNote(said, [signer.signatureLine(said)]))
  }
  return { runId: runId.toString('hex'), records, notes }
}

function digestOf(bodies: readonly Buffer[]): Buffer {
  const leaves = bodies.map((body) => createHash('sha256').update(Buffer.of(0)).update(body).digest())
  return createHash('sha256').update(Buffer.concat(leaves)).digest()
}

interface Place {
  readonly runId: Buffer
  readonly producerId: string
  readonly seq: number
  readonly random: () => number
}

function encode({ fields }: SchemaVersion, place: Place): Buffer {
  return Buffer.concat(fields.map((field) => encodeField(field, place)))
}

function encodeField(field: RecordField, { runId, producerId, seq, random }: Place): Buffer {
  const own: Record<string, Buffer> = {
    run_id: runId,
    run_seq: long(BigInt(seq)),
    session_seq: long(BigInt(seq)),
    producer_id: text(producerId),
    retention_class: text('default'),
    event_id: text(uuidOf(`${runId.toString('hex')} ${seq}`)),
    timestamp: long(BigInt(Date.UTC(2026, 0) * 1000 + seq)),
    event_type: text('custom'),
    session_id: text('session of the foreign writer'),
    replay_of: Buffer.of(0),
  }
  const given = own[field.name]
  if (given !== undefined) return given
  if (!field.optional) return valueOf(field, random)
  return random() < 0.3 ? Buffer.of(0) : Buffer.concat([Buffer.of(2), valueOf(field, random)])
}

function valueOf({ kind, size }: RecordField, random: () => number): Buffer {
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T
  switch (kind) {
    case 'string':
      return text(pick(TEXTS))
    case 'uuid':
      return text(uuidOf(String(random())))
    case 'long':
      return long(pick(LONGS))
    case 'double': {
      const bytes = Buffer.alloc(8)
      bytes.writeDoubleLE(pick(DOUBLES))
      return bytes
    }
    case 'boolean':
      return Buffer.of(random() < 0.5 ? 0 : 1)
    case 'fixed':
      return random() < 0.3
        ? Buffer.alloc(size)
        : createHash('sha512').update(String(random())).digest().subarray(0, size)
  }
}

function long(value: bigint): Buffer {
  const bytes = Buffer.alloc(10)
  return bytes.subarray(0, writeBigLong(bytes, 0, value))
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([long(BigInt(bytes.length)), bytes])
}
