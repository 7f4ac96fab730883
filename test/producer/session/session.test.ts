import { describe, expect, it } from 'vitest'
import { openTrail, record, sessionRows, sha256 } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

describe('each method records its row', () => {
  it('startSession', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir, agentVersion: '2', producerId: 'p1', environment: 'tests' })
    const start = {
      session_id: 's1',
      user_id: 'u1',
      user_message: { text: 'Hi' },
      tools_available: ['a'],
      content: { x: 1 },
    }
    trail.startSession(start)
    await trail.close()
    expect(sessionRows(dataDir)[0]).toEqual({
      partition: expect.any(Number) as unknown,
      offset: expect.any(Number) as unknown,
      run_id: trail.runId,
      run_seq: 1,
      session_seq: 0,
      producer_id: 'p1',
      retention_class: 'default',
      event_id: expect.any(String) as unknown,
      timestamp: expect.any(Number) as unknown,
      event_type: 'session_start',
      session_id: 's1',
      agent_id: 'agent-1',
      user_id: 'u1',
      agent_version: '2',
      environment: 'tests',
      step_number: 0,
      requires_approval: false,
      content: { x: 1, user_message: { text: 'Hi' }, tools_available: ['a'] },
    })
  })

  it('llmCall', async () => {
    const event = {
      output_text: 'Hello',
      reasoning: 'greet',
      stop_reason: 'end_turn',
      provider: 'anthropic',
      model_id: 'model-2',
      input_tokens: 9,
      output_tokens: 5,
      cache_read_tokens: 3,
      cache_write_tokens: 1,
      cost_usd: 0.25,
    }
    const input_messages = [{ role: 'user', content: 'Hi' }]
    const tool_calls_requested = [{ id: 'c1', name: 'search', input: { q: 'x' } }]
    const error = Object.assign(new TypeError('half an answer'), { code: 'EPIPE' })
    const [row] = await record((session) =>
      session.llmCall({
        ...event,
        input_messages,
        tool_calls_requested,
        latency_ms: 812.6,
        error,
        content: { request: { n: 1 } },
      }),
    )
    expect(row).toMatchObject({
      event_type: 'llm_call',
      ...event,
      input_messages,
      tool_calls_requested,
      latency_ms: 813,
    })
    expect(row).toMatchObject({ error: 'half an answer', error_type: 'TypeError', user_id: 'u1' })
    expect(row?.['content']).toEqual({ request: { n: 1 }, error_code: 'EPIPE' })
    expect(JSON.stringify(row)).not.toContain('session.test.ts') // No stack.
  })

  it('toolCall, with canonical arguments and their digest', async () => {
    const [row, other] = await record((session) => {
      session.toolCall({
        tool_name: 'pay',
        tool_input: { to: 'DE02', eur: 12.5, at: new Date(0) },
        tool_call_id: 'c1',
        requires_approval: true,
      })
      session.toolCall({ tool_name: 'pay', tool_input: {}, tool_call_id: 'c2', outcome: 'denied', reason: 'policy' })
    })
    const canonical = '{"at":"1970-01-01T00:00:00.000Z","eur":12.5,"to":"DE02"}'
    expect(row).toMatchObject({ event_type: 'tool_call', tool_name: 'pay', tool_call_id: 'c1', outcome: 'allowed' })
    expect(row).toMatchObject({ requires_approval: true, arguments_sha256: sha256(canonical) })
    expect(JSON.stringify(row?.['tool_input'])).toBe(canonical)
    expect(other).toMatchObject({ outcome: 'denied', reason: 'policy', requires_approval: false })
  })

  it('toolCall without an id has its event_id as the id', async () => {
    let id = ''
    const [row] = await record((session) => (id = session.toolCall({ tool_name: 't', tool_input: null }).event_id))
    expect(row).toMatchObject({ tool_call_id: id, event_id: id, tool_input: null })
  })

  it('an outcome of null means unknown, not the usual outcome', async () => {
    const [result, end] = await record((session) => {
      session.toolResult({ tool_call_id: 'c1', tool_name: 'search', tool_output: 'found', outcome: null })
      session.end({ outcome: null })
    })
    expect([result?.['event_type'], end?.['event_type']]).toEqual(['tool_result', 'session_end'])
    expect([result?.['outcome'], end?.['outcome']]).toEqual([undefined, undefined]) // Nulls are left out of a row here.
  })

  it('toolResult keeps text as text, writes other values as JSON, and has outcome error for an error', async () => {
    const rows = await record((session) => {
      const call = { tool_call_id: 'c1', tool_name: 't' }
      session.toolResult({
        ...call,
        tool_output: '{"not": "parsed"}',
        execution_time_ms: 1.4,
        source: 'web',
        untrusted: true,
      })
      session.toolResult({ ...call, tool_output: { found: [1] } })
      session.toolResult({ ...call, error: 'a string' })
      session.toolResult({ ...call, error: { message: 'like an error', code: 7 } })
    })
    expect(rows).toMatchObject([
      {
        tool_output: '{"not": "parsed"}',
        outcome: 'success',
        execution_time_ms: 1,
        content: { source: 'web', untrusted: true },
      },
      { tool_output: '{"found":[1]}', outcome: 'success' },
      { error: 'a string', error_type: 'string', outcome: 'error' },
      { error: 'like an error', error_type: 'Object', outcome: 'error', content: { error_code: 7 } },
    ])
    expect(rows[1]).not.toHaveProperty('content')
  })

  it('a custom event keeps requires_approval, with the arguments of the call and without them', async () => {
    const rows = await record((session) => {
      const about = { event_type: 'acme.queued', tool_name: 'pay', tool_call_id: 'c1' } as const
      session.record({ ...about, requires_approval: true })
      session.record({ ...about, requires_approval: true, tool_input: { eur: 5 } })
      session.record(about)
    })
    expect(rows).toMatchObject([
      { requires_approval: true, tool_name: 'pay', tool_call_id: 'c1' },
      { requires_approval: true, tool_input: { eur: 5 }, arguments_sha256: sha256('{"eur":5}') },
      { requires_approval: false },
    ])
    expect(rows[0]).not.toHaveProperty('arguments_sha256')
  })

  it('the other methods', async () => {
    const rows = await record((session) => {
      session.userMessage({ message: 'And now?', user_id: 'u2' })
      session.decision({ reasoning: 'because', content: {} })
      session.humanIntervention({ approver_id: 'ann', reason: 'stop' })
      session.sandboxCrossing({ boundary: 'net', direction: 'out', resource: 'example.org', outcome: 'blocked' })
      session.stateSnapshot({ plan: ['a'] })
      session.error(undefined)
      session.finalOutput({ output_text: 'Done.' })
      session.record({
        event_type: 'acme.checked',
        tool_name: 't',
        tool_input: { b: 1, a: 2 },
        output_text: 'x',
        error: 'e',
        content: { y: 1 },
      })
      session.end({ output_text: 'bye', reason: 'asked' })
    })
    expect(rows).toMatchObject([
      { event_type: 'user_message', content: { message: 'And now?' }, user_id: 'u2' },
      { event_type: 'decision', reasoning: 'because', content: {}, user_id: 'u1' },
      { event_type: 'human_intervention', approver_id: 'ann', reason: 'stop' },
      {
        event_type: 'sandbox_crossing',
        outcome: 'blocked',
        content: { boundary: 'net', direction: 'out', resource: 'example.org' },
      },
      { event_type: 'state_snapshot', content: { state: { plan: ['a'] } } },
      { event_type: 'error', error: 'undefined', error_type: 'undefined' },
      { event_type: 'final_output', output_text: 'Done.' },
      {
        event_type: 'acme.checked',
        tool_name: 't',
        tool_input: { a: 2, b: 1 },
        output_text: 'x',
        error: 'e',
        content: { y: 1 },
      },
      { event_type: 'session_end', outcome: 'success', output_text: 'bye', reason: 'asked' },
    ])
  })
})

describe('parents and steps', () => {
  it('a result follows its call, a call its model call, and a model call the last event that it read', async () => {
    const rows = await record((session) => {
      session.llmCall({ input_messages: [], output_text: null })
      session.decision({ reasoning: 'two at once' })
      session.toolCall({ tool_name: 'a', tool_input: {}, tool_call_id: 'same' })
      session.toolCall({ tool_name: 'b', tool_input: {}, tool_call_id: 'same' })
      session.toolResult({ tool_name: 'a', tool_call_id: 'same' })
      session.toolResult({ tool_name: 'b', tool_call_id: 'same' })
      session.llmCall({ input_messages: [], output_text: 'x' })
      session.userMessage({ message: 'more' })
      session.llmCall({ input_messages: [], output_text: 'y' })
      session.finalOutput({ output_text: 'y' })
      session.end()
    })
    const index = new Map(rows.map((row, at) => [row.event_id, at]))
    const parents = rows.map((row) => index.get(row['parent_event_id'] as string))
    // The ids of calls repeat: results go to the oldest open one.
    expect(parents).toEqual([undefined, 0, 0, 0, 2, 3, 5, 6, 7, 8, 9])
    expect(rows.map((row) => row.step_number)).toEqual([1, 1, 2, 3, 2, 3, 4, 4, 5, 5, 5])
  })

  it('the session keeps the values that the caller gives', async () => {
    const parent = '0197a0b2-0000-7000-8000-000000000001'
    const when = new Date('2024-05-06T07:08:09.123Z')
    const rows = await record((session) => {
      session.decision({ reasoning: 'r', parent_event_id: parent.toUpperCase(), step_number: 7, timestamp: when })
      session.llmCall({ input_messages: [], output_text: null })
    })
    expect(rows).toMatchObject([
      { parent_event_id: parent, step_number: 7, timestamp: when.getTime() * 1000 },
      { step_number: 8 },
    ])
  })

  it('an import notes that its timestamps are synthetic', async () => {
    const rows = await record((session) => session.decision({ reasoning: 'r' }), { syntheticTimestamps: true })
    expect(rows[0]?.['field_notes']).toEqual({ timestamp: { synthetic: true } })
  })
})

const message = (content: string): object => ({ role: 'user', content })

describe('input_messages', () => {
  it('holds the messages that the session has not recorded yet, and all messages again after a mismatch', async () => {
    const messages = [message('a'), message('b')]
    const rows = await record((session) => {
      const call = (): void => void session.llmCall({ input_messages: messages, output_text: null })
      call()
      messages.push(message('c'))
      call()
      call()
      messages[0] = { ...messages[0] } // Equal, but another object: the history was built anew.
      call()
      messages.length = 2 // Compacted.
      call()
    })
    const contents = rows.map((row) =>
      (row['input_messages'] as { content: string }[]).map(({ content }) => content).join(''),
    )
    expect(contents).toEqual(['ab', 'c', '', 'abc', 'ab'])
    expect(rows.map((row) => row['field_notes'])).toEqual([
      undefined,
      { input_messages: { from: 2, count: 3 } },
      { input_messages: { from: 3, count: 3 } },
      undefined,
      undefined,
    ])
  })

  it('holds all messages again after one was edited in place, at any depth: the record is what the model saw', async () => {
    const first = { role: 'user', content: [{ type: 'text', text: 'pay 10' }] }
    const second = { role: 'assistant', content: 'ok' }
    const messages: object[] = [first, second]
    const rows = await record((session) => {
      const call = (): void => void session.llmCall({ input_messages: messages, output_text: null })
      call()
      first.content[0] = { type: 'text', text: 'pay 999' }
      call()
      call()
      first.content[0] = Object.assign(first.content[0], { cache_control: { type: 'ephemeral' } })
      messages.push({ role: 'user', content: 'more' })
      call()
      Object.defineProperty(second, 'tool_calls', { enumerable: true, get: () => ({ all: [] }) })
      call()
    })
    expect(rows.map((row) => (row['input_messages'] as object[]).length)).toEqual([2, 2, 0, 3, 3])
    expect(JSON.stringify(rows[1]?.['input_messages'])).toContain('pay 999')
    expect(rows[1]?.['field_notes']).toBeUndefined()
  })

  it('counts only messages that were recorded: a refused call changes nothing', async () => {
    const messages = [message('a')]
    const rows = await record((session) => {
      const wrong = { input_messages: messages, output_text: null, tool_calls_requested: [{ name: 't', input: 1n }] }
      expect(() => session.llmCall(wrong)).toThrow(expect.objectContaining({ code: 'EVENT_INVALID' }))
      session.llmCall({ input_messages: messages, output_text: null })
    })
    expect(rows).toMatchObject([{ input_messages: messages, session_seq: 1, step_number: 1 }])
  })

  it('holds all messages with inputMessages: full', async () => {
    const messages = [message('a')]
    const rows = await record(
      (session) => {
        session.llmCall({ input_messages: messages, output_text: null })
        session.llmCall({ input_messages: messages, output_text: null })
      },
      { inputMessages: 'full' },
    )
    expect(rows.map((row) => row['input_messages'])).toEqual([messages, messages])
  })
})
