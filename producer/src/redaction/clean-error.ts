/** An error about wrong input names the caller's keys, and a key can be a secret itself. */
import { InvalidInputError } from '@agent-audit/schemas'
import type { Redactor } from './redactor.ts'

/** Runs a check of a caller's input; tokens are taken out of what it throws. */
export function cleanly<T>(redactor: Redactor | undefined, check: () => T): T {
  try {
    return check()
  } catch (error) {
    throw redactor !== undefined && error instanceof InvalidInputError ? cleanError(error, redactor) : error
  }
}

function cleanError(error: InvalidInputError, redactor: Redactor): InvalidInputError {
  const message = redactor.place(error.message)
  if (message === error.message) return error
  const issues = error.issues.map(({ path, expected }) => ({ path: redactor.place(path), expected }))
  return new InvalidInputError(error.code, message, { issues })
}
