/** Options of a call that are misspelt or wrong: an error, before anything is recorded or run. */
import { runAuditedAgent } from '@agent-audit/producer/anthropic'
import { createTestTrail } from '@agent-audit/producer/testing'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { KIM } from '../guard/approval-support.ts'

const call = { tool_name: 'wipe', tool_input: {} }
const refuse = (): { outcome: 'denied'; reason: string } => ({ outcome: 'denied', reason: 'no' })

/** A warning of Node.js, such as the one about a timer that cannot wait so long. */
function watchWarnings(): unknown {
  const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  onTestFinished(() => warning.mockRestore())
  return warning
}

describe('a guard', () => {
  it.each([
    ['chek', 'check', refuse],
    ['Check', 'check', refuse],
    ['aproval', 'approval', refuse],
    ['on_unavailable', 'onUnavailable', 'refuse'],
    ['timeout', 'timeoutMs', 5],
    ['durabilty', 'durability', 'disk'],
  ])('with the misspelt option %s does not run the tool, and names %s', async (name, near, value) => {
    const trail = createTestTrail()
    const run = vi.fn<() => void>()
    const guarded = trail.startSession().guard(call, run, { [name]: value })
    await expect(guarded).rejects.toMatchObject({
      code: 'EVENT_INVALID',
      issues: [{ path: name, expected: `no such option; did you mean ${near}?` }],
    })
    expect(run).not.toHaveBeenCalled()
    expect(trail.outline()).toEqual(['session_start'])
  })

  it('names every wrong option at once, and no near one where none is near', async () => {
    const options = { check: 'policy', effect: 'maybe', nonsense: 1, onResultUnavailable: 'trow' } as never
    const guarded = createTestTrail()
      .startSession()
      .guard(call, () => 'ran', options)
    const message =
      'tool_call not recorded: nonsense: no such option; onResultUnavailable: expected throw or report; ' +
      'effect: expected confirmed or dispatched; check: expected a function'
    await expect(guarded).rejects.toMatchObject({ code: 'EVENT_INVALID', message })
  })

  it('takes options that an object inherits', async () => {
    const options = Object.create({ check: refuse }) as object
    const guarded = createTestTrail()
      .startSession()
      .guard(call, () => 'ran', options)
    await expect(guarded).rejects.toMatchObject({ code: 'DENIED' })
  })

  it('keeps to the options that it was called with, whatever a policy makes of them later', async () => {
    const trail = createTestTrail()
    const options = {
      approval: () => ({ ...KIM, approval_status: 'rejected' as const }),
      check: (): { outcome: 'allowed' } => {
        Object.assign(options, { approval: undefined })
        return { outcome: 'allowed' }
      },
    }
    const guarded = trail.startSession().guard(call, () => 'ran', options)
    await expect(guarded).rejects.toMatchObject({ code: 'APPROVAL_REJECTED' })
  })
})

describe('a time limit', () => {
  it.each([Infinity, Number.NaN, -1, 2 ** 31, 3e9, '5', null, {}])(
    'of %s is refused by its option',
    async (timeoutMs) => {
      const warning = watchWarnings()
      const trail = createTestTrail()
      const run = vi.fn<() => void>()
      const options = { timeoutMs } as never
      await expect(trail.startSession().guard(call, run, options)).rejects.toMatchObject({
        code: 'EVENT_INVALID',
        issues: [{ path: 'timeoutMs', expected: 'expected milliseconds, 1 to 2147483647' }],
      })
      const wrong = { code: 'OPTIONS_INVALID', message: expect.stringContaining('timeoutMs') as string }
      expect(() => trail.flush(options)).toThrow(expect.objectContaining(wrong))
      expect(() => trail.close(options)).toThrow(expect.objectContaining(wrong))
      // The trail is still open.
      trail.startSession().end()
      expect(run).not.toHaveBeenCalled()
      expect(warning).not.toHaveBeenCalled()
    },
  )

  it('of an approval or an override is refused by its option', async () => {
    const session = createTestTrail().startSession()
    const wrong = { code: 'EVENT_INVALID', message: expect.stringContaining('ttlMs') as string }
    for (const ttlMs of [Infinity, Number.NaN, 0, -1, 2 ** 53]) {
      await expect(session.requestApproval(call, { ttlMs })).rejects.toMatchObject(wrong)
      await expect(session.override(call, { ...KIM, reason: 'urgent', ttlMs })).rejects.toMatchObject(wrong)
    }
  })
})

describe('an event', () => {
  it.each([
    ['durabilty', { durabilty: 'broker' }],
    ['always', { always: true }],
    ['approval', { approval: { approval_id: null, approval_status: 'approved', approver_id: 'kim' } }],
    ['parent_session_id', { durability: 'broker', parent_session_id: 's0' }],
    ['options', 'broker'],
  ])('with the unknown option %s is not recorded', (path, options) => {
    const trail = createTestTrail()
    const session = trail.startSession()
    for (const record of [
      () => session.userMessage({ message: 'x' }, options as never),
      () => session.record({ event_type: 'acme.done' }, options as never),
      () => session.end({}, options as never),
    ]) {
      expect(record).toThrow(
        expect.objectContaining({ code: 'EVENT_INVALID', issues: [expect.objectContaining({ path })] }),
      )
    }
    expect(trail.outline()).toEqual(['session_start'])
  })

  it('takes a durability, and none', () => {
    const trail = createTestTrail()
    const session = trail.startSession()
    session.userMessage({ message: 'x' }, { durability: 'memory' })
    session.userMessage({ message: 'y' }, { durability: undefined })
    session.userMessage({ message: 'z' }, undefined)
    expect(trail.outline()).toEqual(['session_start', ...Array<string>(3).fill('user_message')])
  })
})

function nearField(path: string, name: string): unknown {
  return expect.objectContaining({ issues: [{ path, expected: `no such field; did you mean ${name}?` }] })
}

describe('a misspelt name elsewhere is refused, and the near one is named', () => {
  const trail = createTestTrail()
  const session = trail.startSession({ session_id: 's1' })
  it('in the start of a session, and in a reference to one', async () => {
    expect(() => trail.startSession({ sessionId: 's2' } as never)).toThrow(nearField('sessionId', 'session_id'))
    await expect(trail.withSession({ userid: 'u' } as never, () => 0)).rejects.toThrow(nearField('userid', 'user_id'))
    expect(() => trail.resumeSession({ ...session.ref, stampd: {} } as never)).toThrow(nearField('stampd', 'stamped'))
  })

  it('in a request, a verdict, an override, and options of a trail', async () => {
    const ttl = session.requestApproval(call, { ttl: 5 } as never)
    await expect(ttl).rejects.toThrow(nearField('ttl', 'ttlMs'))
    const request = await session.requestApproval(call)
    const verdict = { ...KIM, approval_status: 'approved', modifiedInput: {} } as never
    await expect(trail.decideApproval(request, verdict)).rejects.toThrow(nearField('modifiedInput', 'modified_input'))
    const override = session.override(call, { ...KIM, reason: 'urgent', aproval_id: 'x' } as never)
    await expect(override).rejects.toThrow(nearField('aproval_id', 'approval_id'))
    expect(() => createTestTrail({ onUnavalable: 'refuse' } as never)).toThrow(
      nearField('onUnavalable', 'onUnavailable'),
    )
  })

  it('in a tool of an agent: before the model is called', async () => {
    const tool = { name: 'wipe', description: 'Wipes.', input_schema: { type: 'object' }, run: () => 'ran' } as const
    const agent = { trail, client: { messages: {} } as never, model: 'm', system: '', message: 'go' }
    const misspelt = { ...tool, requires_aproval: true }
    await expect(runAuditedAgent({ ...agent, tools: [misspelt] })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
      issues: [{ path: 'tools[0].requires_aproval' }],
    })
    const unjudged = { ...tool, guard: { chek: refuse } as never }
    await expect(runAuditedAgent({ ...agent, tools: [unjudged] })).rejects.toMatchObject({
      code: 'OPTIONS_INVALID',
      issues: [{ path: 'tools[0].guard.chek', expected: 'no such option; did you mean check?' }],
    })
  })
})
