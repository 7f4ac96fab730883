/** What a person's word is checked for before it is recorded. */
import type { ApprovalRequest, Verdict } from '@agent-audit/producer'
import { describe, expect, it } from 'vitest'
import { payment, recordOf, yes } from './approval-support.ts'
import { openTrail } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

describe('decideApproval', () => {
  it('refuses a request that is not what was asked any more, and records that', async () => {
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

  it('refuses a verdict of nobody, and a request that is none, naming every wrong field', async () => {
    const { rows } = await recordOf(async (session, trail) => {
      const request = await session.requestApproval(payment)
      const nobody = { approval_status: 'approved' } as Verdict
      await expect(trail.decideApproval(request, nobody)).rejects.toMatchObject({
        code: 'EVENT_INVALID',
        issues: [{ path: 'approver_id' }],
      })
      await expect(trail.decideApproval({ ...request, arguments_sha256: 'x' }, yes)).rejects.toMatchObject({
        issues: [{ path: 'arguments_sha256' }],
      })
    })
    expect(rows.map((row) => row.event_type)).toEqual(['approval_request'])
  })

  it('rejects, like a request, when it cannot be stored', async () => {
    const trail = openTrail({
      brokers: ['127.0.0.1:1'],
      durability: 'broker',
      guardTimeoutMs: 20,
      onProblem: () => {},
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
