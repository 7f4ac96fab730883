/** Audit records for tests and benchmarks, as bytes on the wire. */
import { createHash } from 'node:crypto'
import {
  type AuditRecord,
  maxRecordBytes,
  NEWEST_SCHEMA,
  type SchemaVersion,
  SINGLE_OBJECT_BYTES,
  singleObjectHeader,
  writeRecord,
} from '@agent-audit/schemas'

const HEADER = singleObjectHeader(NEWEST_SCHEMA)

/** All fields null, those included that a record must have. */
export const EMPTY_RECORD: AuditRecord = Object.fromEntries(
  NEWEST_SCHEMA.fields.map(({ name }) => [name, null]),
) as unknown as AuditRecord

/** 16 bytes made from a name, so that tests can speak of runs by name. */
export function runIdOf(name: string): Buffer {
  return createHash('sha256').update(name).digest().subarray(0, 16)
}

/** A UUID made from a name. */
export function uuidOf(name: string): string {
  const hex = createHash('sha256').update(name).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

/** Record `seq` of a run; its text fields tell which. */
export function makeRecord(run: string, seq: number, fields: Partial<AuditRecord> = {}): AuditRecord {
  return {
    ...EMPTY_RECORD,
    run_id: runIdOf(run),
    run_seq: seq,
    producer_id: 'tests',
    session_seq: seq,
    retention_class: 'default',
    event_id: uuidOf(`${run} ${seq}`),
    timestamp: Date.UTC(2026, 0, 1) * 1000 + seq,
    event_type: 'decision',
    session_id: `session of ${run}`,
    agent_id: 'agent',
    step_number: 0,
    requires_approval: false,
    reasoning: `record ${seq} of ${run}`,
    ...fields,
  }
}

/** A record in Avro single-object encoding. */
export function encodeRecord(record: AuditRecord): Buffer {
  const bytes = Buffer.alloc(SINGLE_OBJECT_BYTES + maxRecordBytes(record))
  HEADER.copy(bytes)
  return bytes.subarray(0, writeRecord(record, bytes, SINGLE_OBJECT_BYTES))
}

/** A record as a producer of an older version writes it, by avsc: without the fields that came later. */
export function encodeVersion(version: SchemaVersion, record: AuditRecord): Buffer {
  return Buffer.concat([singleObjectHeader(version), version.avroType.toBuffer(record)])
}

/** Records `first` to `last` of a run, as bytes. */
export function encodeRun(run: string, first: number, last: number): Buffer[] {
  return Array.from({ length: last - first + 1 }, (_, index) => encodeRecord(makeRecord(run, first + index)))
}
