/**
 * The error tree: every error these packages raise on purpose. Match on `code` or `retryable`, never on `message`.
 * Messages name what is wrong, where, and what was expected; they never hold the content of an event.
 */

/** Every code, by what to do next. docs/errors.md gives cause and remedy, and a test compares the two. */
export type ErrorCode =
  // The caller's fault: mend the call.
  | 'OPTIONS_INVALID'
  | 'EVENT_INVALID'
  | 'RECORD_TOO_LARGE'
  | 'SESSION_ENDED'
  | 'TRAIL_CLOSED'
  | 'SCHEMA_UNKNOWN'
  | 'INPUT_UNREADABLE'
  // Judged and not taken: the refusal is on record.
  | 'DENIED'
  | 'BLOCKED'
  | 'APPROVAL_REQUIRED'
  | 'APPROVAL_REJECTED'
  | 'APPROVAL_EXPIRED'
  | 'APPROVAL_ALTERED'
  | 'APPROVAL_USED'
  // Out of reach for now: back off and try again.
  | 'NOT_RECORDED'
  | 'SPOOL_UNAVAILABLE'
  | 'SPOOL_FULL'
  | 'BUFFER_FULL'
  | 'BROKER_UNAVAILABLE'
  | 'REGISTRY_UNAVAILABLE'
  | 'LOG_UNAVAILABLE'
  | 'STORE_UNAVAILABLE'
  | 'PART_UNAVAILABLE'
  // Trying again changes nothing and going on would hide something: stop, alert a person.
  | 'SPOOL_CORRUPT'
  | 'LOG_INVALID'
  | 'LOG_REPLACED'
  | 'LOG_TRUNCATED'
  | 'ACCESS_DENIED'
  | 'GRANTS_TOO_WIDE'
  | 'STORE_UNFIT'
  | 'MIGRATION_CHANGED'
  | 'STORE_REFUSED'

/** One wrong field or option: where it is, and what was expected there. */
export interface Issue {
  /** Path from the top of the value, such as `tool_calls_requested[0].name`; empty for the value itself. */
  readonly path: string
  /** What was expected, and what kind of thing was there instead. Never the value itself. */
  readonly expected: string
}

export abstract class TrailError extends Error {
  /** Whether the same call may succeed later. */
  abstract readonly retryable: boolean
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/** A wrong option, event or file: the caller's fault. `issues` names every wrong place, not only the first. */
export class InvalidInputError extends TrailError {
  override readonly retryable = false
  readonly issues: readonly Issue[]

  constructor(code: ErrorCode, message: string, options?: ErrorOptions & { issues?: readonly Issue[] | undefined }) {
    super(code, message, options)
    this.issues = options?.issues ?? []
  }
}

/** A disk, broker or database is out of reach or full: nothing is wrong with the call. */
export class AuditUnavailableError extends TrailError {
  override readonly retryable = true
}

/** An action that was judged and not taken, for good reason: the same call will be refused again. */
export class ActionRefusedError extends TrailError {
  override readonly retryable = false
  /** The event that records the refusal. */
  readonly event_id: string

  constructor(code: ErrorCode, message: string, options: ErrorOptions & { event_id: string }) {
    super(code, message, options)
    this.event_id = options.event_id
  }
}

/** What is stored is not what must be there, or could be changed by somebody who must not. Stop and alert. */
export class IntegrityError extends TrailError {
  override readonly retryable = false
}
