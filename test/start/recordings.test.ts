import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { gunzipSync, gzipSync } from 'node:zlib'
import type { TrailEvent } from '@agent-audit/analytics'
import { openDataDir } from '@agent-audit/embedded'
import { kafkaAvailability } from '@agent-audit/stack'
import { describe, expect, it, onTestFinished } from 'vitest'
import { command, lines, NO_CLICKHOUSE, recordedSession, start, summaryOf, trailOf, writeRecording } from './support.ts'
import { makeTempDirectory } from '../support/temp-directory.ts'

const SESSIONS_FILE = process.env['AUDIT_SESSIONS_FILE'] ?? ''
const NO_SESSIONS = existsSync(SESSIONS_FILE)
  ? undefined
  : '(skipped: set AUDIT_SESSIONS_FILE to a file of recorded sessions)'
const kafka = kafkaAvailability()
const NO_KAFKA = kafka.available ? undefined : `(skipped: ${kafka.reason})`

/** Maven may have to fetch Kafka's jars first. */
const KAFKA_TIMEOUT_MS = 240_000

/** The 100 sessions hold 100 system, 686 user, 1163 assistant and 577 tool messages. */
const EXPECTED = {
  final_output: 100,
  llm_call: 1163,
  session_end: 100,
  session_start: 100,
  tool_call: 577,
  tool_result: 577,
  trail_started: 1,
  trail_stopped: 1,
  user_message: 586,
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`npm start --replay ${NO_CLICKHOUSE ?? ''}`, () => {
  it.each([
    ['plain', 'sessions.jsonl', (text: string) => Buffer.from(text)],
    ['gzip', 'sessions', (text: string) => gzipSync(text)],
  ])('records a %s file as it was: calls paired with results, nothing made up', async (_, name, pack) => {
    const dataDir = makeTempDirectory()
    const recorded = recordedSession('S1')
    const file = writeRecording(name, pack(lines(recorded, recordedSession('S2'))))
    const run = await start(['--data-dir', dataDir, '--replay', file, '--json'])
    expect(run).toMatchObject({ exitCode: 0 })
    expect(summaryOf(run)).toMatchObject({ accepted: 24, stored: 24, sessions: 2 })

    const events = await trailOf(dataDir, 'S1')
    expect(events.map((event) => event.event_type)).toEqual([
      'session_start',
      'llm_call',
      'tool_call',
      'tool_call',
      'tool_result',
      'tool_result',
      'llm_call',
      'user_message',
      'tool_result',
      'final_output',
      'session_end',
    ])
    const [began, asked, find, look, first, second, answered, thanks, stray, output, ended] = events
    expect(began).toMatchObject({
      agent_id: 'desk',
      model_id: 'm-1',
      user_id: 'u-1',
      system_prompt_hash: createHash('sha256').update('Be brief.').digest('hex'),
      content: { user_message: 'Two lookups, please.', tools_available: ['find', 'look', 'stray'] },
      field_notes: { timestamp: { synthetic: true } },
    })
    expect(asked).toMatchObject({ parent_event_id: began?.event_id, output_text: null })
    expect(find).toMatchObject({ parent_event_id: asked?.event_id, tool_call_id: 'c1', tool_input: { a: 2, b: 1 } })
    // Arguments that are no JSON stay the text they are.
    expect(look).toMatchObject({ parent_event_id: asked?.event_id, tool_call_id: 'c1', tool_input: '{broken' })
    // The same id twice: the oldest open call is answered first.
    expect(first).toMatchObject({ parent_event_id: find?.event_id, tool_name: 'find', tool_output: 'first' })
    expect(second).toMatchObject({ parent_event_id: look?.event_id, tool_name: 'look', tool_output: 'second' })
    expect(answered).toMatchObject({ parent_event_id: second?.event_id, output_text: 'Found both.' })
    expect(thanks).toMatchObject({ content: { message: 'Thanks.' } })
    expect(stray).toMatchObject({ tool_call_id: 'c9', tool_name: 'stray', tool_output: 'no call has this id' })
    expect(output).toMatchObject({ parent_event_id: answered?.event_id, output_text: 'Found both.' })
    expect(ended).toMatchObject({ content: { reward: 0.5 } })
    for (const call of [asked, answered]) {
      expect(call).toMatchObject({
        input_tokens: null,
        output_tokens: null,
        latency_ms: null,
        cost_usd: null,
        stop_reason: null,
      })
    }
    // Each call records the messages that are new to it; together they are the recording.
    const messages = recorded['messages'] as unknown[]
    expect(asked?.input_messages).toEqual(messages.slice(0, 2))
    expect(answered).toMatchObject({
      input_messages: messages.slice(2, 5),
      field_notes: { input_messages: { from: 2, count: 5 } },
    })
  })

  it('takes parts, later system messages and unnamed tools, and leaves no message out', async () => {
    const dataDir = makeTempDirectory()
    const messages = [
      { role: 'assistant', content: 'Hello!' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Look at' },
          { type: 'image_url', image_url: { url: 'x' } },
        ],
        name: 'Kim',
      },
      {
        role: 'assistant',
        content: [
          { type: 'text', text: 'One ' },
          { type: 'text', text: 'picture.' },
        ],
        refusal: null,
      },
      { role: 'developer', content: 'Stay calm.' },
      { role: 'system', content: 'Stay very calm.' },
      { role: 'assistant', tool_calls: [{ id: 'k', function: { name: 'zoom', arguments: '{}' } }] },
      { role: 'tool', tool_call_id: 'k', content: 'closer' },
      { role: 'tool', tool_call_id: 'k', content: 'again' },
    ]
    const file = writeRecording('parts.jsonl', lines({ session_id: 'P', task: { id: 4 }, messages }))
    const run = await start(['--data-dir', dataDir, '--replay', file])
    expect(run).toMatchObject({ exitCode: 0 })
    expect(run.stdout).toMatch(/^system +2 +session_start 1, replay.system_message 1$/m)
    expect(run.stdout).toMatch(/^total +8 +every message is accounted for$/m)
    const events = await trailOf(dataDir, 'P')
    const texts = events.filter(({ event_type: type }) => type === 'llm_call').map((event) => event.output_text)
    expect(texts).toEqual(['Hello!', 'One picture.', null])
    const results = events.filter(({ event_type: type }) => type === 'tool_result').map((event) => event.tool_name)
    expect(results).toEqual(['zoom', 'unknown'])
    expect(events[0]).toMatchObject({ content: { user_message: messages[1]?.content, name: 'Kim' } })
    expect(events.find(({ event_type: type }) => type === 'final_output')?.output_text).toBe('One picture.')
    expect(events.at(-1)).toMatchObject({ event_type: 'session_end', content: { task: { id: 4 } } })
  })

  it.skipIf(NO_SESSIONS !== undefined)(
    `accounts for each of 2,526 recorded messages ${NO_SESSIONS ?? ''}`,
    async () => {
      const dataDir = makeTempDirectory()
      const run = await start(['--data-dir', dataDir, '--replay', SESSIONS_FILE, '--json'])
      expect(run).toMatchObject({ exitCode: 0 })
      expect(summaryOf(run)).toMatchObject({ accepted: 3205, stored: 3205, sessions: 100, by_type: EXPECTED })
      for (const row of [
        /^system +100 +session_start 100$/m,
        /^user +686 +session_start 100, user_message 586$/m,
        /^assistant +1,163 +llm_call 1,163$/m,
        /^tool +577 +tool_result 577$/m,
        /^total +2,526 +/m,
      ]) {
        expect(run.stdout).toMatch(row)
      }
      const recorded = readSessions()
      // Each look attaches to this server, and does not start one.
      const server = await openDataDir(dataDir)
      onTestFinished(() => server.close())
      for (const { session, messages } of [...recorded.slice(0, 5), ...recorded.slice(-5)]) {
        expectWhole(await trailOf(dataDir, session), messages)
      }
    },
  )

  it.skipIf(NO_SESSIONS !== undefined || NO_KAFKA !== undefined)(
    `sends the same through a real Kafka ${NO_SESSIONS ?? ''} ${NO_KAFKA ?? ''}`,
    async () => {
      const dataDir = makeTempDirectory()
      const args = ['--data-dir', dataDir, '--replay', SESSIONS_FILE, '--json', '--kafka']
      const run = await start(args)
      expect(run).toMatchObject({ exitCode: 0 })
      expect(summaryOf(run)).toMatchObject({ accepted: 3205, stored: 3205, sessions: 100, by_type: EXPECTED })
      const [last] = readSessions().slice(-1)
      expectWhole(await trailOf(dataDir, last?.session ?? ''), last?.messages ?? [])
      // The broker keeps its data in the directory too: a second run adds to the same log.
      expect(await start(['--data-dir', dataDir, '--kafka', '--sessions', '20'])).toMatchObject({ exitCode: 0 })
      const verified = await command(dataDir, ['verify', '--completeness', '--json'])
      const { verdict, runs, partitions } = JSON.parse(verified.stdout) as {
        verdict: string
        runs: unknown[]
        partitions: unknown[]
      }
      expect({ verdict, runs: runs.length, partitions: partitions.length }).toEqual({
        verdict: 'complete',
        runs: 2,
        partitions: 4,
      })
    },
    KAFKA_TIMEOUT_MS,
  )
})

interface Recorded {
  readonly session: string
  readonly messages: readonly { role: string; content: unknown; tool_calls?: unknown[] }[]
}

function readSessions(): Recorded[] {
  const text = gunzipSync(readFileSync(SESSIONS_FILE)).toString('utf8')
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Recorded)
}

/** The trail holds the conversation: its messages, and every result under its call, every call under its llm_call. */
function expectWhole(events: readonly TrailEvent[], messages: Recorded['messages']): void {
  const byId = new Map(events.map((event) => [event.event_id, event]))
  const calls = events.filter(({ event_type: type }) => type === 'llm_call')
  const lastCall = messages.findLastIndex(({ role }) => role === 'assistant')
  expect(calls.flatMap((event) => event.input_messages as unknown[])).toEqual(messages.slice(0, lastCall))
  expect(calls.map((event) => event.output_text)).toEqual(
    messages.filter(({ role }) => role === 'assistant').map(({ content }) => content),
  )
  const results = events.filter(({ event_type: type }) => type === 'tool_result')
  expect(results.map((event) => event.tool_output)).toEqual(
    messages.filter(({ role }) => role === 'tool').map(({ content }) => content),
  )
  const answered = results.map((event) => byId.get(event.parent_event_id ?? ''))
  expect(answered.map((call) => call?.event_type)).toEqual(results.map(() => 'tool_call'))
  expect(answered.map((call) => call?.tool_call_id)).toEqual(results.map((event) => event.tool_call_id))
  expect(new Set(answered).size).toBe(results.length)
  for (const call of answered) expect(byId.get(call?.parent_event_id ?? '')?.event_type).toBe('llm_call')
  expect(events.every((event) => (event.field_notes as { timestamp?: unknown }).timestamp !== undefined)).toBe(true)
}
