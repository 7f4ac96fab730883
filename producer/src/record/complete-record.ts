/**
 * From an event to its record: every field but the ones that its number in the run gives (run_seq, event_id, timestamp).
 *
 * The order matters, and stands here alone:
 *   1. stamps      of run and session, and the number within the session
 *   2. event       the fields of its type. Objects become JSON text, lone surrogates are replaced, and arguments_sha256 is
 *                  taken: the digest of the true arguments, before redaction
 *   3. messages    of a model call, without the ones that the session has recorded already
 *   4. additions   by the session: approval, parent session, trace
 *   5. check       a value that JSON cannot hold throws here, unless the record is partial: then a text took its position
 *   6. redaction   of every text field, whichever step wrote it. No later step may write a caller's text
 *   7. cause       parent_event_id and step_number. An open call is found by tool_call_id as it is recorded: redacted
 *   8. encryption  is prepared: the key of the record's subject is found, and field_notes say which texts are encrypted
 *   9. size        field_notes are written and the longest texts are cut: a cut shows redacted text only
 *  10. digest      output_sha256, where redaction or a cut has left less than the whole output of the tool
 * Numbering follows, in Recorder.append: a record that an earlier step refuses must not use up a run_seq. Texts are encrypted after
 * that, since each is bound to its record's number: all steps above see clear text.
 */
import type { Common, LlmCall } from '@agent-audit/schemas'
import type { Redactor } from '../redaction/redactor.ts'
import type { Cause, Causes } from './causes.ts'
import { fillEvent } from './event-fields.ts'
import { EventRecord } from './event-record.ts'
import type { RunStamps, SessionStamps } from './event-record.ts'
import type { FieldEncryption } from './field-encryption.ts'
import { FieldWriter } from './field-writer.ts'
import { fitRecord } from './fit-record.ts'
import type { FitOptions } from './fit-record.ts'
import type { MessageHistory } from './message-history.ts'

/** What a session knows of itself when it records an event. */
export interface SessionState {
  readonly run: RunStamps
  readonly session: SessionStamps
  readonly causes: Causes
  readonly history: MessageHistory
  /** The session_seq of the next record. */
  readonly sequence: { next: number }
  readonly rules: RecordRules
}

/** How the records of a trail are made. */
export interface RecordRules extends FitOptions {
  /** Undefined: nothing is redacted. */
  readonly redactor: Redactor | undefined
  readonly inputMessages: 'full' | 'new'
  readonly syntheticTimestamps: boolean
  /** Undefined: nothing is encrypted. */
  readonly encryption: FieldEncryption | undefined
}

/** What the trail says of an event, beside its input. */
export interface Additions {
  readonly parent_session_id?: string | undefined
  readonly approval?: ApprovalFields | undefined
  /** What the event is about has taken place: values that JSON cannot hold are left out, and the rest is recorded. */
  readonly partial?: boolean | undefined
}

/** An event on its way to its record. */
export interface EventToRecord {
  readonly type: string
  /** Has passed the check at the edge. */
  readonly input: Common
  readonly added: Additions | undefined
  readonly trace: { readonly traceId: string; readonly spanId: string } | undefined
  /** The guarded call in which the event is recorded. */
  readonly scope: Cause | undefined
}

/** The approval that an event belongs to. */
export interface ApprovalFields {
  /** Null, like its status, where a person's override takes the place of an approval. */
  readonly approval_id: string | null
  readonly approval_status: string | null
  readonly approver_id: string
  /** Of the approval_decision, or of the human_intervention. */
  readonly event_id?: string | undefined
}

export interface CompleteRecord {
  readonly record: EventRecord
  /** Upper bound of its encoded bytes. */
  readonly maxBytes: number
  /** A model call's messages, to be remembered as recorded. */
  readonly remember: (() => void) | undefined
  /** To be called once the record has its number. */
  readonly encrypt: ((record: EventRecord) => void) | undefined
}

/** @throws InvalidInputError `EVENT_INVALID` naming every value that JSON cannot hold, `RECORD_TOO_LARGE`. */
export function completeRecord(event: EventToRecord, state: SessionState): CompleteRecord {
  const { rules, causes } = state
  const { type, input } = event
  const record = new EventRecord(type, state.run, state.session)
  record.session_seq = state.sequence.next
  const fields = new FieldWriter(type, rules.redactor, event.added?.partial === true)
  fillEvent(record, input, fields)
  const remember = fillMessages(record, input, { fields, state })
  fillAdditions(record, event)
  if (rules.syntheticTimestamps) fields.notes.add('timestamp', 'synthetic', true)
  fields.check()
  fields.redact(record, state.session)
  causes.assign(record, input, event.scope)
  const encryption = rules.encryption?.prepare(record, fields)
  // The bound counts each digest whether it is there or not.
  const maxBytes = fitRecord(record, fields.notes, rules, encryption)
  record.output_sha256 = fields.outputDigest(record.tool_output)
  return { record, maxBytes, remember, encrypt: encryption?.apply }
}

/** To be called once the record is appended: an event that is not recorded leaves its session as it was. */
export function noteAppended({ record, remember }: CompleteRecord, { sequence, causes }: SessionState): void {
  sequence.next++
  causes.follow(record)
  remember?.()
}

/** Fills in the messages of a model call. @returns the note to take once the record is appended. */
function fillMessages(
  record: EventRecord,
  input: Common,
  { fields, state }: { readonly fields: FieldWriter; readonly state: SessionState },
): (() => void) | undefined {
  const messages = (input as Partial<LlmCall>).input_messages
  if (messages === undefined) return undefined
  if (state.rules.inputMessages === 'full') {
    record.input_messages = fields.json('input_messages', messages)
    return undefined
  }
  const { messages: unrecorded, from } = state.history.newOf(messages)
  record.input_messages = fields.json('input_messages', unrecorded)
  if (from > 0) {
    fields.notes.add('input_messages', 'from', from)
    fields.notes.add('input_messages', 'count', messages.length)
  }
  return () => state.history.remember(messages, from)
}

function fillAdditions(record: EventRecord, { added, trace }: EventToRecord): void {
  if (trace !== undefined) {
    record.trace_id = trace.traceId
    record.span_id = trace.spanId
  }
  if (added === undefined) return
  const { parent_session_id, approval } = added
  if (parent_session_id !== undefined) record.parent_session_id = parent_session_id
  if (approval === undefined) return
  record.approval_id = approval.approval_id
  record.approval_status = approval.approval_status
  record.approver_id = approval.approver_id.toWellFormed()
}
