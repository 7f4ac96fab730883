/** Reports problems that no receipt shows to the operator, without flooding. */
import type { ErrorCode, TrailError } from '@agent-audit/schemas'

const PAUSE_MS = 1000

/** Reports at most one problem per second and error code, unless it is told otherwise. */
export class ProblemReporter {
  readonly #report: (problem: TrailError) => void
  readonly #reportedMs: Map<ErrorCode, number> = new Map<ErrorCode, number>()

  /** @param report - The caller's function; by default a process warning. An error that it throws becomes a warning too. */
  constructor(report: ((problem: TrailError) => void) | undefined) {
    this.#report = report ?? warn
  }

  /** @param options - `always`: also shortly after another one of its code; for a problem that cannot come often. */
  report(problem: TrailError, { always = false }: { readonly always?: boolean } = {}): void {
    const now = performance.now()
    const last = this.#reportedMs.get(problem.code)
    if (!always && last !== undefined && now - last < PAUSE_MS) return
    this.#reportedMs.set(problem.code, now)
    try {
      this.#report(problem)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      process.emitWarning(`onProblem threw ${why} at ${problem.code}`, 'AuditTrailWarning')
    }
  }
}

function warn(problem: TrailError): void {
  process.emitWarning(problem.message, 'AuditTrailWarning', problem.code)
}
