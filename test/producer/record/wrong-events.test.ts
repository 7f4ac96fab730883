/** The events that a session refuses, and its errors. */
import type { EventInput } from '@agent-audit/producer'
import { describe, expect, it } from 'vitest'
import { record } from '../support.ts'

describe('a wrong event', () => {
  it('throws an error that names every wrong field, and is not recorded; later events are', async () => {
    const rows = await record((session) => {
      session.decision({ reasoning: 'before' })
      const wrong = { input_messages: 'no list', output_text: 5, input_tokens: -1, nonsense: true } as never
      expect(() => session.llmCall(wrong)).toThrow(
        expect.objectContaining({
          code: 'EVENT_INVALID',
          message: expect.stringMatching(/input_messages.*output_text.*input_tokens.*nonsense/) as string,
        }),
      )
      session.decision({ reasoning: 'after' })
    })
    expect(rows).toMatchObject([
      { reasoning: 'before', session_seq: 1 },
      { reasoning: 'after', session_seq: 2 },
    ])
    expect(rows[1]?.run_seq).toBe((rows[0]?.run_seq ?? 0) + 1)
  })

  it('throws an error that names every value that JSON cannot hold, by its path', async () => {
    const cycle: Record<string, unknown> = {}
    cycle['self'] = { cycle }
    const thrower = {
      toJSON: () => {
        throw new RangeError('no')
      },
    }
    await record((session) => {
      const wrong = {
        input_messages: [{ a: [1, NaN] }],
        output_text: null,
        tool_calls_requested: [{ name: 't', input: { f: () => {}, s: Symbol('s'), n: 2n } }],
        content: { cycle, deep: { inf: -Infinity }, thrower },
      }
      expect(pathsOf(() => session.llmCall(wrong)).toSorted()).toEqual([
        'content.cycle.self.cycle',
        'content.deep.inf',
        'content.thrower', // Its toJSON throws.
        'input_messages[0].a[1]',
        'tool_calls_requested[0].input.f',
        'tool_calls_requested[0].input.n',
        'tool_calls_requested[0].input.s',
      ])
      expect(pathsOf(() => session.userMessage({ message: { x: 1n }, content: { y: 1n } }))).toEqual([
        'content.y',
        'message.x',
      ])
      expect(pathsOf(() => session.toolCall({ tool_name: 't', tool_input: [undefined, { b: NaN }] }))).toEqual([
        'tool_input[0]',
        'tool_input[1].b',
      ])
    })
  })

  it.each([
    [{ event_type: 'session_end' }],
    [{ event_type: 'trail.mine' }],
    [{ event_type: 'undotted' }],
    [{}],
    [null],
  ])('record refuses %j', async (event) => {
    await record((session) => {
      expect(pathsOf(() => session.record(event as unknown as EventInput))).toEqual(['event_type'])
    })
  })

  it('an event that is given to a method may name the type of the method, and no other', async () => {
    const rows = await record((session) => {
      const decision = { event_type: 'decision', reasoning: 'one' } as const
      session.decision(decision)
      expect(pathsOf(() => session.finalOutput({ ...decision, output_text: '' }))).toEqual(['event_type', 'reasoning'])
      session.record({ ...decision, reasoning: 'two' })
    })
    expect(rows).toMatchObject([
      { event_type: 'decision', reasoning: 'one' },
      { event_type: 'decision', reasoning: 'two' },
    ])
  })

  it('an ended session takes no more events', async () => {
    await record((session) => {
      session.end()
      expect(() => session.decision({ reasoning: 'late' })).toThrow(expect.objectContaining({ code: 'SESSION_ENDED' }))
      expect(() => session.end()).toThrow(expect.objectContaining({ code: 'SESSION_ENDED' }))
    })
  })

  it('undefined is left out, toJSON is respected, and the same object twice is no cycle', async () => {
    const twice = { a: undefined, b: new Date(0) }
    const rows = await record((session) => session.stateSnapshot([twice, twice]))
    expect(rows[0]?.['content']).toEqual({
      state: [{ b: '1970-01-01T00:00:00.000Z' }, { b: '1970-01-01T00:00:00.000Z' }],
    })
  })
})

function pathsOf(work: () => unknown): string[] {
  try {
    work()
  } catch (error) {
    return (error as { issues: { path: string }[] }).issues.map(({ path }) => path)
  }
  throw new Error('did not throw')
}
