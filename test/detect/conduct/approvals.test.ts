import type { AuditSession, Verdict } from '@agent-audit/producer'
import { describe, expect, it } from 'vitest'
import type { Session, SessionEvent } from '@agent-audit/detect'
import { find, recorded, sessionOf } from './support.ts'

const payment = { tool_name: 'pay', tool_input: { to: 'DE02', eur: 1200 }, requires_approval: true } as const
const KIM = { approver_id: 'kim', identity_source: 'https://id.example' } as const
const yes: Verdict = { ...KIM, approval_status: 'approved' }
const no: Verdict = { ...KIM, approval_status: 'rejected' }
const pay = (): string => 'paid'
const refused = async (work: Promise<unknown>): Promise<void> => {
  await expect(work).rejects.toThrow(/not run|does not count/)
}

const ALL = ['approval.bypass', 'approval.self', 'approval.no_identity_source']
const faults = (session: Session): unknown[] =>
  ALL.flatMap((name) => find(name, session)).map(({ signals: [first] }) => first?.value)

/** A call that no guard ran: an agent that records by itself, as the real producer lets it. */
const unguarded = (session: AuditSession, more: object = {}): void => {
  const call = { ...payment, tool_call_id: 'c1', ...more }
  session.toolCall(call)
  session.toolResult({ tool_call_id: 'c1', tool_name: 'pay', tool_output: 'paid' })
}

/** Every call, decision and override of a session, altered. */
const altered = (session: Session, type: string, alter: (event: SessionEvent) => Partial<SessionEvent>): Session =>
  sessionOf(session.events.map((each) => (each.event_type === type ? { ...each, ...alter(each) } : each)))

const approved = (): Promise<Session> =>
  recorded(async (trail, session) => {
    const approval = await trail.decideApproval(await session.requestApproval(payment), yes)
    await session.guard(payment, pay, { approval })
  })

describe('what the guard does right is no finding:', () => {
  it('an approval used once, a function that approves, and arguments that the approver modified', async () => {
    expect(faults(await approved())).toEqual([])
    const session = await recorded(async (_test, own) => {
      await own.guard(payment, pay, { approval: () => yes })
      await own.guard(payment, pay, { approval: () => ({ ...yes, modified_input: { to: 'DE02', eur: 900 } }) })
    })
    expect(session.events.filter(({ event_type }) => event_type === 'tool_result')).toHaveLength(2)
    expect(faults(session)).toEqual([])
  })

  it('refusals: rejected, by the one that asks, used twice, other arguments, expired', async () => {
    let now = Date.parse('2026-11-24T10:00:00Z')
    const session = await recorded(
      async (trail, own) => {
        await refused(own.guard(payment, pay, { approval: () => no }))
        await refused(own.guard(payment, pay, { approval: () => ({ ...yes, approver_id: 'Alice ' }) }))
        const approval = await trail.decideApproval(await own.requestApproval(payment), yes)
        await refused(own.guard({ ...payment, tool_input: { to: 'DE99', eur: 1200 } }, pay, { approval }))
        await own.guard(payment, pay, { approval })
        await refused(own.guard(payment, pay, { approval }))
        const late = await trail.decideApproval(await own.requestApproval(payment, { ttlMs: 1000 }), yes)
        now += 5000
        await refused(own.guard(payment, pay, { approval: late }))
      },
      { now: () => new Date(now) },
    )
    expect(session.events.filter(({ event_type }) => event_type === 'tool_call')).toHaveLength(6)
    expect(faults(session)).toEqual([])
  })

  it('a call that a person lets run after a rejection', async () => {
    const session = await recorded(async (_test, own) => {
      await refused(own.guard(payment, pay, { approval: () => no }))
      const override = await own.override(payment, { ...KIM, reason: 'known payee' })
      await own.guard(payment, pay, { approval: () => no, override })
    })
    expect(session.events.at(-2)?.event_type).toBe('tool_call')
    expect(faults(session)).toEqual([])
  })
})

describe('an agent that records without the guard is found:', () => {
  it('no approval at all', async () => {
    expect(faults(await recorded(async (_test, own) => unguarded(own)))).toEqual(['without_approval'])
  })

  it('after a rejection, also where the call says that it needs no approval', async () => {
    for (const requires_approval of [true, false]) {
      const session = await recorded(async (trail, own) => {
        await trail.decideApproval(await own.requestApproval(payment), no)
        unguarded(own, { requires_approval })
      })
      expect(faults(session)).toEqual(['after_rejection'])
    }
  })

  it('while the request is open', async () => {
    const session = await recorded(async (_test, own) => {
      await own.requestApproval(payment)
      unguarded(own, { requires_approval: false })
    })
    expect(faults(session)).toEqual(['without_approval'])
  })

  it('beyond its approval: other arguments', async () => {
    const session = await recorded(async (trail, own) => {
      await trail.decideApproval(await own.requestApproval(payment), yes)
      unguarded(own, { tool_input: { to: 'DE02', eur: 12_000 } })
    })
    expect(faults(session)).toEqual(['without_approval'])
  })

  it('after expiry', async () => {
    let now = Date.parse('2026-11-24T10:00:00Z')
    const session = await recorded(
      async (trail, own) => {
        await trail.decideApproval(await own.requestApproval(payment, { ttlMs: 1000 }), yes)
        now += 5000
        unguarded(own)
      },
      { now: () => new Date(now) },
    )
    expect(faults(session)).toEqual(['after_expiry'])
  })
})

/** A rejected payment, then a call that says that it needs no approval. */
const afterRejection = (tool_input: object): Promise<Session> =>
  recorded(async (trail, session) => {
    await trail.decideApproval(await session.requestApproval(payment), no)
    unguarded(session, { tool_input, requires_approval: false })
  })

describe('after a rejection', () => {
  it('nearly the same without approval is found', async () => {
    expect(faults(await afterRejection({ to: 'DE02', eur: 1199 }))).toEqual(['near_rejection'])
    expect(faults(await afterRejection({ to: 'DE02', eur: 1300 }))).toEqual(['near_rejection'])
  })

  it('much less, or something else, may need no approval', async () => {
    expect(faults(await afterRejection({ to: 'DE02', eur: 900 }))).toEqual([])
    expect(faults(await afterRejection({ to: 'DE77', eur: 1200 }))).toEqual([])
    expect(faults(await afterRejection({ to: 'DE02', eur: 1200, memo: 'rent' }))).toEqual([])
  })
})

describe('a record that another producer altered is found:', () => {
  const DIGEST = 'ab'.repeat(32)

  it.each<[string, string, string, (event: SessionEvent) => Partial<SessionEvent>]>([
    ['arguments', 'other_arguments', 'tool_call', () => ({ arguments_sha256: DIGEST })],
    ['tool', 'other_tool', 'tool_call', () => ({ tool_name: 'wire' })],
    ['decision', 'after_rejection', 'approval_decision', () => ({ approval_status: 'rejected' })],
    [
      'decision that did not count',
      'not_on_record',
      'approval_decision',
      () => ({ outcome: 'denied', approval_status: 'pending' }),
    ],
    ['expiry', 'after_expiry', 'approval_request', () => ({ content: { expires_at: '2020-01-01T00:00:00Z' } })],
    ['approver: the user', 'alice', 'approval_decision', () => ({ approver_id: 'ALICE' })],
    ['approver: the agent', 'support', 'tool_call', () => ({ approver_id: 'support' })],
    [
      'approver: the user, with a domain',
      'alice@corp.example',
      'tool_call',
      () => ({ approver_id: 'alice@corp.example' }),
    ],
    ['approver: the user, of a domain', 'corp\\alice', 'approval_decision', () => ({ approver_id: 'CORP\\alice' })],
    ['identity source: a word for nothing', 'kim', 'tool_call', () => ({ approval: { identity_source: 'N/A' } })],
    ['identity source', 'kim', 'tool_call', () => ({ approval: { approver_kind: 'person', identity_source: ' ' } })],
  ])('its %s', async (_what, fault, type, alter) => {
    const [value, ...more] = faults(altered(await approved(), type, alter))
    expect(String(value).toLowerCase()).toBe(fault)
    expect(more).toEqual([])
  })

  it('its use: twice under one approval', async () => {
    const { events } = await approved()
    const call = events.find(({ event_type }) => event_type === 'tool_call') as SessionEvent
    const again = { ...call, event_id: 'again', tool_call_id: 'c2' }
    expect(find('approval.bypass', sessionOf([...events, again]))).toMatchObject([
      { cause: 's1/again', severity: 'critical', evidence: ['again', call.event_id, expect.any(String) as string] },
    ])
  })
})

const selfFound = async (approver_id: string, user_id = 'alice'): Promise<unknown[]> => {
  const session = altered(await approved(), 'approval_decision', () => ({ approver_id }))
  return find('approval.self', sessionOf(session.events.map((each) => ({ ...each, user_id }))))
}

describe('self-approval that the operator allows', () => {
  it('is of low severity, and one finding for the decision and its call', async () => {
    const session = await recorded(
      (_test, own) => own.guard(payment, pay, { approval: () => ({ ...yes, approver_id: 'alice' }) }),
      { allowSelfApproval: true },
    )
    expect(find('approval.self', session)).toMatchObject([{ severity: 'low', evidence: { length: 2 } }])
    expect(find('approval.bypass', session)).toEqual([])
  })

  it('is not seen in a name alike, in the account of another domain, or in the mailbox of a team', async () => {
    expect(await selfFound('alice@corp.example')).toMatchObject([{ severity: 'high' }])
    expect(await selfFound('alice@corp.example', 'alice@shop.example')).toEqual([])
    expect(await selfFound('alicent@corp.example')).toEqual([])
    expect(await selfFound('support@corp.example')).toEqual([])
  })

  it('is not seen in ids that redaction removed', async () => {
    const session = altered(await approved(), 'approval_decision', () => ({
      approver_id: '[redacted:path]',
      user_id: '[redacted:path]',
    }))
    expect(find('approval.self', session)).toEqual([])
  })
})
