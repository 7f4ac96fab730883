/** Shared by the tests of approvals and overrides: a payment, and the rows recorded while a session requests and makes it. */
import type { AuditSession, AuditTrail, AuditTrailOptions, Verdict } from '@agent-audit/producer'
import { vi } from 'vitest'
import { openTrail, type Row, sessionRows } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

export const payment = { tool_name: 'pay', tool_input: { to: 'DE02', eur: 1200 }, requires_approval: true } as const
export const KIM = { approver_id: 'kim', identity_source: 'https://id.example' } as const
export const yes: Verdict = { ...KIM, approval_status: 'approved' }

interface Recorded {
  readonly rows: Row[]
  readonly run: ReturnType<typeof vi.fn<() => string>>
}

/** Runs `work` on a session. @returns The rows that it recorded, and the tool, which counts its runs. */
export async function recordOf(
  work: (session: AuditSession, trail: AuditTrail, run: Recorded['run']) => Promise<unknown>,
  options: Partial<AuditTrailOptions> = {},
): Promise<Recorded> {
  const dataDir = makeTempDirectory()
  // A busy machine may need long to start the delivery thread.
  const trail = openTrail({ dataDir, guardTimeoutMs: 60_000, ...options })
  const run = vi.fn<() => string>().mockReturnValue('paid')
  await work(trail.startSession({ session_id: 's1' }), trail, run)
  await trail.close()
  return { rows: sessionRows(dataDir).slice(1), run }
}

/** The value as another process receives it: written as JSON and read again. */
export function carried<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T
}
