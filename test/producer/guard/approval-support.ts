/** What the tests of approvals and overrides share: a payment, and what is recorded while it is asked for and made. */
import type { AuditSession, AuditTrail, AuditTrailOptions, Verdict } from '@agent-audit/producer'
import { vi } from 'vitest'
import { openTrail, type Row, sessionRows } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

export const payment = { tool_name: 'pay', tool_input: { to: 'DE02', eur: 1200 }, requires_approval: true } as const
export const yes: Verdict = { approval_status: 'approved', approver_id: 'kim' }

interface Recorded {
  readonly rows: Row[]
  readonly run: ReturnType<typeof vi.fn<() => string>>
}

/** What is recorded while `work` uses a session, and the tool whose runs are counted. */
export async function recordOf(
  work: (session: AuditSession, trail: AuditTrail, run: Recorded['run']) => Promise<unknown>,
  options: Partial<AuditTrailOptions> = {},
): Promise<Recorded> {
  const dataDir = makeTempDirectory()
  // A busy machine may take its time to start the delivery thread.
  const trail = openTrail({ dataDir, guardTimeoutMs: 60_000, ...options })
  const run = vi.fn<() => string>().mockReturnValue('paid')
  await work(trail.startSession({ session_id: 's1' }), trail, run)
  await trail.close()
  return { rows: sessionRows(dataDir).slice(1), run }
}

/** As it is carried between processes. */
export function carried<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T
}
