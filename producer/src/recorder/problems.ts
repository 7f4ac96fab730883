/** Reports problems that no receipt shows to the operator, without flooding. */
import { InvalidInputError } from '@agent-audit/schemas'
import type { ErrorCode, TrailError } from '@agent-audit/schemas'
import type { EventRecord } from '../record/event-record.ts'

const PAUSE_MS = 1000

/** Reports at most one problem per second and error code, unless it is told otherwise. */
export class ProblemReporter {
  readonly #report: (problem: TrailError) => void
  readonly #reportedMs: Map<ErrorCode, number> = new Map<ErrorCode, number>()
  /** Of the newest problem, reported or not. */
  lastCode: ErrorCode | null = null
  /** Publishes what is reported; set once the run has its id. */
  publish: (problem: TrailError) => void = () => {}

  /** @param report - The caller's function; by default a process warning. An error that it throws becomes a warning too. */
  constructor(report: ((problem: TrailError) => void) | undefined) {
    this.#report = report ?? warn
  }

  /** @param options - `always`: also shortly after another one of its code; for a problem that cannot come often. */
  report(problem: TrailError, { always = false }: { readonly always?: boolean } = {}): void {
    this.lastCode = problem.code
    const now = performance.now()
    const last = this.#reportedMs.get(problem.code)
    if (!always && last !== undefined && now - last < PAUSE_MS) return
    this.#reportedMs.set(problem.code, now)
    this.publish(problem)
    try {
      this.#report(problem)
    } catch (error) {
      process.emitWarning(`onProblem threw ${whyOf(error)} at ${problem.code}`, 'AuditTrailWarning')
    }
  }
}

function warn(problem: TrailError): void {
  process.emitWarning(problem.message, 'AuditTrailWarning', problem.code)
}

export function whyOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}

/** A fault of the producer itself: its checks let a value through that has no encoding. The number is used, and explained. */
export function notEncoded({ event_type }: EventRecord, cause: unknown): InvalidInputError {
  return new InvalidInputError('EVENT_INVALID', `${event_type} not recorded: no encoding: ${whyOf(cause)}`, { cause })
}
