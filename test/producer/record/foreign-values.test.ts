/** Values that JSON does not hold, or holds only in part: what tools and libraries return, and what a caller passes. */
import type { InvalidInputError } from '@agent-audit/producer'
import { createTestTrail } from '@agent-audit/producer/testing'
import { describe, expect, it } from 'vitest'

const CALL = { tool_name: 'find', tool_input: {} }

/** The result that a guarded tool with this value leaves, and what the call took of a core, whatever else the machine does. */
async function resultOf(value: unknown) {
  const trail = createTestTrail()
  const session = trail.startSession()
  const startedAt = process.cpuUsage()
  const returned = await session.guard(CALL, () => value)
  const tookMs = process.cpuUsage(startedAt).user / 1000
  const result = trail.events({ event_type: 'tool_result' })[0]
  return { returned, tookMs, result }
}

function refusalOf(state: unknown): InvalidInputError {
  try {
    createTestTrail().startSession().stateSnapshot(state)
  } catch (error) {
    expect(error).toMatchObject({ code: 'EVENT_INVALID' })
    return error as InvalidInputError
  }
  throw new Error('recorded')
}

/** Each of them knows all others: every path through them is a cycle in the end. */
function friends(count: number): { friends?: unknown }[] {
  const users: { id: number; friends?: unknown }[] = Array.from({ length: count }, (_, id) => ({ id }))
  for (const user of users) user.friends = users.filter((friend) => friend !== user)
  return users
}

/** Two fields with one object, in each of which are two fields with one object, and so on. */
function sharedTwice(levels: number): unknown {
  let value: unknown = 'leaf'
  for (let level = 0; level < levels; level++) value = { one: value, other: value }
  return value
}

describe('a tool that returns', () => {
  it.each([
    ['users that know each other', friends(11)[0]],
    ['many users that know each other', friends(200)[0]],
    ['an object that is shared at every level', sharedTwice(60)],
    ['one that is shared below the levels of the quick walk', sharedTwice(900)],
    ['a large text in many positions', Array.from({ length: 5000 }, () => 'x'.repeat(10 ** 6))],
    ['a list without an end', new Proxy([], { get: (_, key) => (key === 'length' ? 2 ** 40 : 0) })],
    [
      'toJSON that always answers with another object',
      new (class Endless {
        toJSON = () => [new Endless(), new Endless()]
      })(),
    ],
    ['an array of a thousand million holes', Object.assign([], { length: 2 ** 32 - 1 })],
  ])('%s gets its value through, soon', async (_, value) => {
    const { returned, tookMs, result } = await resultOf(value)
    expect(returned).toBe(value)
    expect(result).toMatchObject({ outcome: 'success', effect: 'confirmed' })
    // Some 0.1 s; the growth without a bound took minutes or all memory.
    expect(tookMs).toBeLessThan(3000)
  })

  it('a value that JSON cannot hold as a whole has a result that says why the output is missing', async () => {
    const { result } = await resultOf(new Map([['a', 1]]))
    const why = 'expected JSON, not a Map: pass Object.fromEntries(map)'
    expect(result).toMatchObject({ tool_output: null, content: { output_not_recorded: 'EVENT_INVALID', why } })
    expect((await resultOf(sharedTwice(60))).result).toMatchObject({
      tool_output: null,
      content: { why: 'expected JSON of at most 16 MiB, or of fewer values' },
    })
  })

  it('a value that JSON cannot hold in some positions has the rest of it on record', async () => {
    const parent: Record<string, unknown> = { name: 'root' }
    const rows = [1, undefined, new Date(NaN), { parent }]
    parent['rows'] = rows
    const { returned, result } = await resultOf({ ok: true, ids: new Set([1]), rows })
    expect(returned).toMatchObject({ ok: true, rows })
    expect(result).toMatchObject({
      tool_output: {
        ok: true,
        ids: '[not recorded: a Set]',
        rows: [
          1,
          '[not recorded: undefined]',
          '[not recorded: an invalid Date]',
          { parent: { name: 'root', rows: '[not recorded: a cycle]' } },
        ],
      },
      field_notes: { tool_output: { not_recorded: 4 } },
    })
  })

  it('errors has their names, messages and own fields on record, never their stacks', async () => {
    const settled = await Promise.allSettled([
      Promise.reject(Object.assign(new TypeError('no'), { code: 'E1' })),
      Promise.reject(new DOMException('stop', 'AbortError')),
    ])
    const { result } = await resultOf(settled)
    expect(result?.tool_output).toEqual([
      { status: 'rejected', reason: { name: 'TypeError', message: 'no', code: 'E1' } },
      { status: 'rejected', reason: { name: 'AbortError', message: 'stop' } },
    ])
  })
})

describe('a value of a caller', () => {
  class Hidden {
    #amount = 1
    amount(): number {
      return this.#amount
    }
  }
  it.each([
    [new Map([['a', 1]]), 'a Map: pass Object.fromEntries(map)'],
    [new Set([1]), 'a Set: pass Array.from(set)'],
    [Promise.resolve(1), 'a Promise: await it'],
    [/x/, 'a RegExp: pass its source'],
    [new ArrayBuffer(1), 'bytes (ArrayBuffer): pass base64'],
    [new Uint8Array(1), 'bytes (Uint8Array): pass base64'],
    [new Response('x'), 'a Response, of which JSON sees nothing: pass plain data'],
    [new Headers({ a: 'b' }), 'a Headers, of which JSON sees nothing: pass plain data'],
    [new Hidden(), 'a Hidden, of which JSON sees nothing: pass plain data'],
    [{ [Symbol('s')]: 1 }, 'an object with symbols for keys: pass plain data'],
    [[undefined], 'undefined: pass null'],
    // oxlint-disable-next-line no-sparse-arrays
    [[1, , 2], 'undefined: pass null'],
    [new Date(NaN), 'an invalid Date: pass null'],
    [1n, 'a bigint: pass its text'],
  ])('that JSON would drop or change in silence is refused by name: %o', (value, what) => {
    const { issues } = refusalOf({ deep: [value] })
    expect(issues).toEqual([
      { path: expect.stringMatching(/^state\.deep\[0\]/) as string, expected: `expected JSON, not ${what}` },
    ])
  })

  it('is refused as the argument of a tool when it is an Error: the tool would run with another value', () => {
    const session = createTestTrail().startSession()
    expect(() => session.toolCall({ ...CALL, tool_input: { error: new Error('x') } })).toThrow(
      'tool_input.error: expected JSON, not an Error: pass its message',
    )
  })

  it('with any number of faults gives an error of bounded size, which counts the rest', () => {
    const { message, issues } = refusalOf(Array.from({ length: 100_000 }, () => NaN))
    expect(issues).toHaveLength(20)
    expect(message).toMatch(/state\[19\]: expected JSON, not NaN; and 99980 more$/)
    expect(refusalOf({ users: friends(11) }).issues).toHaveLength(20)
    expect(refusalOf({ ['k'.repeat(10 ** 6)]: NaN }).message.length).toBeLessThan(1000)
  })

  it('is read as JSON.stringify reads it: toJSON may return its own object, and has its key', () => {
    const itself = {
      a: 1,
      toJSON() {
        return this
      },
    }
    class Money {
      cents = 5
      toJSON(key: string): unknown {
        return { [key]: this.cents }
      }
    }
    const trail = createTestTrail()
    trail.startSession().stateSnapshot([itself, { price: new Money(), text: Object('boxed') as unknown }])
    expect(trail.events({ event_type: 'state_snapshot' })[0]?.content).toEqual({
      state: [{ a: 1 }, { price: { price: 5 }, text: 'boxed' }],
    })
  })

  it('with a key __proto__ or a further field of a provider keeps it', () => {
    const trail = createTestTrail()
    const session = trail.startSession()
    const odd = '{"__proto__":{"x":1},"a":{"__proto__":2,"at":"x"}}'
    session.record({
      event_type: 'acme.seen',
      content: JSON.parse(odd) as Record<string, unknown>,
      tool_input: JSON.parse(odd),
    })
    session.stateSnapshot({ when: new Date(0), odd: JSON.parse(odd) as unknown })
    const [seen, state] = trail.events().slice(-2)
    expect(JSON.stringify(seen?.content)).toBe(odd)
    expect(JSON.stringify(seen?.tool_input)).toBe(odd)
    expect(JSON.stringify(state?.content)).toContain(odd)
    const request = { id: 'c', name: 't', input: {}, type: 'function' }
    session.llmCall({ input_messages: [], output_text: null, tool_calls_requested: [request] })
    expect(trail.events({ event_type: 'llm_call' })[0]?.tool_calls_requested).toEqual([request])
  })

  it('that is a whole event and cannot be read is refused, as any wrong event', () => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    const session = createTestTrail().startSession()
    const unreadable = 'expected fields that can be read: a getter or a proxy throws'
    expect(() => session.decision(proxy as never)).toThrow(unreadable)
    expect(() => session.decision({ reasoning: 'r', content: proxy })).toThrow(unreadable)
  })

  it('whose getters throw is refused where they stand', () => {
    const broken = {
      get a(): number {
        throw new RangeError('no')
      },
    }
    const session = createTestTrail().startSession()
    expect(() => session.toolResult({ tool_call_id: 'c', tool_name: 't', source: 's', content: { broken } })).toThrow(
      'content.broken.a: expected JSON, not a value that throws RangeError',
    )
    expect(() =>
      session.toolResult({ tool_call_id: 'c', tool_name: 't', source: 's', content: broken as never }),
    ).toThrow('content.a: expected JSON, not a value that throws RangeError')
  })
})
