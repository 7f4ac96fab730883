/**
 * Replays dead letters: records their events again, through the topic as any event, in a run of their own. Their fields stay
 * as they were, but for the ones that name the record: run, number, event id, and the number within its session.
 */
import type { AuditRecord } from '@agent-audit/schemas'
import type { DrainResult, WaitOptions } from './api/audit-trail.ts'
import type { Receipt } from './api/receipt.ts'
import type { AuditTrailOptions } from './api/trail-options.ts'
import { resolveOptions } from './options/options.ts'
import { EventRecord } from './record/event-record.ts'
import { FieldNotes } from './record/field-writer.ts'
import { fitRecord } from './record/fit-record.ts'
import { openTrail } from './session/open-trail.ts'

/** A run that replays dead letters. */
export interface Replay {
  /** 32 hex digits. */
  readonly runId: string
  /**
   * Records the event again, once there is room; its field_notes name the record that became a dead letter.
   * @param replayOf - Position of the dead letter: `log_id/partition/offset`.
   * @throws InvalidInputError `RECORD_TOO_LARGE`: a replayed event is never cut.
   */
  replay(event: AuditRecord, replayOf: string): Promise<Receipt>
  /** Closes the run, and says how many events are not acknowledged. @defaultValue timeoutMs 10000 */
  close(options?: WaitOptions): Promise<DrainResult>
}

/**
 * Opens a run that replays.
 * @param options - `topic` is the topic of the dead letters, its class included.
 * @throws as `createAuditTrail`.
 */
export function openReplay(options: AuditTrailOptions): Replay {
  const trail = openTrail(options)
  const { maxRecordBytes, producerId } = resolveOptions(options)
  const limit = { maxBytes: maxRecordBytes, onOversize: 'whole' } as const
  const nextSessionSeqs = new Map<string, number>()
  return {
    runId: trail.runId,
    async replay(event, replayOf) {
      await trail.writable()
      const session_seq = nextSessionSeqs.get(event.session_id) ?? 0
      const own = { run_id: trail.recorder.identity.runId, producer_id: producerId }
      const record = new EventRecord(event.event_type, { ...event, ...own }, event)
      Object.assign(record, { ...event, ...own, session_seq, replay_of: replayOf })
      const receipt = trail.recorder.append(record, {
        maxBytes: fitRecord(record, notesOf(event), limit),
        timestamp: event.timestamp,
      })
      nextSessionSeqs.set(event.session_id, session_seq + 1)
      return receipt
    },
    close: (wait) => trail.close(wait),
  }
}

function notesOf(event: AuditRecord): FieldNotes {
  const { run_id, run_seq, event_id } = event
  const notes = FieldNotes.from(event.field_notes)
  notes.add('replay_of', 'was', { run_id: Buffer.from(run_id).toString('hex'), run_seq, event_id })
  return notes
}
