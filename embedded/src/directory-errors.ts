/** Errors of the files of a data directory, as errors of the trail: one line that names the file. */
import { AuditUnavailableError, InvalidInputError } from '@agent-audit/schemas'

/**
 * Does `work` on a data directory.
 * @throws InvalidInputError `OPTIONS_INVALID` where this account may not use a file; AuditUnavailableError
 * `PART_UNAVAILABLE` where a file is damaged.
 */
export async function onDirectory<T>(dataDir: string, work: () => Promise<T> | T): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof Error)) throw error
    const message = `data directory "${dataDir}": ${error.message}`
    if ('syscall' in error) throw new InvalidInputError('OPTIONS_INVALID', message, { cause: error })
    if (error instanceof SyntaxError) throw new AuditUnavailableError('PART_UNAVAILABLE', message, { cause: error })
    throw error
  }
}
