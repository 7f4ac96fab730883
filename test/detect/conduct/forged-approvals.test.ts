/** approval.forged: with a trust file a reader judges again what a guard with one would have refused. */
import { forgedApprovals, type Session, type SessionEvent } from '@agent-audit/detect'
import type { Verdict } from '@agent-audit/producer'
import { describe, expect, it } from 'vitest'
import { keys, TRUST, trusted } from '../../producer/guard/signing-support.ts'
import { recorded, sessionOf } from './support.ts'

const payment = { tool_name: 'pay', tool_input: { to: 'DE02', eur: 1200 }, requires_approval: true } as const
const yes: Verdict = { approver_id: 'kim', identity_source: 'https://id.example', approval_status: 'approved' }
const pay = (): string => 'paid'
const SIGNED = { approvalSigning: { key: keys.kim.pem } }

const approved = (options: object = SIGNED, call: object = {}): Promise<Session> =>
  recorded(async (trail, session) => {
    const approval = await trail.decideApproval(await session.requestApproval({ ...payment, ...call }), yes)
    await session.guard({ ...payment, ...call }, pay, { approval })
  }, options)

const altered = (session: Session, type: string, change: Partial<SessionEvent>): Session =>
  sessionOf(session.events.map((each) => (each.event_type === type ? { ...each, ...change } : each)))

function found(session: Session, trust = TRUST): string[] {
  return forgedApprovals(trust)
    .find(session, {})
    .map(({ summary }) => summary)
}

describe('approval.forged', () => {
  it('finds nothing in signed decisions, overrides, modified arguments, and calls in the name of a principal', async () => {
    expect(found(await approved())).toEqual([])
    expect(found(await approved(SIGNED, { on_behalf_of: 'anna' }))).toEqual([])
    const others = await recorded(async (trail, session) => {
      const request = await session.requestApproval(payment)
      const approval = await trail.decideApproval(request, { ...yes, modified_input: { to: 'DE02', eur: 900 } })
      await session.guard(payment, pay, { approval })
      const { approval_status: _, ...kim } = yes
      const override = await session.override(payment, { ...kim, reason: 'known payee' })
      await session.guard(payment, pay, { override })
    }, SIGNED)
    expect(others.events.filter(({ event_type: type }) => type === 'tool_result')).toHaveLength(2)
    expect(found(others)).toEqual([])
  })

  it('finds a call under a decision that nobody has signed', async () => {
    expect(found(await approved({}))).toEqual(['pay ran under an approval that nobody has signed'])
  })

  it.each<[string, Partial<SessionEvent>]>([
    ['tool_name', { tool_name: 'wire' }],
    ['arguments_sha256', { arguments_sha256: 'ab'.repeat(32) }],
    ['on_behalf_of', { on_behalf_of: 'anna' }],
    ['approver_id', { approver_id: 'lee' }],
  ])('finds a call that is not what was signed: %s', async (field, change) => {
    const [summary, ...more] = found(altered(await approved(), 'tool_call', change))
    expect(more).toEqual([])
    expect(summary).toMatch(new RegExp(`^forged approval of (pay|wire): .*${field}`))
  })

  it('finds a call under the signature of a rejection', async () => {
    const rejected = await recorded(async (trail, session) => {
      const no = { ...yes, approval_status: 'rejected' } as const
      const approval = await trail.decideApproval(await session.requestApproval(payment), no)
      await session.guard(payment, pay, { approval }).catch(() => undefined)
    }, SIGNED)
    expect(found(altered(rejected, 'tool_call', { outcome: 'allowed' }))).toEqual([
      expect.stringMatching(/^forged approval of pay: .*decision differ$/),
    ])
  })

  it('finds the signature of a key that does not count, also where nothing ran', async () => {
    const session = await recorded(async (trail, own) => {
      await trail.decideApproval(await own.requestApproval(payment), yes)
    }, SIGNED)
    expect(found(session)).toEqual([])
    const revoked = { ...TRUST, keys: [trusted(keys.kim, { revoked: Date.now() - 1000 })] }
    expect(found(session, revoked)).toEqual([expect.stringMatching(/^forged approval of pay: .*is revoked/)])
    expect(found(session, { ...TRUST, keys: [trusted(keys.lee)] })).toEqual([expect.stringMatching(/has no key "kim"/)])
  })

  it('does not judge a signature that cannot be read, nor digests that are keyed', async () => {
    const session = await approved()
    const hide = (signature: string): Session =>
      sessionOf(session.events.map((each) => (each.approval === null ? each : { ...each, approval: { signature } })))
    for (const mark of ['[redacted:signature]', '[encrypted]', '[erased]']) expect(found(hide(mark))).toEqual([])
    const keyed = { arguments_sha256: 'ab'.repeat(32), keyed_digests: true }
    expect(found(altered(altered(session, 'tool_call', keyed), 'approval_decision', keyed))).toEqual([])
  })
})
