/** The session of the running async context: convenient for tool code, never required. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { AuditSession } from '../api/session.ts'
import type { Cause } from '../record/causes.ts'

interface Scope {
  readonly session: AuditSession
  /** The guarded call under way: events recorded in this scope follow from it. */
  readonly cause: Cause | undefined
}

const scopes = new AsyncLocalStorage<Scope>()

/** The session whose withSession, run or guard callback is running, across awaits; undefined outside of one. */
export function currentSession(): AuditSession | undefined {
  return scopes.getStore()?.session
}

/** The guarded call of `session` that is running. */
export function currentCause(session: AuditSession): Cause | undefined {
  const scope = scopes.getStore()
  return scope?.session === session ? scope.cause : undefined
}

/** Whether a guarded tool is running. */
export function isInGuardedTool(): boolean {
  return scopes.getStore()?.cause !== undefined
}

/** Runs `work` with `session` as the current session; `cause` is the guarded call, by default the one running already. */
export function runInSession<T>(session: AuditSession, work: () => T, cause?: Cause): T {
  return scopes.run({ session, cause: cause ?? currentCause(session) }, work)
}
