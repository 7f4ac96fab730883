/** Row form 1 of docs/integrity.md: the columns of a row, in the order in which the consumer has inserted and sealed them. */
import { EVENTS_TABLE, NEWEST_SCHEMA, readFrame, SKIPPED_TABLE } from '@agent-audit/schemas'
import { Cursor } from './container-blocks.ts'

const LOG_COLUMNS = ['log_id', 'log_partition', 'log_offset', 'log_time']
const SKIPPED_COLUMNS = ['kind', 'reason', 'retention_class', 'run_id', 'run_seq', 'key', 'value', 'headers']

export type SealedTable = typeof EVENTS_TABLE | typeof SKIPPED_TABLE

export const ROW_COLUMNS: Readonly<Record<SealedTable, readonly string[]>> = {
  [EVENTS_TABLE]: [...NEWEST_SCHEMA.fields.map(({ name }) => name), ...LOG_COLUMNS, 'writer_schema'],
  [SKIPPED_TABLE]: [...SKIPPED_COLUMNS, ...LOG_COLUMNS],
}

/** A row of audit_skipped, as far as its record may be sealed. */
export interface SkippedEntry {
  readonly kind: string
  /** 16 characters of latin1. */
  readonly runId: string | undefined
  readonly runSeq: number | undefined
  /** The Avro body of the record; undefined, if it has no known framing. */
  readonly body: Buffer | undefined
  readonly offset: number
  readonly logTimeMs: number
  readonly end: number
}

/** @returns undefined, if the bytes end within the row */
export function readSkippedEntry(bytes: Buffer, start: number): SkippedEntry | undefined {
  const cursor = new Cursor(bytes, start)
  const given = <T>(read: () => T): T | undefined => (cursor.bytes(1)?.[0] === 0 ? undefined : read())
  const kind = cursor.text()
  cursor.text()
  cursor.text()
  const runId = given(() => cursor.bytes(16)?.toString('latin1'))
  const runSeq = given(() => cursor.long())
  given(() => cursor.bytes())
  const value = given(() => cursor.bytes())
  given(() => cursor.bytes())
  cursor.bytes(8)
  cursor.long()
  const [offset, logTimeMs] = [cursor.long(), cursor.long()]
  if (kind === undefined || offset === undefined || logTimeMs === undefined) return undefined
  return { kind, runId, runSeq, body: value && bodyOf(value), offset, logTimeMs, end: cursor.at }
}

function bodyOf(value: Buffer): Buffer | undefined {
  const frame = readFrame(value)
  return frame.kind === 'unknown' ? undefined : value.subarray(frame.bodyStart)
}
