/** A trail that is closed while guards are under way. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createTestTrail } from '@agent-audit/producer/testing'
import { describe, expect, it, vi } from 'vitest'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { openTrail, sessionRows } from '../support.ts'

const call = { tool_name: 'pay', tool_input: { eur: 12 } }
const CLOSED = { code: 'TRAIL_CLOSED' }
/** `onProblem` is asserted on where a result must not be lost. */
function makeTrail(): { trail: ReturnType<typeof createTestTrail>; onProblem: ReturnType<typeof vi.fn<() => void>> } {
  const onProblem = vi.fn<() => void>()
  return { trail: createTestTrail({ onProblem }), onProblem }
}

describe('closing a trail', () => {
  it('waits for tools that run, records their results and what they record, and takes nothing new', async () => {
    const { trail, onProblem } = makeTrail()
    const session = trail.startSession()
    const running = session.guard(call, async () => {
      await sleep(50)
      session.decision({ reasoning: 'half way' })
      const child = session.startChild({ agent_id: 'helper' })
      return child.guard({ ...call, tool_name: 'look' }, () => 'seen')
    })
    await sleep(10)
    const closing = trail.close()
    await expect(session.guard(call, () => 'paid')).rejects.toMatchObject(CLOSED)
    expect(() => session.decision({ reasoning: 'new' })).toThrow(expect.objectContaining(CLOSED))
    expect(() => trail.startSession()).toThrow(expect.objectContaining(CLOSED))
    expect(await running).toBe('seen')
    expect(await closing).toMatchObject({ pending: 0 })
    expect(trail.events().map(({ event_type }) => event_type)).toEqual([
      'trail_started',
      'session_start',
      'tool_call',
      'decision',
      'session_start',
      'tool_call',
      'tool_result',
      'tool_result',
      'trail_stopped',
    ])
    expect(onProblem).not.toHaveBeenCalled()
    expect(() => session.decision({ reasoning: 'late' })).toThrow(expect.objectContaining(CLOSED))
  })

  it('waits for a guard whose call is being stored', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir, guardTimeoutMs: 60_000 })
    const running = trail.startSession().guard(call, () => 'paid')
    await trail.close({ timeoutMs: 60_000 })
    expect(await running).toBe('paid')
    const results = sessionRows(dataDir).filter(({ event_type }) => event_type === 'tool_result')
    expect(results).toMatchObject([{ outcome: 'success' }])
  })

  it('does not run a tool whose guard is not ready when the time is up', async () => {
    const { trail } = makeTrail()
    const run = vi.fn<() => void>()
    const policy = Promise.withResolvers<{ outcome: 'allowed' }>()
    const running = trail.startSession().guard(call, run, { check: () => policy.promise })
    await trail.close({ timeoutMs: 20 })
    policy.resolve({ outcome: 'allowed' })
    await expect(running).rejects.toMatchObject(CLOSED)
    expect(run).not.toHaveBeenCalled()
  })

  it('without time does not wait', async () => {
    const { trail } = makeTrail()
    const tool = Promise.withResolvers<string>()
    const running = trail.startSession().guard(call, () => tool.promise)
    await sleep(5)
    await trail.close({ timeoutMs: 0 })
    tool.resolve('paid')
    expect(await running).toBe('paid')
    expect(trail.events().at(-1)?.event_type).toBe('trail_stopped')
  })
})
