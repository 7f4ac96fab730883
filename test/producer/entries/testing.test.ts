import { type AuditSession, type AuditTrail, currentSession, type Verdict } from '@agent-audit/producer'
import { createTestTrail } from '@agent-audit/producer/testing'
import * as fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { takeSeed } from '../../support/seed.ts'

const payment = { tool_name: 'pay', tool_input: { eur: 1200 }, requires_approval: true } as const
const kim = { approver_id: 'kim', identity_source: 'https://id.example' }
const yes: Verdict = { ...kim, approval_status: 'approved' }

/** An agent that tries to refund an order `times` times; the policy allows only the first refund. */
function refundAgent(trail: AuditTrail, times: number): Promise<void> {
  return trail.withSession({ user_message: 'refund order 7' }, async (session) => {
    for (let time = 0; time < times; time++) {
      session.llmCall({ input_messages: [], output_text: null })
      await session
        .guard({ tool_name: 'refund', tool_input: { order: 7 } }, () => ({ refunded: 7 }), {
          check: () => (time === 0 ? { outcome: 'allowed' } : { outcome: 'denied', reason: 'refunded already' }),
        })
        .catch((error: { code?: string }) => {
          if (error.code !== 'DENIED') throw error
        })
    }
  })
}

describe('createTestTrail', () => {
  it('shows the actions of an agent, in lines and in events', async () => {
    const trail = createTestTrail({ agentId: 'refunds' })
    await refundAgent(trail, 2)
    expect(trail.outline()).toEqual([
      'session_start',
      'llm_call',
      'tool_call refund allowed',
      'tool_result refund success',
      'llm_call',
      'tool_call refund denied',
      'session_end success',
    ])
    expect(trail.problems()).toEqual([])
    expect(trail.events({ tool_name: 'refund', event_type: 'tool_result' })).toMatchObject([
      { agent_id: 'refunds', tool_output: { refunded: 7 }, run_id: trail.runId },
    ])
    expect(trail.events()[0]).toMatchObject({ event_type: 'trail_started', run_seq: 0 })
  })

  it('checks options and events as the producer does', () => {
    expect(() => createTestTrail({ agentId: '' })).toThrow(expect.objectContaining({ code: 'OPTIONS_INVALID' }))
    const trail = createTestTrail()
    expect(() => trail.startSession().decision({ reasoning: '' })).toThrow(
      expect.objectContaining({ code: 'EVENT_INVALID' }),
    )
    expect(JSON.stringify(trail.events())).not.toContain('decision')
  })

  it('needs no timer', async () => {
    vi.useFakeTimers()
    try {
      const trail = createTestTrail()
      const session = trail.startSession()
      await session.guard({ tool_name: 't', tool_input: {} }, () => 1)
      await session.decision({ reasoning: 'r' }).stored
      expect(await session.end().acked).toEqual({ topic: 'audit.events', partition: 0, offset: 5 })
      expect(await trail.flush()).toEqual({ acked: 6, pending: 0, refused: 0 })
      expect(await trail.close()).toEqual({ acked: 7, pending: 0, refused: 0 })
    } finally {
      vi.useRealTimers()
    }
  })

  it.each(['disk', 'full'] as const)('refuses a guarded call at once when the %s fails', async (how) => {
    const trail = createTestTrail()
    trail.fail(how)
    await expect(refundAgent(trail, 1)).rejects.toMatchObject({ code: 'NOT_RECORDED' })
    expect(trail.outline()).toEqual([])
    expect(trail.problems()).not.toEqual([])
    trail.fail(undefined)
    trail.startSession({ session_id: 'healed' }).end()
    expect(trail.problems()).toEqual([])
    expect(trail.events({ event_type: 'tool_result' })).toMatchObject([{ outcome: 'blocked', tool_name: 'refund' }])
    expect(trail.events({ event_type: 'events_lost' })).toHaveLength(how === 'full' ? 1 : 0)
  })

  it('refuses only calls with durability broker while the broker does not answer', async () => {
    const trail = createTestTrail()
    const session = trail.startSession()
    trail.fail('broker')
    const guard = (durability: 'disk' | 'broker'): Promise<string> =>
      session.guard({ tool_name: 't', tool_input: {} }, () => durability, { durability })
    expect(await guard('disk')).toBe('disk')
    await expect(guard('broker')).rejects.toMatchObject({ code: 'NOT_RECORDED' })
    expect(await trail.flush({ timeoutMs: 1 })).toMatchObject({ acked: 2, pending: 4 })
    trail.fail(undefined)
    expect(await trail.flush()).toMatchObject({ acked: 6, pending: 0 })
  })

  it('takes a clock, by which approvals expire', async () => {
    let now = new Date('2026-01-01T12:00:00Z')
    const trail = createTestTrail({ now: () => now })
    const session = trail.startSession()
    const request = await session.requestApproval(payment, { ttlMs: 60_000 })
    expect(request.expires_at).toBe('2026-01-01T12:01:00.000Z')
    const approval = await trail.decideApproval(request, yes)
    now = new Date('2026-01-01T12:01:00Z')
    const run = vi.fn<() => void>()
    await expect(session.guard(payment, run, { approval })).rejects.toMatchObject({ code: 'APPROVAL_EXPIRED' })
    const late = await trail.decideApproval(request, yes).catch((error: unknown) => error)
    const [, refused] = trail.events({ event_type: 'approval_decision' })
    expect(late).toMatchObject({ code: 'APPROVAL_EXPIRED', event_id: refused?.event_id })
    expect(refused).toMatchObject({ outcome: 'denied', approval_status: 'pending', content: { verdict: 'approved' } })
    const slow = session.guard(payment, run, {
      approval: () => {
        now = new Date('2026-01-02T12:00:00Z')
        return yes
      },
    })
    await expect(slow).rejects.toMatchObject({ code: 'APPROVAL_EXPIRED' })
    expect(run).not.toHaveBeenCalled()
  })
})

describe('problems', () => {
  it.each<[string, (session: AuditSession, trail: AuditTrail) => unknown, RegExp]>([
    ['a session that was not ended', () => {}, /session s1 was not ended/],
    [
      'a call without a result',
      (session) => session.toolCall({ tool_name: 't', tool_input: {} }),
      /tool_call t .* has no result/,
    ],
    [
      'a call that ran without an approval',
      (session) => session.toolCall({ tool_name: 't', tool_input: {}, requires_approval: true }),
      /tool_call t .* ran without an approval/,
    ],
    [
      'a call that ran on a decision that is not on record',
      async (session) => {
        const elsewhere = createTestTrail()
        const other = elsewhere.startSession({ session_id: 's1' })
        const approval = await elsewhere.decideApproval(await other.requestApproval(payment), yes)
        await session.guard(payment, () => 1, { approval })
      },
      /not on record/,
    ],
    [
      'a call that ran on an override that is not on record',
      async (session) => {
        const other = createTestTrail().startSession({ session_id: 's1' })
        const override = await other.override(payment, { ...kim, reason: 'urgent' })
        await session.guard(payment, () => 1, { override })
      },
      /override that is not on record/,
    ],
  ])('names %s', async (_, work, problem) => {
    const trail = createTestTrail()
    await work(trail.startSession({ session_id: 's1' }), trail)
    expect(trail.problems()).toContainEqual(expect.stringMatching(problem))
  })

  it('finds no problem in an approval or an override that was used as given', async () => {
    const trail = createTestTrail()
    await trail.withSession({}, async (session) => {
      await session.guard(payment, () => 1, { approval: () => yes })
      const approval = await trail.decideApproval(await session.requestApproval(payment), yes)
      await session.guard(payment, () => 2, { approval })
      const override = await session.override(payment, { ...kim, reason: 'urgent' })
      await session.guard(payment, () => 3, { override })
    })
    expect(trail.problems()).toEqual([])
  })
})

it('the parent of an intervention is the call that is still open, also if another call with the same id has ended', async () => {
  const trail = createTestTrail()
  const session = trail.startSession()
  const gate = Promise.withResolvers<void>()
  const call = { tool_name: 't', tool_input: {}, tool_call_id: 'same' }
  const first = session.guard(call, () => gate.promise)
  const second = session.guard(call, () => 2)
  await second
  session.humanIntervention({ approver_id: 'kim', reason: 'too slow', tool_call_id: 'same' })
  gate.resolve()
  await first
  const [slow] = trail.events({ event_type: 'tool_call' })
  expect(trail.events({ event_type: 'human_intervention' })).toMatchObject([{ parent_event_id: slow?.event_id }])
})

/** The course of one of many guarded calls that overlap. */
const plan = fc.record({
  waits: fc.nat(5),
  fate: fc.constantFrom('returns', 'throws', 'is denied', 'is not stored'),
  nested: fc.boolean(),
})

it('of overlapping guarded calls each that ran has its own result and its own children, and no other call ran', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(plan, { maxLength: 8 }), async (plans) => {
      const trail = createTestTrail()
      const session = trail.startSession({ session_id: 's1' })
      const ran = new Set<number>()
      const calls = plans.map(async ({ waits, fate, nested }, index) => {
        for (let turn = 0; turn < waits; turn++) await Promise.resolve()
        if (fate === 'is not stored') trail.fail('full')
        const done = session.guard(
          { tool_name: 'outer', tool_input: index, tool_call_id: `same ${index % 2}` },
          async (input) => {
            ran.add(input)
            for (let turn = 0; turn < waits; turn++) await Promise.resolve()
            currentSession()?.decision({ reasoning: `in ${input}` })
            if (nested) await session.guard({ tool_name: 'inner', tool_input: input }, () => input).catch(() => {})
            if (fate === 'throws') throw new Error(`from ${input}`)
            return input
          },
          fate === 'is denied' ? { check: () => ({ outcome: 'denied', reason: 'no' }) } : {},
        )
        trail.fail(undefined)
        return done
      })
      const outcomes = await Promise.allSettled(calls)
      session.end()
      expect(trail.problems()).toEqual([])
      const events = trail.events({ session_id: 's1' })
      const byId = new Map(events.map((event) => [event.event_id, event]))
      for (const [index, { fate }] of plans.entries()) {
        expect(outcomes[index]?.status).toBe(fate === 'returns' ? 'fulfilled' : 'rejected')
        const runs = fate === 'returns' || fate === 'throws'
        expect(ran.has(index)).toBe(runs)
        const call = events.find((event) => event.event_type === 'tool_call' && event.tool_input === index)
        expect(call?.outcome).toBe(runs ? 'allowed' : fate === 'is denied' ? 'denied' : undefined)
        const inside = events.filter((event) => event.reasoning === `in ${index}`)
        expect(inside.map((event) => event.parent_event_id)).toEqual(runs ? [call?.event_id] : [])
        const results = events.filter(
          (event) => runs && event.parent_event_id === call?.event_id && event.event_type === 'tool_result',
        )
        expect(results.map((event) => event.tool_output ?? event.error)).toEqual(
          runs ? [fate === 'throws' ? `from ${index}` : index] : [],
        )
      }
      for (const { event_type: type, parent_event_id: id, tool_call_id } of events) {
        if (type === 'tool_result' && byId.has(id ?? '')) expect(byId.get(id ?? '')?.tool_call_id).toBe(tool_call_id)
      }
      expect(events.map((event) => event.session_seq)).toEqual(
        events.map((event) => event.session_seq).toSorted((one, other) => one - other),
      )
    }),
    { seed: takeSeed('overlapping guards'), numRuns: 200 },
  )
})
