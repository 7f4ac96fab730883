/** Records that a hostile producer wrote: no event makes a session unreadable, and no text acts on the reader's terminal. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text as textOf } from 'node:stream/consumers'
import { changesSince, sessionTrail } from '@agent-audit/analytics'
import { runCli } from '@agent-audit/cli'
import { NEWEST_SCHEMA } from '@agent-audit/schemas'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type SeedRow, seedEvents } from '../analytics/seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../analytics/support.ts'

/** Fields that `trail` shows. */
const SHOWN = NEWEST_SCHEMA.fields.filter(({ optional }) => optional).map(({ name }) => name)
const MAX_LONG = '9223372036854775807'
const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)

describe.skipIf(NO_CLICKHOUSE !== undefined)(`hostile records ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  /** Seeds the rows between two ordinary events. @returns The outputs of each command, after it has ended with 0. */
  async function show(rows: readonly SeedRow[], session = 's1') {
    const trail = await tests.newTrail()
    const ordinary = { event_type: 'final_output', session_id: session }
    const all = [{ ...ordinary, output_text: 'before' }, ...rows, { ...ordinary, output_text: 'after' }]
    const start = Date.now() - 60_000
    await seedEvents(
      trail.server,
      all.map((row, index) => ({
        log_offset: index,
        timestamp: new Date(start + index * 1000).toISOString().replace('T', ' ').replace('Z', '001'),
        ...row,
      })),
    )
    const { url, username, password, database } = trail.server
    const env = {
      CLICKHOUSE_URL: url,
      CLICKHOUSE_USER: username,
      CLICKHOUSE_PASSWORD: password,
      CLICKHOUSE_DATABASE: database,
    }
    const run = async (...args: string[]): Promise<string> => {
      const out: string[] = []
      let err = ''
      const terminal = { out: (text: string) => out.push(text), err: (text: string) => (err += text) }
      const code = await runCli(args, { ...terminal, env, colors: false })
      expect([code, err]).toEqual([0, ''])
      return out.join('')
    }
    const events = await sessionTrail(trail, session)
    expect(events).toHaveLength(all.length)
    const [text, full, json] = [
      await run('trail', session),
      await run('trail', session, '--full'),
      await run('trail', session, '--json'),
    ]
    expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify(events)))
    for (const shown of [text, full]) expect(shown).toMatch(/\bbefore\n[^]*\bafter\n/)
    const [sessions, agents] = [await run('sessions'), await run('agents')]
    const lists = { sessions: await run('sessions', '--json'), agents: await run('agents', '--json') }
    return { text, full, json, sessions, agents, lists, events }
  }

  it.each(['content', 'tool_input', 'tool_calls_requested', 'input_messages', 'field_notes', 'policy', 'approval'])(
    '%s that nests 6000 levels deep stays text, and hides no event of its session',
    async (field) => {
      const types = ['tool_call', 'llm_call', 'user_message', 'human_intervention', 'acme.custom']
      const { events, text } = await show(
        types.map((event_type) => ({ event_type, approver_id: 'ann', [field]: nested(6000) })),
      )
      expect(events.slice(1, -1).map((event) => event[field as 'content'])).toEqual(types.map(() => nested(6000)))
      expect(text.split('\n')).toHaveLength(events.length + 5)
    },
  )

  it('JSON of 256 levels is parsed, of 257 levels it stays text; brackets in strings do not count', async () => {
    const quoted = JSON.stringify({ note: `"${'['.repeat(1000)}` })
    const { events } = await show([256, 257].map((depth) => ({ content: nested(depth) })).concat({ content: quoted }))
    expect(events.slice(1, -1).map(({ content }) => content)).toEqual([
      JSON.parse(nested(256)),
      nested(257),
      JSON.parse(quoted),
    ])
  })

  it('changesSince gives an event that nests 6000 levels deep, and the ones after it', async () => {
    const trail = await tests.newTrail()
    await seedEvents(trail.server, [
      { log_offset: 0, content: nested(6000) },
      { log_offset: 1, content: '{}' },
    ])
    const contents: unknown[] = []
    for await (const { content } of changesSince(trail, [])) contents.push(content)
    expect(contents).toEqual([nested(6000), {}])
  })

  it('100,000 keys, a line of 1 MB, and values that grow when they are indented are shown', async () => {
    const keys = Object.fromEntries(Array.from({ length: 100_000 }, (_, index) => [`key ${index}`, index]))
    const grows = `${'['.repeat(250)}${'1,'.repeat(200_000)}1${']'.repeat(250)}`
    const { text, full } = await show([
      { event_type: 'tool_call', tool_input: keys },
      { event_type: 'llm_call', output_text: 'x'.repeat(2 ** 20) },
      { event_type: 'tool_call', tool_input: grows },
    ])
    expect(text.length).toBeLessThan(5000)
    expect(full.length).toBeLessThan(10 * 2 ** 20)
  })

  it('a type of event that every object has as a method is shown as any other type', async () => {
    const types = ['valueOf', 'constructor', '__proto__', '__defineGetter__', 'toString']
    const { text } = await show(types.map((event_type) => ({ event_type, reason: 'the reason' })))
    for (const type of types) expect(text).toMatch(new RegExp(`${type} +the reason\n`))
  })

  it('numbers: a large double, and integers that a double cannot hold, keep their digits', async () => {
    const input = '{"account":12345678901234567890,"limit":1e999}'
    const { text, events, json } = await show([
      { event_type: 'tool_call', tool_input: input, cost_usd: 1e17 },
      { event_type: 'tool_call', step_number: '-9223372036854775808', tool_input: '{"plain":0.5}' },
    ])
    expect(events[1]).toMatchObject({ tool_input: input, cost_usd: 1e17 })
    expect(JSON.parse(json)).toMatchObject([{}, { tool_input: input }, { tool_input: { plain: 0.5 } }, {}])
    expect(text).toContain('{"account":12345678901234567890')
    expect(text).toContain('  -9223372036854775808  tool_call')
  })

  it('sums of tokens above 64 bits have every digit', async () => {
    const call = { event_type: 'llm_call', input_tokens: MAX_LONG, output_tokens: '-9007199254740993' }
    const { text, sessions, agents, lists } = await show([call, call])
    const [input, output] = ['18,446,744,073,709,551,614', '-18,014,398,509,481,986']
    expect(text).toContain(`tokens ${input} in, ${output} out`)
    expect(sessions).toMatch(new RegExp(`${input} +${output}\n`))
    expect(agents).toMatch(new RegExp(`${input} +${output} `))
    const exact = { input_tokens: '18446744073709551614', output_tokens: '-18014398509481986' }
    for (const list of [lists.sessions, lists.agents]) expect(JSON.parse(list)).toMatchObject([{ exact }])
  })

  it('ids and types of 100,000 characters are shortened in tables, and whole in --json', async () => {
    const long = 'i'.repeat(100_000)
    const agentsOfSession = Array.from({ length: 100 }, (_, index) => ({ agent_id: `${index} ${long}` }))
    const ended = { event_type: 'session_end', outcome: long, user_id: long }
    const one = await show([{ user_id: long, event_type: long }, ended, ...agentsOfSession])
    const other = await show([{ ...ended, session_id: long.slice(0, 60_000) }], long.slice(0, 60_000))
    for (const shown of [one.text, one.sessions, one.agents, other.text, other.sessions, other.agents]) {
      expect(shown.length).toBeLessThan(50_000)
    }
    expect(other.sessions).toContain(`${'i'.repeat(63)}…`)
    expect(other.lists.sessions).toContain(long.slice(0, 60_000))
    expect(one.lists.agents).toContain(`49 ${long}`)
  })

  it('characters that a terminal obeys or does not show are escapes, in tables and in --json', async () => {
    const hidden = [
      '\u007f',
      '\u009b',
      '\u061c',
      '\u200b',
      '\u200d',
      '\u200e',
      '\u202e',
      '\u2066',
      '\ufeff',
      '\u3164',
      '\u{e0041}',
    ]
    const { text, full, json, sessions, agents, lists, events } = await show(
      hidden.map((character) => ({ agent_id: `support${character}`, output_text: `x${character}y \u26a0\ufe0f` })),
    )
    expect(events[1]?.agent_id).toBe('support\u007f')
    const printed = [text, full, json, sessions, agents, lists.sessions, lists.agents].join('')
    for (const character of hidden) expect(printed).not.toContain(character)
    expect(agents).toContain('support\\ufeff ')
    expect(agents).toContain('support\\u{e0041} ')
    expect(lists.agents).toContain('"support\\udb40\\udc41"')
    expect(text).toContain('\u26a0\ufe0f')
  })
})

it('an event that the command cannot show has a line that says so, and hides no other', async () => {
  // No row of a real table is like this one: it stands for a mistake of the command.
  const event = {
    timestamp: '2026-11-24T10:00:00.000Z',
    event_type: 'error',
    session_id: 's1',
    agent_id: 'a',
    step_number: 0,
  }
  const whole = { ...event, ...Object.fromEntries(SHOWN.map((name) => [name, null])), log_partition: 0, log_id: '0a' }
  const summed = [0, 1, 2].map(() => `${JSON.stringify(whole)}\n`).join('')
  const rows = ['before', null, 'after'].map((error, index) => ({ ...whole, error, log_offset: String(index) }))
  const read = rows.map((row) => `${JSON.stringify(row.error === null ? { ...row, timestamp: null } : row)}\n`).join('')
  const server = createServer((request, response) => {
    void textOf(request).then((query) => {
      if (query.includes('getSetting')) return response.end('{"readonly":0}\n')
      if (query.includes('firstTime,') || query.includes('AS firstTime')) return response.end('{"firstTime":"0"}\n')
      return response.end(query.includes('tool_input') ? read : summed)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const env = { CLICKHOUSE_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
  let out = ''
  const code = await runCli(['trail', 's1'], {
    out: (more) => (out += more),
    err: (more) => (out += more),
    env,
    colors: false,
  })
  expect(code).toBe(0)
  expect(out).toMatch(/before\nthe event at 0a\/0\/1 cannot be shown: TypeError[^\n]*\n[^\n]*after\n$/)
})
