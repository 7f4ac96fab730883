/** Who approves, how that is known, and what they were shown. The approver is not the one that asks. */
import type {
  ApprovalDecision,
  ApprovalRequest,
  AuditTrailOptions,
  GuardOptions,
  Ruling,
  ToolCall,
  Verdict,
} from '@agent-audit/producer'
import { createTestTrail, type TestTrail } from '@agent-audit/producer/testing'
import { describe, expect, it, vi } from 'vitest'
import { carried, KIM, payment, yes } from './approval-support.ts'
import { sha256 } from '../support.ts'

const ASKS = { session_id: 's1', agent_id: 'payer', user_id: 'lea' }
const CANONICAL = '{"eur":1200,"to":"DE02"}'
const BY_KIM = { approver_kind: 'person', identity_source: KIM.identity_source }

type Ask = (call: ToolCall, verdict: Verdict) => Promise<unknown>

/** The two ways to a verdict: a function in this process, and a decision that is carried. */
function waysToAsk(trail: TestTrail, run: () => string): Ask[] {
  const session = trail.startSession(ASKS)
  return [
    (call, verdict) => session.guard(call, run, { approval: () => verdict }),
    async (call, verdict) => {
      const request = carried(await session.requestApproval(call))
      return session.guard(call, run, { approval: carried(await trail.decideApproval(request, verdict)) })
    },
  ]
}

describe('a verdict', () => {
  it.each([
    ['no approver', { identity_source: 'https://id.example' }, 'approver_id', 'expected the id of the approver'],
    ['a blank approver', { ...KIM, approver_id: ' ' }, 'approver_id', 'expected the id of the approver'],
    ['no source', { approver_id: 'kim' }, 'identity_source', 'identity was authenticated'],
    ['a blank source', { ...KIM, identity_source: '\t' }, 'identity_source', 'identity was authenticated'],
    ['an unknown kind', { ...KIM, approver_kind: 'robot' }, 'approver_kind', 'agent'],
  ])('with %s runs nothing and approves nothing; the error names what is wrong', async (_, by, path, expected) => {
    const trail = createTestTrail()
    const run = vi.fn<() => string>()
    const verdict = { approval_status: 'approved', ...by } as Verdict
    for (const ask of waysToAsk(trail, run)) {
      const error: unknown = await ask(payment, verdict).catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'EVENT_INVALID', issues: [{ path }] })
      expect((error as Error).message).toContain(`${path}: `)
      expect((error as Error).message).toContain(expected)
    }
    expect(run).not.toHaveBeenCalled()
    expect(trail.events({ event_type: 'approval_decision' })).toEqual([])
  })

  it.each(['person', 'policy', 'agent'] as const)('of a %s says so in the decision and in the call', async (kind) => {
    const trail = createTestTrail()
    for (const ask of waysToAsk(trail, () => 'paid')) await ask(payment, { ...yes, approver_kind: kind })
    const approval = { ...BY_KIM, approver_kind: kind, shown_sha256: sha256(CANONICAL) }
    for (const event_type of ['approval_decision', 'tool_call']) {
      const events = trail.events({ event_type })
      expect(events.map((event) => [event.approver_id, event.approval])).toEqual(twice(['kim', approval]))
    }
  })

  it('of a person is the usual one', async () => {
    const trail = createTestTrail()
    for (const ask of waysToAsk(trail, () => 'paid')) await ask(payment, yes)
    expect(trail.events({ event_type: 'tool_call' })).toMatchObject([{ approval: BY_KIM }, { approval: BY_KIM }])
  })

  it.each([
    ['text', 'Pay 1200 EUR to DE02?', '"Pay 1200 EUR to DE02?"'],
    ['JSON', { to: 'the landlord', eur: 1200 }, '{"eur":1200,"to":"the landlord"}'],
  ])('keeps other %s that the approver was shown, with its digest, and redacts it', async (_, shown, canonical) => {
    const trail = createTestTrail({ redact: { paths: ['content.shown.to'] } })
    for (const ask of waysToAsk(trail, () => 'paid')) await ask(payment, { ...yes, shown })
    const kept = typeof shown === 'string' ? shown : { to: '[redacted:path]', eur: 1200 }
    for (const decision of trail.events({ event_type: 'approval_decision' })) {
      expect(decision).toMatchObject({ content: { shown: kept }, approval: { shown_sha256: sha256(canonical) } })
      expect(decision.arguments_sha256).toBe(sha256(CANONICAL))
    }
    expect(trail.events({ event_type: 'tool_call' })).toMatchObject(
      twice({ approval: { shown_sha256: sha256(canonical) } }),
    )
  })

  it('that a carried decision does not name the source of is wrong input', async () => {
    const trail = createTestTrail()
    const session = trail.startSession(ASKS)
    const decision = carried(await trail.decideApproval(await session.requestApproval(payment), yes))
    const anonymous = { ...decision, approval: { approver_kind: 'person' } } as ApprovalDecision
    const run = vi.fn<() => string>()
    await expect(session.guard(payment, run, { approval: anonymous })).rejects.toMatchObject({
      code: 'EVENT_INVALID',
      issues: [{ path: 'approval.identity_source' }],
    })
    expect(run).not.toHaveBeenCalled()
  })
})

/** Of both ways to a verdict. */
function twice<T>(value: T): T[] {
  return [value, value]
}

const REQUESTERS: [string, string][] = [
  ['the agent that asks', 'payer'],
  ['the user that it acts for', 'lea'],
  ['the user in another spelling', ' LEA'],
  ['the principal whose authority the call uses', 'treasury'],
]
const call = { ...payment, on_behalf_of: 'treasury' }

describe('an approval by the one that asks', () => {
  it.each(REQUESTERS)('does not count: %s', async (_, approver_id) => {
    const trail = createTestTrail()
    const run = vi.fn<() => string>()
    for (const ask of waysToAsk(trail, run)) {
      const refused = { name: 'ActionRefusedError', code: 'SELF_APPROVAL' }
      await expect(ask(call, { ...yes, approver_id })).rejects.toMatchObject(refused)
    }
    expect(run).not.toHaveBeenCalled()
    const denied = { outcome: 'denied', reason_code: 'self_approval', approver_id, approval_status: 'pending' }
    expect(trail.events({ event_type: 'approval_decision' })).toMatchObject([denied, denied])
    // decideApproval throws: the second call was not tried.
    const [refused, ...more] = trail.events({ event_type: 'tool_call' })
    expect(more).toEqual([])
    expect(refused).toMatchObject({ ...denied, approval: { self_approval: true } })
    expect(trail.problems()).toEqual([expect.stringMatching(/not ended/)])
  })

  it.each(REQUESTERS)('that another trail has recorded is refused by the guard: %s', async (_, approver_id) => {
    const desk = createTestTrail({ allowSelfApproval: true })
    const trail = createTestTrail()
    const session = trail.startSession(ASKS)
    const request = await session.requestApproval(call)
    const approval = carried(await desk.decideApproval(carried(request), { ...yes, approver_id }))
    const run = vi.fn<() => string>()
    await expect(session.guard(call, run, { approval })).rejects.toMatchObject({ code: 'SELF_APPROVAL' })
    expect(run).not.toHaveBeenCalled()
    expect(trail.events({ event_type: 'tool_call' })).toMatchObject([
      { outcome: 'denied', reason_code: 'self_approval', approver_id },
    ])
  })

  it('leaves the question open: another person may approve it', async () => {
    const trail = createTestTrail()
    const session = trail.startSession(ASKS)
    const request = await session.requestApproval(payment)
    await expect(trail.decideApproval(request, { ...yes, approver_id: 'lea' })).rejects.toThrow(/does not count/)
    const approval = await trail.decideApproval(request, yes)
    expect(await session.guard(payment, () => 'paid', { approval })).toBe('paid')
  })

  it('may be a rejection: a question can be taken back', async () => {
    const trail = createTestTrail()
    const back: Verdict = { ...yes, approver_id: 'lea', approval_status: 'rejected' }
    for (const ask of waysToAsk(trail, () => 'paid')) {
      await expect(ask(payment, back)).rejects.toMatchObject({ code: 'APPROVAL_REJECTED' })
    }
  })

  it('is recognised although redaction leaves nothing of the user in the records', async () => {
    const trail = createTestTrail({ redact: { paths: ['user_id'] } })
    const paid = trail
      .startSession(ASKS)
      .guard(payment, () => 'paid', { approval: () => ({ ...yes, approver_id: 'lea' }) })
    await expect(paid).rejects.toMatchObject({ code: 'SELF_APPROVAL' })
    expect(trail.events({ event_type: 'tool_call' })).toMatchObject([{ user_id: '[redacted:path]' }])
  })

  it.each(REQUESTERS)('runs where the trail allows it, and the records say so: %s', async (_, approver_id) => {
    const trail = createTestTrail({ allowSelfApproval: true })
    for (const ask of waysToAsk(trail, () => 'paid')) expect(await ask(call, { ...yes, approver_id })).toBe('paid')
    for (const event_type of ['approval_decision', 'tool_call']) {
      expect(trail.events({ event_type })).toMatchObject(twice({ approval: { self_approval: true } }))
    }
  })

  it('is not marked where another person approves', async () => {
    const trail = createTestTrail({ allowSelfApproval: true })
    for (const ask of waysToAsk(trail, () => 'paid')) await ask(call, yes)
    const marks = trail.events().map(({ approval }) => (approval as { self_approval?: boolean } | null)?.self_approval)
    expect(marks.filter((mark) => mark !== undefined)).toEqual([])
  })
})

const by = (approver_id: string) => ({ ...KIM, approver_id, reason: 'I am sure' })

describe('an override by the one that asks', () => {
  const denied = { check: (): Ruling => ({ outcome: 'denied', reason: 'above the limit' }) }

  it.each(REQUESTERS)('does not count, and is recorded as denied: %s', async (_, approver_id) => {
    const trail = createTestTrail()
    const refused = trail.startSession(ASKS).override(call, by(approver_id))
    await expect(refused).rejects.toMatchObject({ name: 'ActionRefusedError', code: 'SELF_APPROVAL' })
    expect(trail.events({ event_type: 'human_intervention' })).toMatchObject([
      { outcome: 'denied', reason_code: 'self_approval', approver_id, arguments_sha256: sha256(CANONICAL) },
    ])
  })

  it('that another trail has recorded lets no call run', async () => {
    const options: Partial<AuditTrailOptions> = { allowSelfApproval: true }
    const override = carried(await createTestTrail(options).startSession(ASKS).override(payment, by('lea')))
    expect(override.approval).toMatchObject({ self_approval: true })
    const session = createTestTrail().startSession(ASKS)
    const run = vi.fn<() => string>()
    await expect(session.guard(payment, run, { ...denied, override })).rejects.toMatchObject({ code: 'SELF_APPROVAL' })
    expect(run).not.toHaveBeenCalled()
    const allowed = createTestTrail(options)
    expect(await allowed.startSession(ASKS).guard(payment, () => 'paid', { ...denied, override })).toBe('paid')
    expect(allowed.events({ event_type: 'tool_call' })).toMatchObject([{ approval: { self_approval: true } }])
  })
})

it('a request says whose authority the call uses', async () => {
  const session = createTestTrail().startSession(ASKS)
  const requests: ApprovalRequest[] = [await session.requestApproval(call), await session.requestApproval(payment)]
  expect(requests.map(({ on_behalf_of }) => on_behalf_of)).toEqual(['treasury', null])
})

it.each<[string, string, GuardOptions<number>]>([
  ['DENIED', 'policy_denied', { check: () => ({ outcome: 'denied', reason: 'no' }) }],
  ['APPROVAL_REQUIRED', 'approval_required', {}],
  ['APPROVAL_REJECTED', 'approval_rejected', { approval: () => ({ ...yes, approval_status: 'rejected' }) }],
])('a call refused with %s has the reason code %s', async (code, reason_code, options) => {
  const trail = createTestTrail()
  await expect(trail.startSession().guard(payment, () => 1, options)).rejects.toMatchObject({ code })
  expect(trail.events({ event_type: 'tool_call' })).toMatchObject([{ outcome: 'denied', reason_code }])
})
