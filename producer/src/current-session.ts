/** The session of the running async context: a comfort for tool code, never needed. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { AuditSession } from './audit-trail.ts'

const sessions = new AsyncLocalStorage<AuditSession>()

/** The session whose withSession or run callback we are in, across awaits; undefined outside. */
export function currentSession(): AuditSession | undefined {
  return sessions.getStore()
}

/** Runs `work` with `session` as the current one. */
export function runInSession<T>(session: AuditSession, work: () => T): T {
  return sessions.run(session, work)
}
