/** The answers of the model, whole and streamed: each is recorded, also the unfinished ones. */
import { currentSession } from '@agent-audit/producer'
import { describe, expect, it } from 'vitest'
import { ask, outline, say, schema, setUp, throwing, tool } from './agent-support.ts'
import type { Answer } from './messages-server.ts'

describe.each([
  ['whole answers', undefined],
  ['streamed answers', (): void => {}],
])('%s', (_name, onText) => {
  it('records the session, each call of the model, and each tool', async () => {
    const usage = { input_tokens: 10, output_tokens: 7, cache_read_input_tokens: 100, cache_creation_input_tokens: 20 }
    const thinking = { type: 'thinking', thinking: 'I should look.', signature: 'x' } as const
    const first: Answer = { ...ask(['c1', 'search', { q: 'order 7' }]), usage }
    const agent = await setUp(
      { ...first, content: [thinking, { type: 'text', text: 'One moment.' }, ...(first.content ?? [])] },
      say('It is on its way.', { usage: { output_tokens: 7 } }),
    )
    const search = tool('search', ({ q }: { q: string }) => {
      currentSession()?.record({ event_type: 'acme.query_checked', content: { words: 2 } })
      return { found: q }
    })
    const result = await agent.run({ onText, tools: [search], user_id: 'u1', maxTokens: 500 })
    expect(result).toEqual({
      output: 'It is on its way.',
      session_id: expect.any(String) as string,
      stop: 'end_turn',
      steps: 2,
    })

    const rows = await agent.rows()
    expect(outline(rows)).toEqual([
      'session_start',
      'llm_call',
      'tool_call search allowed',
      'acme.query_checked',
      'tool_result search success',
      'llm_call',
      'session_end success',
    ])
    const [start, call, toolCall, custom, toolResult, last, end] = rows
    expect(start).toMatchObject({
      session_id: result.session_id,
      user_id: 'u1',
      model_id: 'claude-test',
      content: { user_message: 'Hi', tools_available: ['search'], system_prompt: 'Be brief.' },
    })
    expect(call).toMatchObject({
      input_messages: [{ role: 'user', content: 'Hi' }],
      output_text: 'One moment.',
      reasoning: 'I should look.',
      tool_calls_requested: [{ id: 'c1', name: 'search', input: { q: 'order 7' } }],
      provider: 'anthropic',
      stop_reason: 'tool_use',
      model_id: 'claude-test-20990101',
      input_tokens: 130,
      output_tokens: 7,
      cache_read_tokens: 100,
      cache_write_tokens: 20,
      latency_ms: expect.any(Number) as number,
      content: { request: { max_tokens: 500, stream: onText !== undefined } },
    })
    expect(toolCall).toMatchObject({
      tool_call_id: 'c1',
      tool_input: { q: 'order 7' },
      parent_event_id: call?.event_id,
    })
    expect(custom).toMatchObject({ parent_event_id: toolCall?.event_id })
    expect(toolResult).toMatchObject({ tool_output: '{"found":"order 7"}', parent_event_id: toolCall?.event_id })
    expect(last?.['field_notes']).toEqual({ input_messages: { from: 1, count: 3 } })
    expect(last?.['input_messages']).toMatchObject([
      { role: 'assistant' },
      {
        role: 'user',
        content: [{ type: 'tool_result', tool_use_id: 'c1', content: '{"found":"order 7"}', is_error: false }],
      },
    ])
    expect(end).toMatchObject({ output_text: 'It is on its way.' })
    expect(agent.model.requests[1]).toMatchObject({
      model: 'claude-test',
      max_tokens: 500,
      system: 'Be brief.',
      tools: [{ name: 'search', input_schema: schema }],
      messages: [{}, { role: 'assistant' }, { role: 'user' }],
    })
  })

  it.each([
    ['max_tokens', 'session_end error max_tokens'],
    ['refusal', 'session_end blocked refusal'],
  ])('the stop reason %s ends the session, and is recorded', async (stop, end) => {
    const cut = ask(['c1', 'search', { q: 'ha' }])
    const agent = await setUp({ ...cut, stop_reason: stop })
    const result = await agent.run({
      onText,
      tools: [tool('search', () => expect.unreachable('input may be incomplete'))],
    })
    expect(result).toMatchObject({ stop, steps: 1, output: '' })
    expect(outline(await agent.rows())).toEqual(['session_start', 'llm_call', end])
  })

  it('an error of the SDK is recorded and thrown', async () => {
    const agent = await setUp({ status: 529 })
    await expect(agent.run({ onText })).rejects.toMatchObject({ status: 529 })
    const rows = await agent.rows()
    expect(outline(rows)).toEqual(['session_start', 'llm_call', 'error', 'session_end error'])
    expect(rows[1]).toMatchObject({
      error: expect.stringContaining('the script says no') as string,
      model_id: 'claude-test',
    })
    expect(rows[1]).not.toHaveProperty('output_text')
  })

  it('a signal aborts the request', async () => {
    const agent = await setUp(say('Half of it', { hang: true }))
    const abort = new AbortController()
    const run = agent.run({ onText, signal: abort.signal })
    await expect.poll(() => agent.model.requests.length).toBe(1)
    abort.abort()
    expect(await run).toMatchObject({ stop: 'aborted', steps: 0 })
    const rows = await agent.rows()
    expect(outline(rows)).toEqual(['session_start', 'llm_call', 'session_end error aborted'])
    expect(rows[1]).toHaveProperty('error')
  })
})

it('runAuditedAgent streams the text as it arrives, and records the text received before the connection was cut', async () => {
  const agent = await setUp(say('Good day'), say('Good bye', { hang: true }))
  const heard: string[] = []
  await agent.run({ onText: (delta) => void heard.push(delta) })
  expect(heard).toEqual(['Good', ' day'])
  // The client receives the first half; the server never sends the second.
  await expect(agent.run({ onText: () => agent.model.cut() })).rejects.toThrow('terminated')
  const rows = await agent.rows()
  const [, call] = rows.filter(({ event_type: type }) => type === 'llm_call')
  expect(call).toMatchObject({ output_text: 'Good', error: expect.any(String) as string })
})

it('an error of onText ends the loop', async () => {
  const agent = await setUp(say('Good day'))
  await expect(agent.run({ onText: throwing('no ears') })).rejects.toThrow('no ears')
  expect(outline(await agent.rows())).toEqual(['session_start', 'llm_call', 'error', 'session_end error'])
})
