/** Whatever an agent or a tool throws: the same value is thrown again, and the trail has the error and the end. */
import { createTestTrail } from '@agent-audit/producer/testing'
import { describe, expect, it } from 'vitest'

class Misnamed extends Error {
  static override readonly name = 42 as never
  override readonly name = 42 as never
}
const revoked = Proxy.revocable({}, {})
revoked.revoke()
const hostile = new Proxy(
  {},
  {
    get: () => {
      throw new TypeError('no')
    },
    getPrototypeOf: () => {
      throw new TypeError('no')
    },
  },
)
const cyclic: Record<string, unknown> = { hint: 'h', at: 1n }
cyclic['self'] = cyclic
const nameless = Object.assign(new Error('boom'), {
  get constructor() {
    return new Proxy(class Inner extends Error {}, { get: () => hostile })
  },
  name: '',
})

const THROWN: [title: string, thrown: unknown, recorded: object][] = [
  [
    'an error whose code is NaN',
    Object.assign(new Error('boom'), { code: NaN }),
    { error: 'boom', error_type: 'Error' },
  ],
  ['an error whose name is a number', new Misnamed('boom'), { error: 'boom', error_type: 'object' }],
  ['an error of 600 KB', new Error('x'.repeat(600_000)), { error_type: 'Error' }],
  ['an error whose code is a bigint', Object.assign(new Error('boom'), { code: 7n }), { error: 'boom' }],
  ['an error whose class answers with a proxy', nameless, { error: 'boom', error_type: 'object' }],
  ['a text of 600 KB', 'x'.repeat(600_000), { error_type: 'string' }],
  ['a revoked proxy', revoked.proxy, { error: 'a value that cannot be written', error_type: 'object' }],
  ['a proxy that throws', hostile, { error: 'a value that cannot be written', error_type: 'object' }],
  ['an object that refers to itself', cyclic, { error: /"hint":"h".*a cycle/ }],
  ['null', null, { error: 'null', error_type: 'null' }],
  ['undefined', undefined, { error: 'undefined', error_type: 'undefined' }],
  ['NaN', NaN, { error: 'NaN', error_type: 'number' }],
  ['a symbol', Symbol('s'), { error: 'Symbol(s)', error_type: 'symbol' }],
]

describe.each(['cut', 'refuse'] as const)('with onOversize %s, a session or a tool that throws', (onOversize) => {
  it.each(THROWN)('%s throws that very value, with the error and the end on record', async (_, thrown, recorded) => {
    const trail = createTestTrail({ onOversize })
    const outcome = trail.withSession({}, async (session) => {
      // The tool's error is the session's.
      await session.guard({ tool_name: 't', tool_input: {} }, () => {
        throw thrown
      })
    })
    expect(await caught(outcome, thrown)).toBe(true)
    expect(trail.outline()).toEqual([
      'session_start',
      'tool_call t allowed',
      'tool_result t error',
      'error',
      'session_end error',
    ])
    const texts = Object.entries(recorded).map(([field, text]) => [
      field,
      text instanceof RegExp ? expect.stringMatching(text) : (text as string),
    ])
    const [result] = trail.events({ event_type: 'tool_result' })
    const [error] = trail.events({ event_type: 'error' })
    for (const event of [result, error]) expect(event).toMatchObject(Object.fromEntries(texts) as object)
    expect(trail.problems()).toEqual([])
  })
})

/** Compared here: a promise of a revoked proxy cannot be resolved. */
async function caught(work: Promise<unknown>, thrown: unknown): Promise<boolean> {
  try {
    await work
    return false
  } catch (error) {
    return Object.is(error, thrown)
  }
}
