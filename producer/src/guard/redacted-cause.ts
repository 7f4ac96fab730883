/** The cause of an error that goes to the agent. */
import { describeThrown } from '../record/thrown.ts'
import type { Redactor } from '../redaction/redactor.ts'

/**
 * What the operator's own code threw, for the agent to read: its message is redacted, its class and code stay. Its stack and
 * its other properties are left out: clients put their connection settings there.
 */
export function redactCause(thrown: unknown, redactor: Redactor | undefined): Error {
  const { message, type, code } = describeThrown(thrown)
  const named = (text: string): string => redactor?.withoutTokens(text) ?? text
  const cause = new Error(redactor?.forMessage('error', message) ?? message)
  cause.name = named(type)
  cause.stack = `${cause.name}: ${cause.message}`
  return code === undefined ? cause : Object.assign(cause, { code: typeof code === 'string' ? named(code) : code })
}
