/* oxlint-disable typescript/unbound-method -- methods that were taken off their object are the subject */
import { createTestTrail } from '@agent-audit/producer/testing'
import { describe, expect, it, vi } from 'vitest'

function saying(method: string): unknown {
  const message = expect.stringContaining(`expected to be called as ${method}(…)`) as string
  return expect.objectContaining({ code: 'EVENT_INVALID', message })
}

describe('a method that was taken off its object says so', () => {
  const trail = createTestTrail()
  const session = trail.startSession()
  const call = { tool_name: 'pay', tool_input: {} }

  it('and records and runs nothing', () => {
    const run = vi.fn<() => void>()
    const { guard, toolCall, end } = session
    expect(() => guard(call, run)).toThrow(saying('session.guard'))
    expect(() => toolCall(call)).toThrow(saying('session.toolCall'))
    expect(() => end()).toThrow(saying('session.end'))
    const api = { decide: trail.decideApproval, start: trail.startSession }
    expect(() => api.start()).toThrow(saying('trail.startSession'))
    expect(() => api.decide({} as never, {} as never)).toThrow(saying('trail.decideApproval'))
    expect(run).not.toHaveBeenCalled()
    expect(trail.outline()).toEqual(['session_start'])
  })

  it('unless it is bound', async () => {
    const guard = session.guard.bind(session)
    expect(await guard(call, () => 'paid')).toBe('paid')
  })
})

it.each(['tool_input.**', 'tool_input.*x', 'content.**.password'])(
  'redact refuses the path %s, which names no keys',
  (path) => {
    expect(() => createTestTrail({ redact: { paths: [path] } })).toThrow(
      expect.objectContaining({
        code: 'OPTIONS_INVALID',
        message: expect.stringContaining('redact.paths[0]') as string,
      }),
    )
  },
)
