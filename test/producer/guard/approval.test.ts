import type { ApprovalDecision, ApprovalRequest, AuditSession, AuditTrail, Verdict } from '@agent-audit/producer'
import { describe, expect, it, vi } from 'vitest'
import { carried, KIM, payment, recordOf, yes } from './approval-support.ts'
import { startChild } from '../process/run-program.ts'
import { openTrail, readRows, sessionRows } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

describe('an approval', () => {
  it('is requested, decided and used: its three events carry one id and one digest', async () => {
    const { rows, run } = await recordOf(async (session, trail, pay) => {
      session.llmCall({ input_messages: [], output_text: null })
      const request = carried(await session.requestApproval({ ...payment, tool_call_id: 'c1' }, { reason: 'large' }))
      expect(request).toMatchObject({ ...paymentOf(request), reason: 'large', tool_call_id: 'c1' })
      const decision = carried(await trail.decideApproval(request, { ...yes, reason: 'known payee' }))
      expect(await session.guard({ ...payment, tool_call_id: 'c1' }, pay, { approval: decision })).toBe('paid')
    })
    const [llm, asked, decided, call, result] = rows
    const approval_id = asked?.event_id
    const arguments_sha256 = asked?.['arguments_sha256']
    const same = { approval_id, arguments_sha256, tool_name: 'pay', tool_call_id: 'c1' }
    expect(rows.slice(1)).toMatchObject([
      { ...same, event_type: 'approval_request', approval_status: 'pending', requires_approval: true, reason: 'large' },
      { ...same, event_type: 'approval_decision', approval_status: 'approved', approver_id: 'kim' },
      { ...same, event_type: 'tool_call', approval_status: 'approved', approver_id: 'kim', requires_approval: true },
      { event_type: 'tool_result', outcome: 'success', tool_call_id: 'c1' },
    ])
    expect(decided).toMatchObject({ reason: 'known payee' })
    expect(asked?.['content']).toEqual({ expires_at: expect.stringMatching(/^\d{4}-.*Z$/) as unknown })
    expect([asked, decided, call, result].map((row) => row?.['parent_event_id'])).toEqual([
      llm?.event_id,
      asked?.event_id,
      decided?.event_id,
      call?.event_id,
    ])
    expect(rows.map((row) => row.session_seq)).toEqual([1, 2, 3, 4, 5])
    expect(run).toHaveBeenCalledTimes(1)
  })

  it('holds for the same arguments in any order of their keys', async () => {
    const { run } = await recordOf(async (session, trail, pay) => {
      const approval = await trail.decideApproval(await session.requestApproval(payment), yes)
      await session.guard({ ...payment, tool_input: { eur: 1200, to: 'DE02', note: undefined } }, pay, { approval })
    })
    expect(run).toHaveBeenCalledTimes(1)
  })

  it('is redacted like every other event: the approver too, in a decision, an approved call and an overridden one', async () => {
    const { rows } = await recordOf(
      async (session, trail, pay) => {
        const approval = await trail.decideApproval(await session.requestApproval(payment), yes)
        await session.guard(payment, pay, { approval })
        const override = await session.override(payment, { ...KIM, reason: 'known payee' })
        await session.guard(payment, pay, { override })
      },
      { redact: { paths: ['approver_id'] } },
    )
    const named = rows.filter((row) => row['approver_id'] !== undefined)
    expect(named.map((row) => [row.event_type, row['approver_id']])).toEqual([
      ['approval_decision', '[redacted:path]'],
      ['tool_call', '[redacted:path]'],
      ['human_intervention', '[redacted:path]'],
      ['tool_call', '[redacted:path]'],
    ])
    expect(named.map((row) => row['field_notes'])).toEqual(
      named.map(() => ({ approver_id: { redacted: { path: 1 } } })),
    )
  })

  it('can be given by a function in this process', async () => {
    const { rows, run } = await recordOf(async (session, _, pay) => {
      const approval = vi.fn<(request: ApprovalRequest) => Promise<Verdict>>().mockResolvedValue(yes)
      await session.guard(payment, pay, { approval })
      expect(approval.mock.calls[0]?.[0]).toMatchObject({ tool_name: 'pay', tool_input: payment.tool_input })
    })
    expect(rows.map((row) => row.event_type)).toEqual([
      'approval_request',
      'approval_decision',
      'tool_call',
      'tool_result',
    ])
    expect(new Set(rows.slice(0, 3).map((row) => row['approval_id'])).size).toBe(1)
    expect(run).toHaveBeenCalledTimes(1)
  })
})

function paymentOf({ approval_id, session }: ApprovalRequest): Partial<ApprovalRequest> {
  return { approval_id, session, tool_name: payment.tool_name, tool_input: payment.tool_input }
}

interface Refusal {
  readonly what: string
  readonly code: string
  readonly attempt: (on: {
    session: AuditSession
    trail: AuditTrail
    pay: () => string
    ask: () => Promise<ApprovalRequest>
  }) => Promise<unknown>
}

const REFUSALS: readonly Refusal[] = [
  {
    what: 'without an approval',
    code: 'APPROVAL_REQUIRED',
    attempt: ({ session, pay }) => session.guard(payment, pay),
  },
  {
    what: 'after a rejection',
    code: 'APPROVAL_REJECTED',
    attempt: async ({ session, trail, pay, ask }) =>
      session.guard(payment, pay, {
        approval: await trail.decideApproval(await ask(), { ...yes, approval_status: 'rejected' }),
      }),
  },
  {
    what: 'after a rejection by a function',
    code: 'APPROVAL_REJECTED',
    attempt: ({ session, pay }) =>
      session.guard(payment, pay, { approval: () => ({ ...yes, approval_status: 'rejected' }) }),
  },
  {
    what: 'with other arguments',
    code: 'APPROVAL_ALTERED',
    attempt: async ({ session, trail, pay, ask }) =>
      session.guard({ ...payment, tool_input: { to: 'DE02', eur: 1201 } }, pay, {
        approval: await trail.decideApproval(await ask(), yes),
      }),
  },
  {
    what: 'with another tool',
    code: 'APPROVAL_ALTERED',
    attempt: async ({ session, trail, pay, ask }) =>
      session.guard({ ...payment, tool_name: 'pay_abroad' }, pay, {
        approval: await trail.decideApproval(await ask(), yes),
      }),
  },
  {
    what: 'in another session',
    code: 'APPROVAL_ALTERED',
    attempt: async ({ trail, pay, ask }) =>
      trail
        .startSession({ session_id: 's2' })
        .guard(payment, pay, { approval: await trail.decideApproval(await ask(), yes) }),
  },
  {
    what: 'even if the tool itself asks for no approval',
    code: 'APPROVAL_ALTERED',
    attempt: async ({ session, trail, pay, ask }) =>
      session.guard({ tool_name: 'pay', tool_input: {} }, pay, {
        approval: await trail.decideApproval(await ask(), yes),
      }),
  },
]

describe('an action that needs approval does not run', () => {
  it.each(REFUSALS)('$what, and the refusal is recorded', async ({ code, attempt }) => {
    let error: unknown
    const { rows, run } = await recordOf(async (session, trail, pay) => {
      const ask = (): Promise<ApprovalRequest> => session.requestApproval(payment)
      error = await attempt({ session, trail, pay, ask }).catch((thrown: unknown) => thrown)
    })
    expect(run).not.toHaveBeenCalled()
    const refused = rows.filter((row) => row.event_type === 'tool_call')
    expect(refused).toMatchObject([{ outcome: 'denied', requires_approval: true }])
    expect(refused[0]?.['reason']).toMatch(/approval/)
    expect(error).toMatchObject({ name: 'ActionRefusedError', code, event_id: refused[0]?.event_id })
  })

  it('a second time, neither in parallel nor through another trail', async () => {
    const { rows, run } = await recordOf(async (session, trail, pay) => {
      const approval = await trail.decideApproval(await session.requestApproval(payment), yes)
      const other = openTrail({ dataDir: makeTempDirectory() }).resumeSession(session.ref)
      const tries = [session, session, other].map((each) => each.guard(payment, pay, { approval: carried(approval) }))
      const outcomes = await Promise.allSettled(tries)
      expect(outcomes.map((outcome) => outcome.status)).toEqual(['fulfilled', 'rejected', 'rejected'])
      expect(outcomes[1]).toMatchObject({ reason: { code: 'APPROVAL_USED' } })
      expect(outcomes[2]).toMatchObject({ reason: { code: 'APPROVAL_USED' } })
    })
    expect(run).toHaveBeenCalledTimes(1)
    const calls = rows.filter((row) => row.event_type === 'tool_call')
    expect(calls.map((row) => row['outcome'])).toEqual(['allowed', 'denied'])
  })

  it('a second time in another process on the same spool directory, also when three try at once, one on another topic', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    const session = trail.startSession({ session_id: 's1' })
    const approval = await trail.decideApproval(await session.requestApproval(payment), yes)
    const order = { ref: session.ref, call: payment, options: { approval } }
    // An approval names no topic: that of another retention class is no other place to use it.
    const children = ['default', 'default', 'long'].map((retentionClass) =>
      startChild('run-approved', dataDir, JSON.stringify({ ...order, retentionClass })),
    )
    for (const child of children) expect(await child.exited()).toMatchObject({ code: 0 })
    const outcomes = children.flatMap(({ lines }) => lines)
    expect(outcomes.toSorted()).toEqual(['APPROVAL_USED', 'APPROVAL_USED', 'paid'])
    await expect(session.guard(payment, () => 'paid', { approval })).rejects.toMatchObject({ code: 'APPROVAL_USED' })
    await trail.close()
    const calls = sessionRows(dataDir).filter((row) => row.event_type === 'tool_call')
    const others = readRows(dataDir, 'audit.events.long').filter((row) => row.event_type === 'tool_call')
    expect([...calls, ...others].map((row) => String(row['outcome'])).toSorted()).toEqual([
      'allowed',
      'denied',
      'denied',
      'denied',
    ])
  })

  it('unless claimApproval confirms the first use; it does not run either when claimApproval fails', async () => {
    const claimApproval = vi.fn<(id: string) => boolean | Promise<boolean>>()
    claimApproval
      .mockResolvedValueOnce(false)
      .mockRejectedValueOnce(new RangeError('no answer'))
      .mockImplementationOnce(() => {
        throw new RangeError('no answer')
      })
      .mockReturnValueOnce(undefined as never)
      .mockResolvedValueOnce(true)
    const ids: string[] = []
    const { rows, run } = await recordOf(
      async (session, trail, pay) => {
        for (const code of ['APPROVAL_USED', 'NOT_RECORDED', 'NOT_RECORDED', 'NOT_RECORDED']) {
          const approval = await trail.decideApproval(await session.requestApproval(payment), yes)
          await expect(session.guard(payment, pay, { approval })).rejects.toMatchObject({ code })
          ids.push(approval.approval_id)
        }
        const approval = await trail.decideApproval(await session.requestApproval(payment), yes)
        await session.guard(payment, pay, { approval })
        ids.push(approval.approval_id)
      },
      { claimApproval },
    )
    expect(run).toHaveBeenCalledTimes(1)
    expect(claimApproval.mock.calls).toEqual(ids.map((id) => [id]))
    const calls = rows.filter((row) => row.event_type === 'tool_call')
    expect(calls.map((row) => row['outcome'])).toEqual(['denied', 'error', 'error', 'error', 'allowed'])
    expect(calls[1]?.['reason']).toBe('claimApproval failed: RangeError')
  })

  it('when the function that decides fails, and the failure is recorded', async () => {
    const deciders = [
      () => Promise.reject(new RangeError('the desk is closed')),
      () => ({ approval_status: 'approved', approver_id: '' }) as Verdict,
      () => undefined as never,
    ]
    const { rows, run } = await recordOf(async (session, _, pay) => {
      for (const approval of deciders) {
        await expect(session.guard(payment, pay, { approval })).rejects.toThrow(/./)
      }
    })
    expect(run).not.toHaveBeenCalled()
    const calls = rows.filter((row) => row.event_type === 'tool_call')
    expect(calls.map((row) => [row['outcome'], row['reason']])).toEqual([
      ['error', 'approval failed: RangeError'],
      ['error', 'approval failed: EVENT_INVALID'],
      ['error', 'approval failed: EVENT_INVALID'],
    ])
  })
})

describe('an approval whose call was not stored', () => {
  it('can be used again', async () => {
    const { run } = await recordOf(
      async (session, trail, pay) => {
        const approval = await trail.decideApproval(await session.requestApproval(payment), yes)
        for (let index = 0; index < 30; index++) session.decision({ reasoning: 'x'.repeat(60_000) })
        await expect(session.guard(payment, pay, { approval })).rejects.toMatchObject({ code: 'NOT_RECORDED' })
        await trail.flush()
        expect(await session.guard(payment, pay, { approval })).toBe('paid')
      },
      { durability: 'memory', maxBufferBytes: 2 ** 20, onProblem: () => {} },
    )
    expect(run).toHaveBeenCalledTimes(1)
  })
})

it('a malformed decision is wrong input', async () => {
  const { rows, run } = await recordOf(async (session, _, pay) => {
    const approval = { approval_status: 'approved', approver_id: 'kim' } as ApprovalDecision
    await expect(session.guard(payment, pay, { approval })).rejects.toMatchObject({ code: 'EVENT_INVALID' })
  })
  expect(rows).toEqual([])
  expect(run).not.toHaveBeenCalled()
})
