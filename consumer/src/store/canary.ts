/**
 * A check before the first insert: what goes into the columns of the tables comes back byte for byte. Seals are proven by the rows
 * that ClickHouse gives back, so a column that changes a value would make sound rows look changed.
 *
 * The rows travel as a temporary table of one query, of the types that the server says the real columns have: the trail has no
 * trace of them, and the consumer's user needs no right that it lacks.
 */
import {
  EVENTS_TABLE,
  IntegrityError,
  type RecordField,
  SCHEMA_VERSIONS,
  type SchemaVersion,
  SKIPPED_TABLE,
  writeBigLong,
} from '@agent-audit/schemas'
import { type EncodedRows, encodeSkipped, EventBlock, type SkippedRow } from '../pipeline/block.ts'
import { BufferMemory } from '../pipeline/buffer-memory.ts'
import type { Table } from '../pipeline/sink.ts'

/** @returns the rows that the server gives back, without the container around them */
export type RoundTrip = (table: Table, rows: EncodedRows) => Promise<Buffer>

const LOG = { logId: Buffer.from('00ff7f8001fe0a0d', 'hex'), topic: 'canary', partition: 2 ** 31 - 1 }
const LAST_OFFSET = 2 ** 53 - 2
const [FIRST_TIME, LAST_TIME] = [0, Date.UTC(2300, 0, 1) - 1]
const ODD_TEXTS = [
  '',
  '\u0000',
  'a\u0000b\u0000',
  '\uFEFF\u200B\u202E',
  '😀 e\u0301 \uFFFF',
  '\\N\t\n\'"`',
  'x'.repeat(300),
]
const ODD_DOUBLES = [0, -0, NaN, Infinity, -Infinity, 5e-324, -1.7976931348623157e308, 0.1]
const ODD_LONGS = [0n, -1n, 2n ** 53n + 1n, -(2n ** 63n), 2n ** 63n - 1n]
/** Within what a record may have (../../../schemas/src/avro/checker.ts). */
const TIMES = [BigInt(Date.UTC(1900, 0, 1)) * 1000n, -1n, 0n, BigInt(LAST_TIME) * 1000n + 999n]
/** So that every value of every list is in some record. */
const RECORDS = ODD_DOUBLES.length

/** @throws IntegrityError `STORE_UNFIT` naming the column that gives other bytes back; what `roundTrip` throws */
export async function checkCanary(roundTrip: RoundTrip): Promise<void> {
  const memory = new BufferMemory(2 ** 20)
  for (const version of SCHEMA_VERSIONS) {
    const block = new EventBlock(LOG, memory)
    for (let index = 0; index <= RECORDS; index++) {
      const body = encodeRecord(version, index)
      block.append(body, 0, version, index === 0 ? 0 : LAST_OFFSET, index === 0 ? FIRST_TIME : LAST_TIME)
    }
    await expectSame(`version ${version.version} of the record`, EVENTS_TABLE, block.close(), roundTrip)
    block.release()
  }
  const rows = encodeSkipped(LOG, { retentionClass: 'default', skipped: skippedRows() })
  await expectSame('skipped rows', SKIPPED_TABLE, rows, roundTrip)
}

async function expectSame(what: string, table: Table, rows: EncodedRows, roundTrip: RoundTrip): Promise<void> {
  const [sent, back] = [Buffer.concat(rows.data), await roundTrip(table, rows)]
  if (sent.equals(back)) return
  let at = 0
  while (at < sent.length && sent[at] === back[at]) at++
  const differs = `of ${what}, ${table} gives other bytes back than it was given, from byte ${at} of ${sent.length} on`
  throw new IntegrityError('STORE_UNFIT', `${differs}: its columns have other types than the migrations made`)
}

/** The first record has null in each column that may have it, the others the odd values of each type in turns. */
function encodeRecord(version: SchemaVersion, index: number): Buffer {
  const values = version.fields.map((field, column) => {
    if (field.optional && (index === 0 || (index + column) % 7 === 0)) return Buffer.from([0])
    const value = encodeValue(field, index + column)
    return field.optional ? Buffer.concat([Buffer.from([2]), value]) : value
  })
  return Buffer.concat(values)
}

function encodeValue({ name, kind, size }: RecordField, index: number): Buffer {
  const pick = <T>(list: readonly [T, ...T[]] | readonly T[]): T => list[index % list.length] as T
  if (name === 'timestamp') return encodeLong(pick(TIMES))
  switch (kind) {
    case 'string':
      return encodeText(pick(ODD_TEXTS))
    case 'uuid':
      return encodeText(pick(['00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-7fff-bfff-ffffffffffff']))
    case 'long':
      return encodeLong(pick(ODD_LONGS))
    case 'boolean':
      return Buffer.from([index % 2])
    case 'double': {
      const bytes = Buffer.alloc(8)
      bytes.writeDoubleLE(pick(ODD_DOUBLES))
      return bytes
    }
    case 'fixed':
      return Buffer.alloc(size, Buffer.from(pick(['00', 'ff', 'fe00']), 'hex'))
  }
}

function encodeLong(value: bigint): Buffer {
  const bytes = Buffer.alloc(10)
  return bytes.subarray(0, writeBigLong(bytes, 0, value))
}

function encodeText(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([encodeLong(BigInt(bytes.length)), bytes])
}

function skippedRows(): SkippedRow[] {
  const identity = { runId: Buffer.alloc(16, 0), runSeq: LAST_OFFSET }
  const hole: SkippedRow = {
    kind: 'hole',
    reason: '',
    identity: undefined,
    offset: 0,
    logTimeMs: FIRST_TIME,
    record: undefined,
  }
  const others = ODD_TEXTS.map((text, index): SkippedRow => {
    const bytes = Buffer.concat([Buffer.from(text), Buffer.from([0, 0xff, 0xfe, 0])])
    const record = {
      offset: LAST_OFFSET,
      logTimeMs: LAST_TIME,
      key: index % 2 === 0 ? null : bytes,
      value: index % 3 === 0 ? null : bytes,
      headers: index % 2 === 0 ? undefined : { [text]: bytes },
    }
    const kind = index % 2 === 0 ? 'dead' : 'duplicate'
    return { kind, reason: text, identity, offset: LAST_OFFSET, logTimeMs: LAST_TIME, record }
  })
  return [hole, ...others]
}
