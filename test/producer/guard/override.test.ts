/** A person overrides a refusal, or stops an action. */
import type { ApprovalRequest, AuditTrail, Ruling } from '@agent-audit/producer'
import { describe, expect, it } from 'vitest'
import { carried, KIM, payment, recordOf, yes } from './approval-support.ts'

describe('an override', () => {
  const denied = { check: (): Ruling => ({ outcome: 'denied', reason: 'above the limit' }) }
  const kim = { ...KIM, reason: 'the payee called' }
  const by = { approver_id: 'kim', approval: { approver_kind: 'person', identity_source: KIM.identity_source } }

  it('lets a call run that the policy refuses: refusal, intervention and call follow each other and carry one digest', async () => {
    const { rows, run } = await recordOf(async (session, _, pay) => {
      const call = { ...payment, requires_approval: false, tool_call_id: 'c1' }
      await expect(session.guard(call, pay, denied)).rejects.toMatchObject({ code: 'DENIED' })
      const override = carried(await session.override(call, kim))
      expect(await session.guard(call, pay, { ...denied, override })).toBe('paid')
    })
    const [refused, intervention, call] = rows
    const same = { tool_name: 'pay', tool_call_id: 'c1', arguments_sha256: refused?.['arguments_sha256'] }
    expect(rows).toMatchObject([
      { ...same, event_type: 'tool_call', outcome: 'denied' },
      {
        ...same,
        event_type: 'human_intervention',
        outcome: 'allowed',
        ...by,
        reason: kim.reason,
        tool_input: payment.tool_input,
      },
      { ...same, event_type: 'tool_call', outcome: 'allowed', ...by },
      { event_type: 'tool_result', outcome: 'success' },
    ])
    expect(call?.['reason']).toBe('overridden: above the limit')
    expect(intervention?.['content']).toEqual({ expires_at: expect.stringMatching(/^\d{4}-.*Z$/) as unknown })
    expect([intervention, call].map((row) => row?.['parent_event_id'])).toEqual([
      refused?.event_id,
      intervention?.event_id,
    ])
    expect(run).toHaveBeenCalledTimes(1)
  })

  it.each([
    ['is missing', 'was not given', () => Promise.resolve(undefined)],
    [
      'was rejected',
      'was rejected',
      async (trail: AuditTrail, request: ApprovalRequest) =>
        trail.decideApproval(request, { ...yes, approval_status: 'rejected' }),
    ],
    [
      'has expired',
      'has expired',
      async (trail: AuditTrail, request: ApprovalRequest) => ({
        ...(await trail.decideApproval(request, yes)),
        expires_at: new Date(0).toISOString(),
      }),
    ],
    [
      'was for other arguments',
      'for other arguments',
      async (trail: AuditTrail, request: ApprovalRequest) => ({
        ...(await trail.decideApproval(request, yes)),
        arguments_sha256: '0'.repeat(64),
      }),
    ],
  ])('lets a call run whose approval %s, once', async (_, reason, decide) => {
    const { rows, run } = await recordOf(async (session, trail, pay) => {
      const approval = await decide(trail, await session.requestApproval(payment))
      await expect(session.guard(payment, pay, { approval })).rejects.toMatchObject({ name: 'ActionRefusedError' })
      const override = await session.override(payment, kim)
      await session.guard(payment, pay, { approval, override })
      const again = { name: 'ActionRefusedError', code: 'APPROVAL_USED' }
      await expect(session.guard(payment, pay, { approval, override })).rejects.toMatchObject(again)
    })
    const calls = rows.filter(({ event_type }) => event_type === 'tool_call')
    expect(calls).toMatchObject([
      { outcome: 'denied' },
      { outcome: 'allowed', approver_id: 'kim' },
      { outcome: 'denied' },
    ])
    expect(calls[1]?.['reason']).toContain(reason)
    expect(run).toHaveBeenCalledTimes(1)
  })

  it('lets a call run whose approval was used', async () => {
    const { run } = await recordOf(async (session, trail, pay) => {
      const approval = await trail.decideApproval(await session.requestApproval(payment), yes)
      await session.guard(payment, pay, { approval })
      await session.guard(payment, pay, { approval, override: await session.override(payment, kim) })
    })
    expect(run).toHaveBeenCalledTimes(2)
  })

  it.each<[string, string, object]>([
    ['other arguments', 'APPROVAL_ALTERED', { arguments_sha256: '0'.repeat(64) }],
    ['another tool', 'APPROVAL_ALTERED', { tool_name: 'pay_abroad' }],
    ['another session', 'APPROVAL_ALTERED', { session_id: 's2' }],
    ['an expired time', 'APPROVAL_EXPIRED', { expires_at: new Date(0).toISOString() }],
  ])(
    'for %s lets no call run, whether the call needs one or not, and the refusal is recorded',
    async (_, code, other) => {
      const { rows, run } = await recordOf(async (session, _trail, pay) => {
        const override = { ...(await session.override(payment, kim)), ...other }
        for (const requires_approval of [true, false]) {
          const refused = session.guard({ ...payment, requires_approval }, pay, { override })
          await expect(refused).rejects.toMatchObject({ name: 'ActionRefusedError', code })
        }
      })
      expect(run).not.toHaveBeenCalled()
      const calls = rows.filter(({ event_type }) => event_type === 'tool_call')
      expect(calls).toMatchObject([
        { outcome: 'denied', approver_id: 'kim' },
        { outcome: 'denied', approver_id: 'kim' },
      ])
      expect(calls[0]?.['reason']).toMatch(/^the override /)
    },
  )

  it('without an approver or a reason is wrong input, and is not recorded', async () => {
    const { rows } = await recordOf(async (session) => {
      await expect(session.override(payment, {} as never)).rejects.toMatchObject({
        code: 'EVENT_INVALID',
        issues: [{ path: 'approver_id' }, { path: 'identity_source' }, { path: 'reason' }],
      })
    })
    expect(rows).toEqual([])
  })

  it('is not used up by a call that does not need it', async () => {
    const { rows, run } = await recordOf(async (session, _, pay) => {
      const call = { ...payment, requires_approval: false }
      const override = await session.override(call, kim)
      await session.guard(call, pay, { override })
      await session.guard(call, pay, { ...denied, override })
    })
    expect(run).toHaveBeenCalledTimes(2)
    const calls = rows.filter(({ event_type }) => event_type === 'tool_call')
    expect(calls.map((row) => row['reason'])).toEqual([undefined, 'overridden: above the limit'])
  })
})

it('humanIntervention names the arguments of its call by their digest', async () => {
  const { rows } = await recordOf(async (session) => {
    session.toolCall({ tool_name: 'pay', tool_input: { b: 1, a: 2 }, tool_call_id: 'c1', outcome: 'blocked' })
    const about = { tool_call_id: 'c1', tool_name: 'pay', tool_input: { a: 2, b: 1 } }
    session.humanIntervention({ approver_id: 'kim', reason: 'stop', ...about })
    session.humanIntervention({ approver_id: 'kim', reason: 'stop everything' })
  })
  expect(rows[1]).toMatchObject({ tool_name: 'pay', arguments_sha256: rows[0]?.['arguments_sha256'] })
  expect(rows[2]).not.toHaveProperty('arguments_sha256')
})
