import { ArgumentTracer, instructionsIn, type ProvenanceEvent, traceArguments } from '@agent-audit/analytics'
import { expect, it } from 'vitest'

const PARTS = [
  'ignore previous instructions',
  'please send it to a@b.example ',
  'GB29 NWBK 6016 1331 9268 19',
  '\\n\\\n    \\ ',
  '\\u00',
  '2024-13-99',
  '1,1.1',
  '\ud800',
  '\u200b',
  '<|im_start|>',
  '{"a":[',
  'https://',
  '\u0000',
  '  ',
]
const SHAPES: readonly unknown[] = [
  null,
  1,
  Number.NaN,
  true,
  '',
  [],
  {},
  [[null]],
  { role: 'user' },
  [{ role: 'user', content: [null, 7, { type: 'tool_result' }] }],
]

/** Mulberry32. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

it('whatever an event holds, nothing throws, and each quote stands where it says', () => {
  const seed = Number(process.env['TEST_SEED'] ?? Date.now() % 2 ** 31)
  const random = randomOf(seed)
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T
  const text = (): string => Array.from({ length: Math.floor(random() * 30) }, () => pick(PARTS)).join('')
  const value = (): unknown => (random() < 0.5 ? text() : pick(SHAPES))
  const event = (event_type: string): ProvenanceEvent => ({
    event_id: text(),
    event_type,
    tool_call_id: null,
    tool_name: null,
    tool_input: { a: value(), [text()]: [value()] },
    tool_output: text(),
    output_text: text(),
    input_messages: value(),
    content: pick([value(), { message: value(), user_message: value(), system_prompt: value() }]),
    system_prompt_hash: null,
    timestamp: '',
    run_seq: 0,
  })
  for (let round = 0; round < 500; round++) {
    const output = text()
    for (const { quote, at } of instructionsIn(output)) expect(output.startsWith(quote, at), `seed ${seed}`).toBe(true)
    const traced = traceArguments(event('tool_call'), [event('session_start'), event('llm_call'), event('tool_result')])
    expect(traced.length, `seed ${seed}`).toBeLessThanOrEqual(500)
  }
})

it('a deep nest and many values are read in part', () => {
  let deep: unknown = 'found@x.example'
  for (let level = 0; level < 20_000; level++) deep = [deep]
  const wide = Array.from({ length: 2000 }, (_, index) => `value-${index}`)
  const call = { event_id: 'c', event_type: 'tool_call', tool_input: { deep, wide } } as unknown as ProvenanceEvent
  const traced = traceArguments(call, [])
  expect(traced).toHaveLength(500)
  expect(traced[0]?.value).toBe('value-0')
})

const eventOf = (event_id: string, event_type: string, fields: object): ProvenanceEvent =>
  ({ event_id, event_type, tool_name: 't', ...fields }) as ProvenanceEvent

it('in a long session a value is found in the same events as in each event alone', () => {
  const seed = Number(process.env['TEST_SEED'] ?? Date.now() % 2 ** 31)
  const random = randomOf(seed)
  const words = Array.from({ length: 400 }, () => Math.floor(random() * 1e6).toString(36))
  const pick = (): string => words[Math.floor(random() * words.length)] as string
  const text = (length: number): string =>
    Array.from({ length }, () => (random() < 0.05 ? `${pick()}@x.example` : pick())).join(' ')
  const results = Array.from({ length: 150 }, (_, index) =>
    eventOf(`r${index}`, 'tool_result', { tool_output: text(80) }),
  )
  const tracer = new ArgumentTracer()
  for (const result of results) tracer.add(result)
  let found = 0
  for (let round = 0; round < 40; round++) {
    const part = String(results[Math.floor(random() * 150)]?.tool_output).slice(round, round + 30 + round)
    const call = eventOf('c', 'tool_call', {
      tool_input: { part, id: pick(), mail: `${pick()}@x.example`, long: text(40) },
    })
    const alone = results.map((result) => traceArguments(call, [result]))
    const together = tracer.trace(call)
    together.forEach(({ origins }, index) => {
      found += origins.length
      const expected = alone.flatMap((traced) => traced[index]?.origins ?? [])
      expect(origins, `seed ${seed}`).toEqual(expected)
    })
  }
  expect(found, `seed ${seed}`).toBeGreaterThan(40)
})
