/**
 * Replays dead letters: records their events again, through the topic as any event. Each is the only event of a run of its
 * own, which follows from the position of the dead letter: replayed twice, it is the same record, and the consumer's duplicate
 * filter stores it once. Its fields stay as they were, but for the ones that name the record: run, number, event id, and the
 * number within its session.
 */
import { createHash, randomBytes } from 'node:crypto'
import type { AuditRecord } from '@agent-audit/schemas'
import type { DrainResult, WaitOptions } from './api/audit-trail.ts'
import type { Receipt } from './api/receipt.ts'
import type { AuditTrailOptions } from './api/trail-options.ts'
import { startDelivery } from './delivery/port.ts'
import { resolveOptions } from './options/options.ts'
import { EventRecord } from './record/event-record.ts'
import { FieldNotes } from './record/field-writer.ts'
import { fitRecord } from './record/fit-record.ts'
import { ProblemReporter } from './recorder/problems.ts'
import { Recorder } from './recorder/recorder.ts'

const CLOSE_TIMEOUT_MS = 10_000
/** Longest wait for delivery to release its client, after the last answer. */
const RELEASE_TIMEOUT_MS = 5000

/** The event of a dead letter, recorded again. */
export interface Replayed {
  /** Its run: 32 hex digits. */
  readonly runId: string
  /** Of its record, once more under way. */
  readonly receipt: Receipt
}

/** Sends dead letters of one topic. */
export interface Replay {
  /**
   * Records the event, once there is room; its field_notes name the record that became a dead letter.
   * @param replayOf - Position of the dead letter: `log_id/partition/offset`.
   * @param options - `again`: as another event, in a new run, although an event of this dead letter may be stored.
   * @throws InvalidInputError `RECORD_TOO_LARGE`: a replayed event is never cut.
   */
  replay(event: AuditRecord, replayOf: string, options?: { readonly again?: boolean | undefined }): Promise<Replayed>
  /** Closes, and says how many events are not acknowledged. @defaultValue timeoutMs 10000 */
  close(options?: WaitOptions): Promise<DrainResult>
}

/**
 * Opens a connection for replays, without a spool: the caller waits for the receipts.
 * @param options - `topic` is the topic of the dead letters, its class included.
 * @throws as `createAuditTrail`.
 */
export function openReplay(options: Omit<AuditTrailOptions, 'durability'>): Replay {
  // Each replayed event is a run of its own: no seal of this run covers it.
  const resolved = resolveOptions({ ...options, durability: 'memory' }, { sealed: false })
  const recorder = new Recorder(resolved, {
    startDelivery,
    nowMs: Date.now,
    problems: new ProblemReporter(resolved.onProblem),
    eager: false,
    onKept: () => {},
  })
  const limit = { maxBytes: resolved.maxRecordBytes, onOversize: 'whole' } as const
  return {
    async replay(event, replayOf, { again = false } = {}) {
      await recorder.whenRoom()
      const names = namesOf(again ? randomBytes(32) : createHash('sha256').update(`replay of ${replayOf}`).digest())
      const record = new ReplayedRecord(event, {
        ...names,
        producer_id: resolved.producerId,
        run_seq: 0,
        session_seq: 0,
        replay_of: replayOf,
      })
      const maxBytes = fitRecord(record, notesOf(event), limit)
      const receipt = recorder.append(record, { maxBytes, timestamp: event.timestamp })
      return { runId: names.run_id.toString('hex'), receipt }
    },
    async close({ timeoutMs = CLOSE_TIMEOUT_MS } = {}) {
      const result = await recorder.drain(timeoutMs)
      await recorder.close(RELEASE_TIMEOUT_MS)
      return result
    },
  }
}

/** Has its own names, and not the recorder's number: that one only orders the records on their way. */
class ReplayedRecord extends EventRecord {
  constructor(event: AuditRecord, own: Partial<AuditRecord>) {
    super(event.event_type, event, event)
    Object.assign(this, event, own)
  }

  override identify(_runSeq: number, _eventId: string, timestamp: number): void {
    this.timestamp = timestamp
  }
}

/** @param bytes - 32 of them: the run's id, then the event's, which is a UUID of version 8. */
function namesOf(bytes: Buffer): { run_id: Buffer; event_id: string } {
  const event = Buffer.from(bytes.subarray(16))
  event.writeUInt8((event.readUInt8(6) & 0x0f) | 0x80, 6)
  event.writeUInt8((event.readUInt8(8) & 0x3f) | 0x80, 8)
  const event_id = event.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  return { run_id: bytes.subarray(0, 16), event_id }
}

function notesOf(event: AuditRecord): FieldNotes {
  const { run_id, run_seq, event_id } = event
  const notes = FieldNotes.from(event.field_notes)
  notes.add('replay_of', 'was', { run_id: Buffer.from(run_id).toString('hex'), run_seq, event_id })
  return notes
}
