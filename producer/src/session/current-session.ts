/** The session of the running async context: a comfort for tool code, never needed. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { AuditSession } from '../api/audit-trail.ts'
import type { Cause } from './causes.ts'

interface Scope {
  readonly session: AuditSession
  /** The guarded call we are in: what is recorded here follows from it. */
  readonly cause: Cause | undefined
}

const scopes = new AsyncLocalStorage<Scope>()

/** The session whose withSession, run or guard callback we are in, across awaits; undefined outside. */
export function currentSession(): AuditSession | undefined {
  return scopes.getStore()?.session
}

/** The guarded call of `session` that we are in. */
export function currentCause(session: AuditSession): Cause | undefined {
  const scope = scopes.getStore()
  return scope?.session === session ? scope.cause : undefined
}

/** Runs `work` with `session` as the current one, within a call of it or in the one it is in already. */
export function runInSession<T>(session: AuditSession, work: () => T, cause?: Cause): T {
  return scopes.run({ session, cause: cause ?? currentCause(session) }, work)
}
