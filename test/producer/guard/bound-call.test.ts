/** Whatever a policy or an approver does with the call that it is shown: what runs is what is on record. */
import type { ToolCall, Verdict } from '@agent-audit/producer'
import { createTestTrail } from '@agent-audit/producer/testing'
import { describe, expect, it } from 'vitest'
import { KIM, yes } from './approval-support.ts'

const when = new Date('2026-01-01T00:00:00Z')

interface Payment extends ToolCall<{ amount: number; lines: { eur: number }[] }> {
  content: { note: { text: string } }
  policy: { id: string }
  timestamp: Date
}

/** A call with every field that holds an object. */
function makeCall(): Payment {
  return {
    tool_name: 'pay',
    tool_input: { amount: 10, lines: [{ eur: 10 }] },
    content: { note: { text: 'asked for' } },
    policy: { id: 'limits' },
    timestamp: new Date(when),
  }
}

const attacks: [string, (call: Payment) => void][] = [
  ['its arguments', (call) => void (call.tool_input = { amount: 666, lines: [] })],
  ['an argument', (call) => void (call.tool_input.amount = 666)],
  ['an argument deep inside', (call) => void call.tool_input.lines.push({ eur: 656 })],
  ['the name of its tool', (call) => void (call.tool_name = 'look')],
  ['its parent', (call) => void (call.parent_event_id = 'ffffffff-ffff-7fff-bfff-ffffffffffff')],
  ['its reason', (call) => void (call.reason = 'all is well')],
  ['its policy', (call) => void (call.policy.id = 'none')],
  ['its other data', (call) => void (call.content.note.text = 'harmless')],
]

describe('a policy that changes the call that it judges', () => {
  it.each(attacks)('fails, when it changes %s: the tool does not run, and the record says why', async (_, change) => {
    const trail = createTestTrail()
    const ran: unknown[] = []
    const guarded = trail.startSession().guard(makeCall(), (input) => ran.push(input), {
      check: (call) => {
        change(call as Payment)
        return { outcome: 'allowed' }
      },
    })
    await expect(guarded).rejects.toThrow(TypeError)
    expect(ran).toEqual([])
    expect(trail.events({ event_type: 'tool_call' })).toEqual([
      expect.objectContaining({
        outcome: 'error',
        reason: 'check failed: TypeError',
        tool_name: 'pay',
        tool_input: makeCall().tool_input,
        content: makeCall().content,
      }),
    ])
  })

  it('later, while the record is being stored, changes nothing that runs', async () => {
    const trail = createTestTrail()
    const kept: Payment[] = []
    const running = trail.startSession().guard(makeCall(), (input) => input, {
      check: (call) => {
        kept.push(call as Payment)
        return { outcome: 'allowed' }
      },
    })
    while (trail.events({ event_type: 'tool_call' }).length === 0) await Promise.resolve()
    for (const call of kept) {
      expect(Reflect.set(call, 'tool_input', { amount: 666 })).toBe(false)
      expect(Reflect.set(call.tool_input, 'amount', 666)).toBe(false)
    }
    expect(await running).toEqual(makeCall().tool_input)
    expect(await running).not.toBe(kept[0]?.tool_input)
  })

  it('sets the time of its date: the record keeps the time of the call', async () => {
    const trail = createTestTrail()
    await trail.startSession().guard(makeCall(), () => 'paid', {
      check: (call) => {
        call.timestamp?.setTime(0)
        return { outcome: 'allowed' }
      },
    })
    expect(trail.events({ event_type: 'tool_call' })[0]?.timestamp).toBe(when.getTime() * 1000)
  })

  it('for an approved call, does not run with other arguments or another tool under the approval', async () => {
    for (const [, change] of attacks.slice(0, 4)) {
      const trail = createTestTrail()
      const session = trail.startSession()
      const approval = await trail.decideApproval(await session.requestApproval(makeCall()), yes)
      const check = (call: ToolCall): { outcome: 'allowed' } => {
        try {
          change(call as Payment)
        } catch {
          // The policy goes on.
        }
        return { outcome: 'allowed' }
      }
      expect(await session.guard(makeCall(), (input) => input, { approval, check })).toEqual(makeCall().tool_input)
      expect(trail.events({ event_type: 'tool_call' })[0]).toMatchObject({
        tool_name: 'pay',
        tool_input: makeCall().tool_input,
        approval_id: approval.approval_id,
      })
    }
  })
})

it('a caller who changes the call while its policy is asked changes nothing that is recorded', async () => {
  const trail = createTestTrail()
  const call = makeCall()
  const value = await trail.startSession().guard(call, (input) => input, {
    check: async () => {
      call.tool_name = 'look'
      call.tool_input.amount = 666
      call.content.note.text = 'harmless'
      call.policy.id = 'none'
      call.timestamp.setTime(0)
      return { outcome: 'allowed' }
    },
  })
  expect(value).toEqual(makeCall().tool_input)
  expect(trail.events({ event_type: 'tool_call' })[0]).toMatchObject({
    tool_name: 'pay',
    tool_input: makeCall().tool_input,
    content: makeCall().content,
    policy: makeCall().policy,
    timestamp: when.getTime() * 1000,
  })
})

describe('an approver that changes the request that it decides', () => {
  it.each([
    ['who it is for', { on_behalf_of: null }],
    ['how long it holds', { expires_at: '2999-01-01T00:00:00.000Z' }],
    ['its tool', { tool_name: 'look' }],
    ['its id', { approval_id: 'ffffffff-ffff-7fff-bfff-ffffffffffff' }],
    ['its arguments and their digest', { tool_input: {}, arguments_sha256: '0'.repeat(64) }],
  ])('fails, when it changes %s: the tool does not run, and the record says why', async (_, changed) => {
    const trail = createTestTrail()
    const call = { ...makeCall(), on_behalf_of: KIM.approver_id, requires_approval: true }
    const approval = (request: object): Verdict => {
      Object.assign(request, changed)
      return yes
    }
    const guarded = trail.startSession().guard(call, () => 'paid', { approval })
    await expect(guarded).rejects.toThrow(TypeError)
    expect(trail.events({ event_type: 'tool_call' })[0]).toMatchObject({ outcome: 'error', tool_name: 'pay' })
    expect(trail.events({ event_type: 'tool_result' })).toEqual([])
  })
})

it('other data of a call that JSON cannot hold is refused before any policy is asked', async () => {
  const trail = createTestTrail()
  let asked = 0
  const guarded = trail.startSession().guard({ ...makeCall(), content: { eur: Number.NaN } }, () => 'paid', {
    check: () => {
      asked++
      return { outcome: 'allowed' }
    },
  })
  await expect(guarded).rejects.toMatchObject({
    code: 'EVENT_INVALID',
    message: expect.stringContaining('content.eur'),
  })
  expect(asked).toBe(0)
})
