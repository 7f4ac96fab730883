/** An approver may change the arguments: then the call runs with these, and only with these. */
import type { ApprovalDecision, Verdict } from '@agent-audit/producer'
import { createTestTrail } from '@agent-audit/producer/testing'
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { carried, KIM, payment, recordOf, yes } from './approval-support.ts'
import { takeSeed } from '../../support/seed.ts'
import { sha256 } from '../support.ts'

const LESS = { to: 'DE02', eur: 900, note: 'first part' }
const less: Verdict = { ...yes, modified_input: LESS }
const ASKED = sha256('{"eur":1200,"to":"DE02"}')
const APPROVED = sha256('{"eur":900,"note":"first part","to":"DE02"}')

describe('an approval with modified arguments', () => {
  it.each(['in this process', 'carried'] as const)('runs the call with them, and records them: %s', async (how) => {
    const seen: unknown[] = []
    const pay = (input: unknown): void => void seen.push(input, Object.isFrozen(input))
    const { rows } = await recordOf(async (session, trail) => {
      if (how === 'carried') {
        const approval = carried(await trail.decideApproval(carried(await session.requestApproval(payment)), less))
        await session.guard(payment, pay, { approval })
      } else await session.guard(payment, pay, { approval: () => less })
    })
    expect(seen).toEqual([LESS, true])
    const approval = { shown_sha256: ASKED, modified: ['tool_input.eur', 'tool_input.note'] }
    expect(rows).toMatchObject([
      { event_type: 'approval_request', arguments_sha256: ASKED, tool_input: payment.tool_input },
      { event_type: 'approval_decision', arguments_sha256: APPROVED, tool_input: LESS, approval },
      { event_type: 'tool_call', outcome: 'allowed', arguments_sha256: APPROVED, tool_input: LESS, approval },
      { event_type: 'tool_result', outcome: 'success' },
    ])
  })

  it('also runs a call that is made with them, once', async () => {
    const { rows, run } = await recordOf(async (session, trail, pay) => {
      const approval = await trail.decideApproval(await session.requestApproval(payment), less)
      await session.guard({ ...payment, tool_input: LESS }, pay, { approval })
      for (const tool_input of [LESS, payment.tool_input]) {
        const again = session.guard({ ...payment, tool_input }, pay, { approval })
        await expect(again).rejects.toMatchObject({ code: 'APPROVAL_USED' })
      }
    })
    expect(run).toHaveBeenCalledTimes(1)
    const calls = rows.filter(({ event_type }) => event_type === 'tool_call')
    expect(calls.map((row) => row['arguments_sha256'])).toEqual([APPROVED, APPROVED, APPROVED])
  })

  it.each<[string, (decision: ApprovalDecision) => unknown]>([
    ['without them', (decision) => ({ ...decision, modified: undefined })],
    ['with others in their place', (decision) => ({ ...decision, modified: { ...decision.modified, tool_input: {} } })],
    ['with the digest of the ones asked for', (decision) => ({ ...decision, arguments_sha256: ASKED })],
  ])('that comes %s runs nothing', async (_, alter) => {
    const { rows, run } = await recordOf(async (session, trail, pay) => {
      const decision = await trail.decideApproval(await session.requestApproval(payment), less)
      const approval = alter(decision) as ApprovalDecision
      await expect(session.guard(payment, pay, { approval })).rejects.toMatchObject({ code: 'APPROVAL_ALTERED' })
    })
    expect(run).not.toHaveBeenCalled()
    expect(rows.at(-1)).toMatchObject({ event_type: 'tool_call', outcome: 'denied', reason_code: 'approval_invalid' })
  })

  it('runs no call with other arguments', async () => {
    const { run } = await recordOf(async (session, trail, pay) => {
      const approval = await trail.decideApproval(await session.requestApproval(payment), less)
      const other = { ...payment, tool_input: { to: 'DE02', eur: 1000 } }
      await expect(session.guard(other, pay, { approval })).rejects.toMatchObject({ code: 'APPROVAL_ALTERED' })
    })
    expect(run).not.toHaveBeenCalled()
  })

  it.each(['in this process', 'carried'] as const)('is judged by the policy once more: %s', async (how) => {
    const trail = createTestTrail()
    const session = trail.startSession()
    const run = vi.fn<() => void>()
    const judged: unknown[] = []
    const more: Verdict = { ...yes, modified_input: { to: 'DE02', eur: 9999 } }
    const decision = await trail.decideApproval(await session.requestApproval(payment), more)
    const paid = session.guard(payment, run, {
      approval: how === 'carried' ? decision : () => more,
      check: ({ tool_input }) => {
        judged.push(tool_input)
        const { eur } = tool_input as { eur: number }
        return eur > 5000 ? { outcome: 'denied', reason: 'above the limit' } : { outcome: 'allowed' }
      },
    })
    await expect(paid).rejects.toMatchObject({ code: 'DENIED' })
    expect(judged).toEqual([payment.tool_input, more.modified_input])
    expect(run).not.toHaveBeenCalled()
    expect(trail.events({ event_type: 'tool_call' })).toMatchObject([
      { outcome: 'denied', tool_input: more.modified_input, reason: 'above the limit' },
    ])
  })

  it.each(['in this process', 'carried'] as const)('expires while the policy judges them: %s', async (how) => {
    let now = Date.now()
    const trail = createTestTrail({ now: () => new Date(now) })
    const session = trail.startSession()
    const run = vi.fn<() => void>()
    const decision = await trail.decideApproval(await session.requestApproval(payment), less)
    const check = ({ tool_input }: { tool_input: unknown }) => {
      if ((tool_input as { eur: number }).eur === 900) now += 3_600_001
      return { outcome: 'allowed' } as const
    }
    const paid = session.guard(payment, run, { check, approval: how === 'carried' ? decision : () => less })
    await expect(paid).rejects.toMatchObject({ code: 'APPROVAL_EXPIRED' })
    expect(run).not.toHaveBeenCalled()
  })

  it('is not beaten by an override of the arguments that were asked for', async () => {
    const { run } = await recordOf(async (session, _, pay) => {
      const override = await session.override(payment, { ...KIM, reason: 'urgent' })
      const paid = session.guard(payment, pay, { override, approval: () => less })
      await expect(paid).rejects.toMatchObject({ code: 'APPROVAL_ALTERED' })
    })
    expect(run).not.toHaveBeenCalled()
  })

  it('that are the same counts as unmodified', async () => {
    const { rows, run } = await recordOf(async (session, _, pay) => {
      const same: Verdict = { ...yes, modified_input: { eur: 1200, to: 'DE02' } }
      await session.guard(payment, pay, { approval: () => same })
    })
    expect(run).toHaveBeenCalledTimes(1)
    expect(rows[2]?.['approval']).not.toHaveProperty('modified')
  })

  it('redacts and names them as every argument, and a rejection has none', async () => {
    const trail = createTestTrail()
    const session = trail.startSession()
    const secret: Verdict = { ...yes, modified_input: { ...payment.tool_input, password: 'hunter22' } }
    await session.guard(payment, () => 1, { approval: () => secret })
    expect(JSON.stringify(trail.events())).not.toContain('hunter22')
    const rejected: Verdict = { ...less, approval_status: 'rejected' }
    const request = await session.requestApproval(payment)
    await expect(trail.decideApproval(request, rejected)).rejects.toMatchObject({
      code: 'EVENT_INVALID',
      issues: [{ path: 'modified_input' }],
    })
  })
})

/** A small object, so that two of them often share fields. */
const input = fc.dictionary(fc.constantFrom('a', 'b', '__proto__', '10'), fc.jsonValue({ maxDepth: 1 }), { maxKeys: 3 })
const attempt = fc.record({
  asked: input,
  approved: fc.option(input),
  called: fc.oneof(fc.constantFrom('asked', 'approved'), input),
  carried: fc.boolean(),
})

it('whatever is asked, approved and called: what runs is what was approved and what is recorded', async () => {
  await fc.assert(
    fc.asyncProperty(attempt, async ({ asked, approved, called, carried: isCarried }) => {
      const trail = createTestTrail()
      const session = trail.startSession()
      const verdict: Verdict = approved === null ? yes : { ...yes, modified_input: approved }
      const tool_input = called === 'asked' ? asked : called === 'approved' ? (approved ?? asked) : called
      const ran: unknown[] = []
      const request = await session.requestApproval({ ...payment, tool_input: asked })
      const decision = carried(await trail.decideApproval(carried(request), verdict))
      const approval = isCarried ? decision : () => verdict
      const done = session.guard({ ...payment, tool_input }, (given) => void ran.push(given), { approval })
      await done.catch((error: { code: string }) => expect(error.code).toBe('APPROVAL_ALTERED'))
      const allowed = isCarried ? (approved ?? asked) : (approved ?? tool_input)
      expect(ran.map(canonical)).toEqual(ran.map(() => canonical(allowed)))
      if (!isCarried || canonical(tool_input) === canonical(asked) || canonical(tool_input) === canonical(allowed))
        expect(ran).toHaveLength(1)
      else expect(ran).toEqual([])
      const call = trail.events({ event_type: 'tool_call' }).find(({ outcome }) => outcome === 'allowed')
      expect(call === undefined ? [] : [call.arguments_sha256]).toEqual(ran.map((given) => sha256(canonical(given))))
      expect(trail.problems().filter((problem) => !problem.includes('not ended'))).toEqual([])
    }),
    { seed: takeSeed('modified arguments'), numRuns: 300 },
  )
})

/** Canonical JSON (RFC 8785) of a JSON value. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).toSorted(([one], [other]) => (one < other ? -1 : 1))
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`).join(',')}}`
}
