/** Whether an event was stored in time, and what a guard does when it was not. */
import { AuditUnavailableError, TrailError } from '@agent-audit/schemas'
import type { Receipt } from '../api/receipt.ts'
import type { AuditTrailOptions } from '../api/trail-options.ts'

export interface Deadline {
  readonly timeoutMs: number
  readonly passed: Promise<void>
  clear(): void
}

/** Starts a deadline now. */
export function deadline(timeoutMs: number): Deadline {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, timeoutMs)
  return { timeoutMs, passed: promise, clear: () => clearTimeout(timer) }
}

/** Waits for `stored` until the deadline. Never rejects. @returns the failure, undefined once the event is stored. */
export async function whenStored(receipt: Receipt, limit: Deadline): Promise<TrailError | undefined> {
  const stored = receipt.stored.then(() => undefined, asTrailError)
  const late = limit.passed.then(
    () => new AuditUnavailableError('NOT_RECORDED', `not stored within ${limit.timeoutMs} ms`),
  )
  const failure = await Promise.race([stored, late])
  limit.clear()
  return failure
}

export function asTrailError(error: unknown): TrailError {
  if (error instanceof TrailError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new AuditUnavailableError('NOT_RECORDED', message, { cause: error })
}

/** What a guard of this tool does when its record is not stored. */
export function onUnavailable(
  choice: NonNullable<AuditTrailOptions['onUnavailable']>,
  toolName: string,
): 'refuse' | 'proceed' {
  if (typeof choice === 'string') return choice
  for (const name of [toolName, 'tool_call']) {
    if (Object.hasOwn(choice, name)) return choice[name] ?? 'refuse'
  }
  return 'refuse'
}
