/**
 * Records events once more that became dead letters: through the topic, as any event, in a run of their own. What was
 * recorded stays as it was, but for what names the record: run, number, event id, and the number within its session.
 */
import type { AuditRecord } from '@agent-audit/schemas'
import type { DrainResult, Receipt, WaitOptions } from './api/audit-trail.ts'
import { openTrail } from './create-audit-trail.ts'
import { EventRecord } from './record/event-record.ts'
import { FieldNotes } from './record/field-writer.ts'
import type { AuditTrailOptions } from './options/options.ts'

/** A run that records dead letters once more. */
export interface Replay {
  /** 32 hex digits. */
  readonly runId: string
  /**
   * Records the event again, when there is room; its field_notes name the record it was.
   * @param replayOf - Where the dead letter lies: `log_id/partition/offset`.
   * @throws InvalidInputError `RECORD_TOO_LARGE`; what is replayed is never cut.
   */
  replay(event: AuditRecord, replayOf: string): Promise<Receipt>
  /** Closes the run; says what is not acknowledged. @defaultValue timeoutMs 10000 */
  close(options?: WaitOptions): Promise<DrainResult>
}

/**
 * Opens a run that replays.
 * @param options - `topic` is the topic the dead letters lie in, its class included.
 * @throws as `createAuditTrail`.
 */
export function openReplay(options: AuditTrailOptions): Replay {
  const trail = openTrail({ ...options, onOversize: 'refuse' })
  const counts = new Map<string, number>()
  return {
    runId: trail.runId,
    async replay(event, replayOf) {
      await trail.writable()
      const notes = FieldNotes.from(event.field_notes)
      const was = {
        run_id: Buffer.from(event.run_id).toString('hex'),
        run_seq: event.run_seq,
        event_id: event.event_id,
      }
      notes.add('replay_of', 'was', was)
      const sessionSeq = counts.get(event.session_id) ?? 0
      const producer_id = options.producerId ?? options.agentId
      const record = new EventRecord(
        event.event_type,
        { ...event, run_id: Buffer.from(trail.runId, 'hex'), producer_id },
        event,
      )
      Object.assign(record, {
        ...event,
        run_id: record.run_id,
        producer_id,
        session_seq: sessionSeq,
        replay_of: replayOf,
      })
      const receipt = trail.append(record, { notes, timestamp: event.timestamp })
      counts.set(event.session_id, sessionSeq + 1)
      return receipt
    },
    close: (wait) => trail.close(wait),
  }
}
