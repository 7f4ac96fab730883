/**
 * Looks once a second whether the open spools still lie where they were made: cleaners of temporary directories remove files
 * that are in use. What is stored in such a file would be gone with the process, so it is moved to a new one. Beside this, each
 * append looks for itself: nothing counts as stored in a file without a name.
 */
import { AuditUnavailableError } from '@agent-audit/schemas'
import { toProblem } from './protocol.ts'
import type { SpoolSearchOptions } from './spool-search.ts'

const INTERVAL_MS = 1000

export function watchSpools({ open, reporter, work }: Pick<SpoolSearchOptions, 'open' | 'reporter' | 'work'>): void {
  const problem = (error: unknown): void => reporter.problem(toProblem(error, 'SPOOL_UNAVAILABLE'))
  const look = (): void => {
    for (const spool of open()) {
      if (spool.inPlace) continue
      const { file } = spool
      try {
        spool.move()
        const what = `${file} was removed, renamed or replaced; its events are in ${spool.file} now`
        problem(new AuditUnavailableError('SPOOL_UNAVAILABLE', what))
      } catch (error) {
        problem(error)
      }
    }
    work.later(look, INTERVAL_MS)
  }
  work.later(look, INTERVAL_MS)
}
