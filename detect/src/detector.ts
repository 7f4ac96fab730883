/**
 * What a detector is: rows of the trail in, findings out, and nothing else. It reads no clock, no file and no server, so the
 * same rows give the same findings wherever and how often it runs. The engine chooses the rows, gives each finding its id, and
 * writes it once.
 */
import type { RowSchema, TrailEvent } from '@agent-audit/analytics'

/** How grave a finding is: `info` is a hint to look at, `critical` asks for a person now. */
export const SEVERITIES = ['info', 'low', 'medium', 'high', 'critical'] as const
export type Severity = (typeof SEVERITIES)[number]

/** One part of the reason for a finding: what was measured, and what was expected. */
export interface Signal {
  /** Such as `argument_from_tool_result`, `tokens_per_hour`. */
  readonly name: string
  readonly value: string | number | boolean
  /** What the value was compared with. */
  readonly expected?: string | number | undefined
  /** The event that shows it. */
  readonly event_id?: string | undefined
}

/** One anomaly, as a detector reports it. */
export interface Finding {
  /**
   * Names the cause among all findings of the detector, from recorded values alone, such as `<session_id>/<event_id>` or
   * `<agent_id>/2026-11-24T10:00:00Z/tokens`. Two findings with one cause are the same finding: only the first is kept.
   */
  readonly cause: string
  readonly severity: Severity
  /** One sentence for a person. It may quote recorded text: renderers escape it. */
  readonly summary: string
  /** 0 to 1: how sure the detector is. */
  readonly score: number
  readonly agent_id: string
  /** Null where the finding is about more than one session. */
  readonly session_id: string | null
  readonly signals: readonly Signal[]
  /** Ids of the events that show it, the most telling one first; at most 100. */
  readonly evidence: readonly string[]
}

/** Named limits of a detector. They are data: an operator may replace any of them by name. */
export type Thresholds = Readonly<Record<string, number>>

interface About<T extends Thresholds> {
  /** Such as `loop.repeated_call`: the group, a dot, the anomaly. */
  readonly name: string
  /** Raised when the method changes. */
  readonly version: number
  /** What it finds, one sentence. */
  readonly finds: string
  /** How: the statistics or the rule, in a few sentences. */
  readonly method: string
  /** Where the method and its thresholds come from. */
  readonly source: string
  readonly thresholds: T
}

/** Fields of an event that detectors of sessions get. */
export type SessionField =
  | 'event_id'
  | 'timestamp'
  | 'event_type'
  | 'session_id'
  | 'agent_id'
  | 'user_id'
  | 'agent_version'
  | 'model_id'
  | 'system_prompt_hash'
  | 'step_number'
  | 'parent_event_id'
  | 'parent_session_id'
  | 'run_id'
  | 'run_seq'
  | 'outcome'
  | 'reason'
  | 'reason_code'
  | 'reasoning'
  | 'output_text'
  | 'input_messages'
  | 'tool_calls_requested'
  | 'tool_call_id'
  | 'tool_name'
  | 'tool_input'
  | 'tool_output'
  | 'arguments_sha256'
  | 'error'
  | 'error_type'
  | 'requires_approval'
  | 'approval_id'
  | 'approval_status'
  | 'approver_id'
  | 'approval'
  | 'on_behalf_of'
  | 'effect'
  | 'content'
/** As {@link SessionField}, for the engine's queries. */
export const SESSION_FIELDS: readonly SessionField[] = [
  'event_id',
  'timestamp',
  'event_type',
  'session_id',
  'agent_id',
  'user_id',
  'agent_version',
  'model_id',
  'system_prompt_hash',
  'step_number',
  'parent_event_id',
  'parent_session_id',
  'run_id',
  'run_seq',
  'outcome',
  'reason',
  'reason_code',
  'reasoning',
  'output_text',
  'input_messages',
  'tool_calls_requested',
  'tool_call_id',
  'tool_name',
  'tool_input',
  'tool_output',
  'arguments_sha256',
  'error',
  'error_type',
  'requires_approval',
  'approval_id',
  'approval_status',
  'approver_id',
  'approval',
  'on_behalf_of',
  'effect',
  'content',
]
export type SessionEvent = Pick<TrailEvent, SessionField> & {
  /** Fields that are null, or lack members, since the engine could not decrypt them. Absent: none. */
  readonly hidden?: readonly string[]
}

/** Whether a field of the event could not be decrypted: then it says nothing, also not that it is empty. */
export function isHidden({ hidden }: SessionEvent, field: SessionField): boolean {
  return hidden?.includes(field) === true
}

/** A whole session as far as it is stored, in order of time, then of run_seq. */
export interface Session {
  readonly session_id: string
  readonly agent_id: string
  readonly events: readonly SessionEvent[]
}

/**
 * Judges one session at a time. The engine gives it each session again that has got new events, whole: so events that arrive
 * late are met, and a finding that was there before has the same cause.
 */
export interface SessionDetector<T extends Thresholds = Thresholds> extends About<T> {
  readonly unit: 'session'
  /**
   * SQL over the rows of one session (aggregate functions over columns of audit_events) that is true for each session that may
   * give a finding: the others are not read. Such as `countIf(event_type = 'tool_call') >= 3`. Where it depends on thresholds, a
   * function of them: a limit that an operator lowers lets more sessions be read.
   */
  readonly candidates: string | Candidates<T>['of']
  find(session: Session, thresholds: T): Finding[]
}

interface Candidates<T extends Thresholds> {
  // A method, so that detectors of different thresholds fit into one list.
  of(thresholds: T): string
}

/** The SQL that a session has to satisfy to be read. @param thresholds - Those in force; default: the detector's own */
export function candidatesOf(detector: SessionDetector, thresholds: Thresholds = detector.thresholds): string {
  const { candidates } = detector
  return typeof candidates === 'string' ? candidates : candidates(thresholds)
}

/** What the engine passes to the SQL of a {@link QueryDetector}, as parameters of the query. */
export interface QueryWindow {
  /** Agents with new events. `{agents:Array(String)}` */
  readonly agents: readonly string[]
  /** From the hour of the earliest new event on, by the producers' clocks: late events reach back. `{since:DateTime64(6)}` */
  readonly since: Date
  /** `{until:DateTime64(6)}` */
  readonly until: Date
}

/** Judges rows that its own SQL reads: counts of an agent by hour, for example. */
export interface QueryDetector<Row = never, T extends Thresholds = Thresholds> extends About<T> {
  readonly unit: 'query'
  /**
   * A SELECT over `{database:Identifier}.audit_events` with the parameters of {@link QueryWindow}. It reads the history that it
   * compares with by itself, such as the 28 days before `since`.
   */
  readonly sql: string
  readonly schema: RowSchema<Row>
  /** Also run when there are no new events: silence is an anomaly too. @defaultValue false */
  readonly always?: boolean | undefined
  // A method, so that detectors of different rows fit into one list.
  find(rows: readonly Row[], thresholds: T, window: QueryWindow): Finding[]
}

/** Any detector: each query detector reads rows of its own. */
export type Detector = SessionDetector | (Omit<QueryDetector, 'schema'> & { readonly schema: RowSchema<unknown> })
