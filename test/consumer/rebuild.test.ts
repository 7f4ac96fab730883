/** Rows that are made again from the log are the bytes that were inserted, and nothing that another party has put beside them. */
import {
  BufferMemory,
  CannotRebuild,
  createRecordCheck,
  type EncodedRows,
  encodeSkipped,
  EventBlock,
  type LogRecord,
  rebuildRows,
  type StoredRow,
} from '@agent-audit/consumer/pipeline'
import { NEWEST_SCHEMA, SCHEMA_VERSIONS, SINGLE_OBJECT_BYTES } from '@agent-audit/schemas'
import { expect, it } from 'vitest'
import { encodeRecord, encodeVersion, makeRecord, runIdOf, uuidOf } from '../support/records.ts'

const LOG = { logId: Buffer.from('rebuild-'), topic: 'audit.events', partition: 3 }
const TIME = Date.UTC(2026, 10, 29)
const REASON = 'this run_id and run_seq are stored already'

const record = (offset: number, value: Buffer | null, fields: Partial<LogRecord> = {}): LogRecord => {
  return { offset, logTimeMs: TIME + offset, key: Buffer.from('key'), value, headers: undefined, ...fields }
}
const [OLDEST] = SCHEMA_VERSIONS
const RECORDS = [
  record(10, encodeRecord(makeRecord('a', 0))),
  record(11, encodeVersion(OLDEST ?? NEWEST_SCHEMA, makeRecord('a', 1))),
  record(12, encodeRecord(makeRecord('a', 0)), { headers: { sent: Buffer.from('again') } }),
  record(13, Buffer.from('no record')),
]

const event = (offset: number, seq: number): StoredRow => ({
  offset,
  kind: 'event',
  runId: runIdOf('a').toString('hex'),
  runSeq: seq,
  eventId: uuidOf(`a ${seq}`),
  logTimeMs: TIME + offset,
  retentionClass: 'default',
  reason: null,
})
const skippedAt = (offset: number, kind: string, fields: Partial<StoredRow>): StoredRow => ({
  ...event(offset, 0),
  kind,
  eventId: null,
  ...fields,
})
const STORED = [
  event(10, 0),
  event(11, 1),
  skippedAt(12, 'duplicate', { reason: REASON }),
  skippedAt(13, 'dead', { runId: null, runSeq: null, reason: 'not a framing' }),
  skippedAt(14, 'hole', { runId: null, runSeq: null, reason: 'no record', logTimeMs: TIME, retentionClass: 'pci' }),
]

function inserted(): [Buffer, Buffer] {
  const block = new EventBlock(LOG, new BufferMemory(2 ** 24))
  for (const [index, { offset, logTimeMs, value }] of RECORDS.slice(0, 2).entries()) {
    const version = index === 1 ? (OLDEST ?? NEWEST_SCHEMA) : NEWEST_SCHEMA
    block.append(value ?? Buffer.alloc(0), SINGLE_OBJECT_BYTES, version, offset, logTimeMs)
  }
  const identity = { runId: runIdOf('a'), runSeq: 0 }
  const [, , repeated, broken] = RECORDS
  const skipped = encodeSkipped(LOG, {
    retentionClass: 'default',
    skipped: [
      { kind: 'duplicate', reason: REASON, identity, offset: 12, logTimeMs: TIME + 12, record: repeated },
      { kind: 'dead', reason: 'not a framing', identity: undefined, offset: 13, logTimeMs: TIME + 13, record: broken },
    ],
  })
  const hole = encodeSkipped(LOG, {
    retentionClass: 'pci',
    skipped: [
      { kind: 'hole', reason: 'no record', identity: undefined, offset: 14, logTimeMs: TIME, record: undefined },
    ],
  })
  return [bytesOf(block.close()), Buffer.concat([bytesOf(skipped), bytesOf(hole)])]
}

function bytesOf(rows: EncodedRows | undefined): Buffer {
  return Buffer.concat(rows?.data ?? [])
}

function rebuild(stored: readonly StoredRow[], last = 14): [Buffer, Buffer] {
  const rebuilt: [Buffer, Buffer][] = []
  const parts = { logPartition: LOG, memory: new BufferMemory(2 ** 24), check: createRecordCheck(undefined) }
  rebuildRows({ records: RECORDS, range: { first: 10, last }, stored }, parts, ({ events, skipped }) => {
    rebuilt.push([bytesOf(events), bytesOf(skipped)])
  })
  return rebuilt[0] ?? [Buffer.alloc(0), Buffer.alloc(0)]
}

it('makes events of each version, duplicates, dead letters and holes again, byte for byte', () => {
  expect(rebuild(STORED)).toEqual(inserted())
})

it('makes the row of the record, whatever other rows are at its offset', () => {
  const forged = [
    { ...event(10, 7), eventId: uuidOf('forged') },
    skippedAt(10, 'dead', { runId: 'f'.repeat(32), runSeq: 0, logTimeMs: 0 }),
    { ...event(12, 3) },
    skippedAt(13, 'hole', {}),
  ]
  const stored = [...forged, ...STORED].toSorted((one, other) => one.offset - other.offset)
  expect(rebuild(stored)).toEqual(inserted())
})

it.each<[string, readonly StoredRow[]]>([
  ['has no row', STORED.toSpliced(1, 1)],
  ['has the row of another record alone', STORED.with(1, event(11, 5))],
  [
    'has two rows of its record',
    [...STORED.slice(0, 2), skippedAt(11, 'duplicate', { runSeq: 1 }), ...STORED.slice(2)],
  ],
  ['is a hole in the log, and an event in the table', STORED.with(4, event(14, 2))],
])('makes nothing where an offset %s', (_what, stored) => {
  expect(() => rebuild(stored)).toThrow(CannotRebuild)
})
