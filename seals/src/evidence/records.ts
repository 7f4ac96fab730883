/** The records of a bundle, read and checked by themselves. */
import { decodeRecord, findChecker, findSchema, readFrame, type SchemaVersion } from '@agent-audit/schemas'
import { invalid } from '../notes/lines.ts'
import { leafHash } from '../tree/hashes.ts'

export interface EvidenceRecord {
  /** 32 hex digits. */
  readonly runId: string
  readonly runSeq: number
  readonly version: SchemaVersion
  /** As a producer's seal has it. */
  readonly leaf: Buffer
  readonly fields: Readonly<Record<string, unknown>>
}

/** The fingerprint of a version as seals have it: 16 hex digits. */
export function fingerprintText({ fingerprint }: SchemaVersion): string {
  return fingerprint.toString(16).padStart(16, '0')
}

/** @throws IntegrityError with code SEAL_INVALID, if it is not one whole record of a known schema in single-object encoding */
export function readRecord(message: Buffer, index: number): EvidenceRecord {
  const frame = readFrame(message)
  const version = frame.kind === 'single-object' ? findSchema(frame.fingerprint) : undefined
  if (frame.kind !== 'single-object' || version === undefined) {
    throw invalid(`record ${index}: expected single-object encoding of a schema of the bundle`)
  }
  const fault = findChecker(version.fingerprint)?.check(message, frame.bodyStart, message.length)
  if (fault !== undefined) throw invalid(`record ${index}: ${fault}`)
  const fields = decodeRecord(version, message, frame.bodyStart)
  const runId = (fields['run_id'] as Buffer).toString('hex')
  const leaf = leafHash(message.subarray(frame.bodyStart))
  return { runId, runSeq: Number(fields['run_seq']), version, leaf, fields }
}

/** Whether `next` comes behind `before` in a bundle: by run_id, then run_seq, each once. */
export function isBehind(before: Place, next: Place): boolean {
  return before.runId === next.runId ? before.runSeq < next.runSeq : before.runId < next.runId
}

type Place = Pick<EvidenceRecord, 'runId' | 'runSeq'>
