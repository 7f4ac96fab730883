/** An approval, or an override, is used for one run before its expiry, and is given back when nothing ran. */
import { setTimeout as sleep } from 'node:timers/promises'
import { runInNewContext } from 'node:vm'
import type { ApprovalDecision, AuditSession, AuditTrail } from '@agent-audit/producer'
import { createTestTrail } from '@agent-audit/producer/testing'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { KIM, payment, yes } from './approval-support.ts'

afterEach(() => void vi.useRealTimers())

const TTL_MS = 1000
const START_MS = Date.parse('2026-01-01T12:00:00Z')

async function approvalOf(trail: AuditTrail, session: AuditSession, ttlMs = TTL_MS): Promise<ApprovalDecision> {
  return trail.decideApproval(await session.requestApproval(payment, { ttlMs }), yes)
}

describe('a tool does not run after the expiry of its approval', () => {
  it('when the approval expires while it is claimed; an override given beside it is used then', async () => {
    let nowMs = START_MS
    const claimApproval = async (): Promise<boolean> => {
      nowMs += TTL_MS
      return true
    }
    const trail = createTestTrail({ now: () => new Date(nowMs), claimApproval })
    const session = trail.startSession()
    const run = vi.fn<() => string>().mockReturnValue('paid')
    const late = session.guard(payment, run, { approval: await approvalOf(trail, session) })
    await expect(late).rejects.toMatchObject({ code: 'APPROVAL_EXPIRED' })
    expect(run).not.toHaveBeenCalled()
    expect(trail.events({ event_type: 'tool_call' })).toMatchObject([
      { outcome: 'denied', reason_code: 'approval_expired' },
    ])
    const options = {
      approval: await approvalOf(trail, session),
      override: await session.override(payment, { ...KIM, reason: 'urgent' }),
    }
    expect(await session.guard(payment, run, options)).toBe('paid')
  })

  it('when an override expires while it is claimed', async () => {
    let nowMs = START_MS
    const claimApproval = async (): Promise<boolean> => {
      nowMs += TTL_MS
      return true
    }
    const session = createTestTrail({ now: () => new Date(nowMs), claimApproval }).startSession()
    const override = await session.override(payment, { ...KIM, reason: 'urgent', ttlMs: TTL_MS })
    await expect(session.guard(payment, () => 'paid', { override })).rejects.toMatchObject({ code: 'APPROVAL_EXPIRED' })
  })

  it.each(['carried', 'in this process'])('when an approval %s expires while the call is stored', async (how) => {
    let lateMs = 0
    const trail = createTestTrail({ now: () => new Date(START_MS + lateMs) })
    const session = trail.startSession()
    const approval = how === 'carried' ? await approvalOf(trail, session) : (): typeof yes => yes
    const run = vi.fn<() => string>()
    const late = session.guard(payment, run, { approval })
    while (trail.events({ event_type: 'tool_call' }).length === 0) await Promise.resolve()
    lateMs = 2 * 3_600_000
    const [call] = trail.events({ event_type: 'tool_call' })
    await expect(late).rejects.toMatchObject({ code: 'APPROVAL_EXPIRED', event_id: call?.event_id })
    expect(run).not.toHaveBeenCalled()
    expect(trail.events({ event_type: 'tool_result' })).toMatchObject([
      { outcome: 'blocked', reason_code: 'approval_expired', parent_event_id: call?.event_id },
    ])
    session.end()
    expect(trail.problems()).toEqual([])
  })

  it('when the clock goes back after the expiry', async () => {
    let nowMs = START_MS
    const trail = createTestTrail({ now: () => new Date(nowMs) })
    const session = trail.startSession()
    const [approval, other] = [await approvalOf(trail, session), await approvalOf(trail, session)]
    nowMs += TTL_MS
    await expect(session.guard(payment, () => 'paid', { approval })).rejects.toMatchObject({ code: 'APPROVAL_EXPIRED' })
    nowMs = START_MS
    for (const each of [approval, other]) {
      const revived = session.guard(payment, () => 'paid', { approval: each })
      await expect(revived).rejects.toMatchObject({ code: 'APPROVAL_EXPIRED' })
    }
  })

  it('when the clock goes back before the expiry is seen: the time that has passed counts', async () => {
    vi.useFakeTimers({ toFake: ['Date'] })
    const trail = createTestTrail()
    const session = trail.startSession()
    const approval = await approvalOf(trail, session, 50)
    vi.setSystemTime(Date.now() - 3_600_000)
    await sleep(100)
    await expect(session.guard(payment, () => 'paid', { approval })).rejects.toMatchObject({ code: 'APPROVAL_EXPIRED' })
  })
})

describe('an approval is given back', () => {
  it('when its call is too large to be recorded', async () => {
    const trail = createTestTrail({ maxRecordBytes: 4096, onOversize: 'refuse' })
    const session = trail.startSession()
    const approval = await approvalOf(trail, session, 60_000)
    const large = { ...payment, content: { note: 'x'.repeat(5000) } }
    await expect(session.guard(large, () => 'paid', { approval })).rejects.toMatchObject({ code: 'RECORD_TOO_LARGE' })
    expect(await session.guard(payment, () => 'paid', { approval })).toBe('paid')
    await expect(session.guard(payment, () => 'paid', { approval })).rejects.toMatchObject({ code: 'APPROVAL_USED' })
  })

  it('when its session ends meanwhile', async () => {
    const trail = createTestTrail()
    const session = trail.startSession({ session_id: 's1' })
    const approval = await approvalOf(trail, session, 60_000)
    const check = (): { outcome: 'allowed' } => {
      session.end()
      return { outcome: 'allowed' }
    }
    const ended = session.guard(payment, () => 'paid', { approval, check })
    await expect(ended).rejects.toMatchObject({ code: 'SESSION_ENDED' })
    expect(await trail.resumeSession(session.ref).guard(payment, () => 'paid', { approval })).toBe('paid')
  })

  it('with the override used beside it, when the call is not stored', async () => {
    const trail = createTestTrail()
    const session = trail.startSession()
    const override = await session.override(payment, { ...KIM, reason: 'urgent' })
    trail.fail('broker')
    const lost = session.guard(payment, () => 'paid', { override, durability: 'broker' })
    await expect(lost).rejects.toMatchObject({ code: 'NOT_RECORDED' })
    trail.fail(undefined)
    expect(await session.guard(payment, () => 'paid', { override })).toBe('paid')
  })
})

/** Runs an approved call of a trail whose `claimApproval` gives this answer. */
async function claim(answer: unknown): Promise<unknown> {
  const trail = createTestTrail({ claimApproval: () => answer as boolean })
  const session = trail.startSession()
  const approval = await approvalOf(trail, session, 60_000)
  return session.guard(payment, () => 'paid', { approval })
}

describe('claimApproval', () => {
  it('may answer with a promise of another realm, or with any object that has a then', async () => {
    expect(await claim(runInNewContext('Promise.resolve(true)'))).toBe('paid')
    await expect(claim(runInNewContext('Promise.resolve(false)'))).rejects.toMatchObject({ code: 'APPROVAL_USED' })
    // oxlint-disable-next-line unicorn/no-thenable -- some drivers return one
    expect(await claim({ then: (done: (free: boolean) => void) => done(true) })).toBe('paid')
  })

  it.each([
    [1, 'number'],
    ['yes', 'string'],
    [undefined, 'undefined'],
    [null, 'null'],
    [Promise.resolve(1), 'number'],
  ])('that answers %s is an error that says so, and not a use', async (answer, kind) => {
    await expect(claim(answer)).rejects.toMatchObject({
      code: 'NOT_RECORDED',
      message: `pay was not run: it is not known whether its approval is used up: claimApproval: expected true or false as its answer, not ${kind}`,
      cause: { code: 'OPTIONS_INVALID' },
    })
  })

  it('is asked by a test trail too, with each id once', async () => {
    const claimApproval = vi.fn<(id: string) => boolean>().mockReturnValue(true)
    const trail = createTestTrail({ claimApproval })
    const session = trail.startSession()
    const approval = await approvalOf(trail, session, 60_000)
    await session.guard(payment, () => 'paid', { approval })
    await expect(session.guard(payment, () => 'paid', { approval })).rejects.toMatchObject({ code: 'APPROVAL_USED' })
    expect(claimApproval.mock.calls).toEqual([[approval.approval_id]])
  })
})
