/**
 * The error tree: all errors that these packages raise on purpose. Match on `code` or `retryable`, never on `message`.
 * A message names the fault, its path, and the expected value; it never holds the content of an event.
 */

/** All codes, grouped by what the reader does next. docs/errors.md gives cause and remedy; a test compares the two. */
export type ErrorCode =
  // Wrong input: correct the call.
  | 'OPTIONS_INVALID'
  | 'EVENT_INVALID'
  | 'RECORD_TOO_LARGE'
  | 'SESSION_ENDED'
  | 'TRAIL_CLOSED'
  | 'SCHEMA_UNKNOWN'
  | 'INPUT_UNREADABLE'
  | 'KEY_INVALID'
  // The action was refused: the refusal is recorded.
  | 'DENIED'
  | 'BLOCKED'
  | 'APPROVAL_REQUIRED'
  | 'APPROVAL_REJECTED'
  | 'APPROVAL_EXPIRED'
  | 'APPROVAL_ALTERED'
  | 'APPROVAL_USED'
  | 'APPROVAL_UNSIGNED'
  | 'APPROVAL_UNVERIFIED'
  | 'SELF_APPROVAL'
  // The action has run: do not repeat it.
  | 'RESULT_NOT_RECORDED'
  // Unavailable for now: back off and retry.
  | 'NOT_RECORDED'
  | 'SPOOL_UNAVAILABLE'
  | 'SPOOL_FULL'
  | 'BUFFER_FULL'
  | 'DELIVERY_RESTARTED'
  | 'BROKER_UNAVAILABLE'
  | 'REGISTRY_UNAVAILABLE'
  | 'LOG_UNAVAILABLE'
  | 'STORE_UNAVAILABLE'
  | 'STORE_LIMIT'
  | 'PART_UNAVAILABLE'
  | 'EXPORT_BUSY'
  | 'SIGNER_UNAVAILABLE'
  | 'SINK_UNAVAILABLE'
  | 'KEY_STORE_UNAVAILABLE'
  // A retry changes nothing, and to go on would hide a fault: stop, and alert a person.
  | 'SPOOL_CORRUPT'
  | 'CLUSTER_CHANGED'
  | 'LOG_INVALID'
  | 'LOG_UNFIT'
  | 'LOG_REPLACED'
  | 'LOG_TRUNCATED'
  | 'BATCH_UNREADABLE'
  | 'ACCESS_DENIED'
  | 'TLS_REFUSED'
  | 'GRANTS_TOO_WIDE'
  | 'STORE_UNFIT'
  | 'MIGRATION_CHANGED'
  | 'STORE_REFUSED'
  | 'EXPORT_CHANGED'
  | 'SEAL_INVALID'
  | 'SIGNATURE_INVALID'
  | 'SIGNER_REFUSED'
  | 'SEAL_LOG_CHANGED'
  | 'NOTARY_RUNNING'

/** One wrong field or option: its path, and the expected value. */
export interface Issue {
  /** Path from the top of the value, such as `tool_calls_requested[0].name`; empty for the value itself. */
  readonly path: string
  /** The expected value, and the kind of the given value. Never the given value itself. */
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

/** Wrong input: an option, an event or a file. `issues` names every fault by its path, not only the first. */
export class InvalidInputError extends TrailError {
  override readonly retryable = false
  readonly issues: readonly Issue[]

  constructor(code: ErrorCode, message: string, options?: ErrorOptions & { issues?: readonly Issue[] | undefined }) {
    super(code, message, options)
    this.issues = options?.issues ?? []
  }
}

/** A disk, broker or database is unavailable or full; the call itself is right. */
export class AuditUnavailableError extends TrailError {
  override readonly retryable = true
}

/** A refused action: the refusal is recorded, and the same call will be refused again. */
export class ActionRefusedError extends TrailError {
  override readonly retryable = false
  /** The event that records the refusal. */
  readonly event_id: string

  constructor(code: ErrorCode, message: string, options: ErrorOptions & { event_id: string }) {
    super(code, message, options)
    this.event_id = options.event_id
  }
}

/**
 * A guarded action has run, and its result could not be recorded. Do not repeat the action: this error holds its result.
 * `cause`: the error that the tool threw, or else `failure`.
 */
export class ResultNotRecordedError extends TrailError {
  override readonly retryable = false
  /** The tool_call that is on record; it has no result there. */
  readonly event_id: string
  /** Whether the tool returned or threw. */
  readonly outcome: 'success' | 'error'
  /** The value that the tool returned. Undefined in `onProblem`: it stays with the caller. */
  readonly value: unknown
  /** Why the result could not be recorded. */
  readonly failure: TrailError

  constructor(
    message: string,
    { cause, ...result }: ErrorOptions & Pick<ResultNotRecordedError, 'event_id' | 'outcome' | 'value' | 'failure'>,
  ) {
    super('RESULT_NOT_RECORDED', message, { cause })
    this.event_id = result.event_id
    this.outcome = result.outcome
    this.value = result.value
    this.failure = result.failure
  }
}

/** Stored data is not as it must be, or a user could change it who must not. Stop, and alert a person. */
export class IntegrityError extends TrailError {
  override readonly retryable = false
}
