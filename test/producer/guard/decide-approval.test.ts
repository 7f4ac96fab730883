/** The checks of a person's verdict before it is recorded. */
import type { ApprovalRequest, Verdict } from '@agent-audit/producer'
import { describe, expect, it } from 'vitest'
import { payment, recordOf, yes } from './approval-support.ts'
import { NO_BROKER, openTrail } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

describe('decideApproval', () => {
  it('refuses a request that differs from the recorded one, and records the refusal', async () => {
    const { rows } = await recordOf(async (session, trail) => {
      const request = await session.requestApproval(payment)
      const altered = { ...request, tool_input: { to: 'DE02', eur: 1 } }
      await expect(trail.decideApproval(altered, yes)).rejects.toMatchObject({
        name: 'ActionRefusedError',
        code: 'APPROVAL_ALTERED',
      })
    })
    expect(rows[1]).toMatchObject({
      event_type: 'approval_decision',
      outcome: 'denied',
      approval_status: 'pending',
      approver_id: 'kim',
    })
  })

  it('refuses a verdict without an approver and a malformed request, and names every wrong field', async () => {
    const { rows } = await recordOf(async (session, trail) => {
      const request = await session.requestApproval(payment)
      const anonymous = { approval_status: 'approved' } as Verdict
      await expect(trail.decideApproval(request, anonymous)).rejects.toMatchObject({
        code: 'EVENT_INVALID',
        issues: [{ path: 'approver_id' }, { path: 'identity_source' }],
      })
      await expect(trail.decideApproval({ ...request, arguments_sha256: 'x' }, yes)).rejects.toMatchObject({
        issues: [{ path: 'arguments_sha256' }],
      })
    })
    expect(rows.map((row) => row.event_type)).toEqual(['approval_request'])
  })

  it('rejects when the decision cannot be stored, as requestApproval does', async () => {
    const trail = openTrail({
      ...NO_BROKER,
      durability: 'broker',
      guardTimeoutMs: 20,
    })
    const session = trail.startSession()
    await expect(session.requestApproval(payment)).rejects.toMatchObject({ code: 'NOT_RECORDED' })
    const request = await askElsewhere()
    await expect(trail.decideApproval(request, yes)).rejects.toMatchObject({ code: 'NOT_RECORDED' })
    await trail.close({ timeoutMs: 0 })
  })
})

async function askElsewhere(): Promise<ApprovalRequest> {
  return openTrail({ dataDir: makeTempDirectory() }).startSession().requestApproval(payment)
}
