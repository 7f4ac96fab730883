/** Shared by the tests of the producer: trails, and the rows that they recorded. */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type AuditSession, type AuditTrail, type AuditTrailOptions, createAuditTrail } from '@agent-audit/producer'
import { findChecker, findSchema, JSON_FIELDS, readFrame } from '@agent-audit/schemas'
import { embeddedLogFile, openEmbeddedLog, openEmbeddedLogReader, rememberTopic } from '@agent-audit/spool'
import { expect, onTestFinished } from 'vitest'
import type { Message } from '../support/kafka-topic.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

/** Options of a trail whose records stay unsent: no broker listens at this address. */
export const NO_BROKER = { brokers: ['127.0.0.1:1'], onProblem: (): void => {} }

/** Leaves a directory of spools as a run does that has reached the embedded log of `dataDir`. */
export function rememberEmbeddedLog(spoolDir: string, dataDir: string, partitions = 4): void {
  const log = openEmbeddedLog({ directory: dataDir })
  rememberTopic(join(spoolDir, 'audit.events'), 'audit.events', { cluster: log.id, partitions })
  log.close()
}

/** Opens a trail. The test's end closes it without waiting: records that it has not sent by then stay unsent. */
export function openTrail(options: Partial<AuditTrailOptions>): AuditTrail {
  const trail = createAuditTrail({ agentId: 'agent-1', handleExit: false, ...options })
  onTestFinished(async () => void (await trail.close({ timeoutMs: 0 })))
  return trail
}

/** A decoded record, with JSON fields parsed, bytes as hex, and fields that are null left out. */
export type Row = Record<string, unknown> & {
  readonly event_type: string
  readonly event_id: string
  readonly session_id: string
  readonly run_seq: number
  readonly session_seq: number
  readonly step_number: number
  readonly timestamp: number
  readonly partition: number
  readonly offset: number
}

const PARSED_FIELDS: ReadonlySet<string> = new Set(JSON_FIELDS)

/**
 * Decodes a message in single-object encoding, with the schema that its header names. Every record that a test of the producer
 * reads passes the consumer's check: what the producer accepts, the consumer stores.
 */
export function decodeRow(value: Uint8Array, position: { partition: number; offset: number }): Row {
  const message = Buffer.from(value)
  const frame = readFrame(message)
  if (frame.kind !== 'single-object') throw new Error(`not in single-object encoding: ${frame.kind}`)
  expect(findChecker(frame.fingerprint)?.check(message, frame.bodyStart, message.length)).toBeUndefined()
  const fields = findSchema(frame.fingerprint)?.avroType.fromBuffer(message.subarray(frame.bodyStart)) as object
  const row: Record<string, unknown> = { ...position }
  for (const [name, field] of Object.entries(fields) as [string, unknown][]) {
    if (field === null) continue
    if (Buffer.isBuffer(field)) row[name] = field.toString('hex')
    else row[name] = PARSED_FIELDS.has(name) ? tryParse(field as string) : field
  }
  return row as Row
}

/** A field that was cut is not valid JSON any more. */
function tryParse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** Messages of a topic as rows, in the order of run_seq. */
export function rowsOf(messages: readonly Message[]): Row[] {
  return messages
    .map(({ value, ...position }) => decodeRow(value, position))
    .toSorted((one, other) => one.run_seq - other.run_seq)
}

/** All rows of a topic in the embedded log of a directory, in the order of run_seq; rows of several runs alternate. */
export function readRows(dataDir: string, topic = 'audit.events'): Row[] {
  if (!existsSync(embeddedLogFile(dataDir))) return []
  const log = openEmbeddedLogReader({ directory: dataDir })
  try {
    const rows: Row[] = []
    for (let partition = 0; partition < (log.partitions(topic) ?? 0); partition++) {
      const { start, end } = log.bounds(topic, partition)
      for (let next = start; next < end;) {
        for (const { offset, value } of log.read(topic, partition, next, 2 ** 20)) {
          rows.push(decodeRow(value ?? new Uint8Array(), { partition, offset }))
          next = offset + 1
        }
      }
    }
    return rows.toSorted((one, other) => one.run_seq - other.run_seq)
  } finally {
    log.close()
  }
}

/** The rows of sessions, without the rows that the trail records about itself. */
export function sessionRows(dataDir: string): Row[] {
  return readRows(dataDir).filter(({ session_id: id }) => !id.startsWith('trail:'))
}

/** run_seqs that no row has, up to the last one of the run. */
export function gapsOf(rows: readonly Row[]): number[] {
  const present = new Set(rows.map(({ run_seq }) => run_seq))
  return Array.from({ length: Math.max(...present) }, (_, seq) => seq).filter((seq) => !present.has(seq))
}

/** run_seqs that events_lost events of these rows name, in order. */
export function explainedBy(rows: readonly Row[]): number[] {
  return rows
    .filter(({ event_type }) => event_type === 'events_lost')
    .flatMap((row) => {
      const { first_run_seq: first, count } = row['content'] as { first_run_seq: number; count: number }
      return Array.from({ length: count }, (_, index) => first + index)
    })
    .toSorted((one, other) => one - other)
}

/** Records in one session, and returns its rows without session_start. */
export async function record(
  work: (session: AuditSession) => void,
  options: Partial<AuditTrailOptions> = {},
): Promise<Row[]> {
  const dataDir = makeTempDirectory()
  const trail = openTrail({ dataDir, modelId: 'model-1', ...options })
  work(trail.startSession({ session_id: 's1', user_id: 'u1' }))
  await trail.close()
  return sessionRows(dataDir).slice(1)
}

export const sha256 = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex')
