/** A session, named so that another process can go on with it. */

/** Plain JSON without content. Carry it to another process, for {@link AuditTrail.resumeSession}. */
export interface SessionRef {
  /** The session's id. */
  readonly session_id: string
  /** The run that made this reference, 32 hex digits. */
  readonly run_id: string
  /** The session's newest event when the reference was made; the next event follows from it. */
  readonly last_event_id: string
  /** The step of that event. */
  readonly step_number: number
  /** Trace of the session's first event, 32 hex digits. */
  readonly trace_id: string | null
  /** What the session stamps on every event, by field. */
  readonly stamped: Readonly<Record<string, string>>
}
