/** The loop of runAuditedAgent: its tools, its end, its options. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Ruling } from '@agent-audit/producer'
import { runAuditedAgent } from '@agent-audit/producer/anthropic'
import { createTestTrail } from '@agent-audit/producer/testing'
import { expect, it } from 'vitest'
import { ask, outline, say, setUp, throwing, tool } from './agent-support.ts'
import { scriptModel } from './messages-server.ts'
import { NO_BROKER, openTrail, sessionRows } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

const deny = (): Ruling => ({ outcome: 'denied', reason: 'not on Sundays' })

it('tools that the model asks for together run in parallel', async () => {
  const agent = await setUp(ask(['c1', 'meet', { q: 'a' }], ['c2', 'meet', { q: 'b' }]), say('Met.'))
  const both = Promise.withResolvers<void>()
  const here = new Set<string>()
  const meet = tool('meet', async ({ q }: { q: string }) => {
    here.add(q)
    if (here.size === 2) both.resolve()
    await both.promise // Neither returns unless both have started.
    return q
  })
  await agent.run({ tools: [meet] })
  const rows = await agent.rows()
  expect(outline(rows).slice(1, -1)).toEqual([
    'llm_call',
    'tool_call meet allowed',
    'tool_call meet allowed',
    'tool_result meet success',
    'tool_result meet success',
    'llm_call',
  ])
  const [, call, one, two] = rows
  expect([one?.['parent_event_id'], two?.['parent_event_id']]).toEqual([call?.event_id, call?.event_id])
  for (const result of rows.slice(4, 6)) {
    const cause = rows.find((row) => row.event_type === 'tool_call' && row['tool_call_id'] === result['tool_call_id'])
    expect(result['parent_event_id']).toBe(cause?.event_id)
  }
  const { content } = agent.model.requests[1]?.messages[2] ?? {}
  expect(content).toMatchObject([
    { tool_use_id: 'c1', content: 'a' },
    { tool_use_id: 'c2', content: 'b' },
  ])
})

it('what a tool says of its principal and policy is on its calls, also where the call is refused', async () => {
  const agent = await setUp(ask(['c1', 'pay', {}], ['c2', 'wipe', {}], ['c3', 'look', {}]), say('Done.'))
  const more = { on_behalf_of: 'service:billing', policy: { id: 'refunds', version: '7' } }
  const tools = [
    tool('pay', () => 'paid', more),
    tool('wipe', throwing('was not allowed'), { ...more, guard: { check: deny } }),
    tool('look', () => 'seen'),
  ]
  await agent.run({ tools })
  const calls = (await agent.rows()).filter((row) => row.event_type === 'tool_call')
  const byName = Object.fromEntries(calls.map((row) => [row['tool_name'], row]))
  expect(byName).toMatchObject({ pay: { outcome: 'allowed', ...more }, wipe: { outcome: 'denied', ...more } })
  expect(byName['look']).not.toHaveProperty('policy')
})

it('a tool that returns what JSON holds in part, or at no size, goes back to the model soon', async () => {
  const agent = await setUp(ask(['c1', 'find', {}], ['c2', 'all', {}]), say('I see.'))
  const user: Record<string, unknown> = { name: 'ann' }
  user['friend'] = user
  let all: unknown = 'leaf'
  for (let level = 0; level < 60; level++) all = [all, all]
  await agent.run({ tools: [tool('find', () => user), tool('all', () => all)] })
  const { content } = agent.model.requests[1]?.messages[2] ?? {}
  expect(content).toMatchObject([
    { content: '{"name":"ann","friend":"[not recorded: a cycle]"}', is_error: false },
    { content: 'expected JSON of at most 16 MiB, or of fewer values', is_error: true },
  ])
})

it('the error of a tool, a refusal and an unknown name go back to the model', async () => {
  const agent = await setUp(
    ask(['c1', 'fail', {}], ['c2', 'pay', {}], ['c3', 'wipe', {}], ['c4', 'nothing', {}], ['c5', 'quiet', {}]),
    say('I see.'),
  )
  const unreachable = throwing('was not allowed')
  const fail = tool('fail', () => {
    throw new RangeError('too far')
  })
  const tools = [
    fail,
    tool('pay', unreachable, { requires_approval: true }),
    tool('wipe', unreachable, { guard: { check: deny } }),
    tool('quiet', () => {}),
  ]
  expect(await agent.run({ tools })).toMatchObject({ stop: 'end_turn', output: 'I see.' })
  const { content } = agent.model.requests[1]?.messages[2] ?? {}
  expect(content).toMatchObject([
    { tool_use_id: 'c1', content: 'too far', is_error: true },
    { tool_use_id: 'c2', content: expect.stringContaining('pay was not run') as string, is_error: true },
    { tool_use_id: 'c3', content: expect.stringContaining('not on Sundays') as string, is_error: true },
    { tool_use_id: 'c4', content: 'no tool is called nothing', is_error: true },
    { tool_use_id: 'c5', content: '', is_error: false },
  ])
  const rows = await agent.rows()
  const lines = outline(rows)
  expect(lines).toContain('tool_call fail allowed')
  expect(lines).toContain('tool_result fail error')
  expect(lines).toContain('tool_call wipe denied not on Sundays')
  expect(lines).toContain('tool_call nothing error no such tool')
  expect(lines.filter((line) => line.startsWith('tool_call pay denied'))).toHaveLength(1)
  expect(rows.find((row) => row['outcome'] === 'error' && row.event_type === 'tool_result')).toMatchObject({
    error: 'too far',
    error_type: 'RangeError',
  })
})

it('after maxIterations the session times out', async () => {
  const agent = await setUp(ask(['c1', 'again', {}]), ask(['c2', 'again', {}]), say('never said'))
  const result = await agent.run({ tools: [tool('again', () => 'more')], maxIterations: 2 })
  expect(result).toMatchObject({ stop: 'max_iterations', steps: 2, output: '' })
  expect(outline(await agent.rows()).at(-1)).toBe('session_timeout error max_iterations_reached')
})

it('a signal between two calls ends the loop, which waits for running tools', async () => {
  const agent = await setUp(ask(['c1', 'slow', {}]), say('never said'))
  const abort = new AbortController()
  const slow = tool('slow', async () => {
    abort.abort()
    await new Promise(setImmediate)
    return 'done'
  })
  expect(await agent.run({ tools: [slow], signal: abort.signal })).toMatchObject({ stop: 'aborted', steps: 1 })
  expect(agent.model.requests).toHaveLength(1)
  expect(outline(await agent.rows()).slice(2)).toEqual([
    'tool_call slow allowed',
    'tool_result slow success',
    'session_end error aborted',
  ])
})

it('the request has no prompt and no tools where the options have none', async () => {
  const agent = await setUp(say('Hello.'))
  await agent.run({ system: '' })
  expect(Object.keys(agent.model.requests[0] ?? {}).toSorted()).toEqual(['max_tokens', 'messages', 'model'])
})

it('the loop continues a paused turn', async () => {
  const agent = await setUp(say('Still at it.', { stop_reason: 'pause_turn' }), say('Done.'))
  expect(await agent.run()).toMatchObject({ stop: 'end_turn', output: 'Done.', steps: 2 })
  expect(agent.model.requests[1]?.messages.map(({ role }) => role)).toEqual(['user', 'assistant'])
})

it('the error names all wrong options, and nothing is recorded', async () => {
  const agent = await setUp()
  const same = tool('same', () => 1)
  const wrong = {
    tools: [same, same, { name: '' }],
    maxIterations: 0,
    maxTokens: 1.5,
    client: 5,
    model: '',
    more: 1,
  } as never
  const paths = ['tools[2].name', 'tools[2].run', 'maxIterations', 'maxTokens', 'client', 'model', 'more']
  await expect(agent.run(wrong)).rejects.toMatchObject({
    code: 'OPTIONS_INVALID',
    issues: expect.arrayContaining(paths.map((path) => expect.objectContaining({ path }) as unknown)) as unknown,
  })
  await expect(agent.run({ tools: [same, same] })).rejects.toThrow('tools: expected names that differ')
  expect(await agent.rows()).toEqual([])
})

it('a tool whose call cannot be recorded does not run, and the loop ends', async () => {
  const { client, requests } = await scriptModel(ask(['c1', 'pay', {}]), say('never said'))
  const trail = openTrail({ ...NO_BROKER, spoolDir: makeTempDirectory() })
  const pay = tool('pay', throwing('was not recorded'), { guard: { durability: 'broker', timeoutMs: 20 } })
  const run = runAuditedAgent({ trail, client, model: 'm', system: '', message: 'Hi', tools: [pay] })
  await expect(run).rejects.toMatchObject({ code: 'NOT_RECORDED' })
  expect(requests).toHaveLength(1)
  await trail.close({ timeoutMs: 0 })
})

it('a tool that has run and whose result cannot be recorded ends the loop: the model would repeat it', async () => {
  const { client, requests } = await scriptModel(ask(['c1', 'pay', {}]), say('never said'))
  const trail = createTestTrail({ onResultUnavailable: 'throw', onProblem: () => {} })
  const pay = tool('pay', () => (trail.fail('full'), 'paid'))
  const run = runAuditedAgent({ trail, client, model: 'm', system: '', message: 'Hi', tools: [pay] })
  await expect(run).rejects.toMatchObject({ code: 'RESULT_NOT_RECORDED', value: 'paid' })
  expect(requests).toHaveLength(1)
})

it('examples/claude-agent.ts runs unchanged', async () => {
  const model = await scriptModel(
    ask(['c1', 'find_order', { number: '7' }], ['c2', 'cancel_order', {}]),
    say('On its way.'),
  )
  const dataDir = makeTempDirectory()
  const env = {
    ...process.env,
    ANTHROPIC_API_KEY: 'none',
    ANTHROPIC_BASE_URL: model.client.baseURL,
    AUDIT_DATA_DIR: dataDir,
  }
  const example = fileURLToPath(new URL('../../../examples/claude-agent.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, ['--conditions=agent-audit-source', example], { env })
  expect(stdout).toMatch(/^On its way\.\nend_turn: session \S+\n$/)
  expect(outline(sessionRows(dataDir))).toEqual([
    'session_start',
    'llm_call',
    'tool_call find_order allowed',
    'tool_call cancel_order denied only people cancel orders',
    'tool_result find_order success',
    'llm_call',
    'session_end success',
  ])
})
