/** The texts of a record: texts that UTF-8 cannot hold, texts that are too large, and thrown values. */
import { createTestTrail } from '@agent-audit/producer/testing'
import { describe, expect, it } from 'vitest'
import { makeTempDirectory } from '../../support/temp-directory.ts'
import { openTrail, record, sessionRows, sha256 } from '../support.ts'

describe('text', () => {
  it('lone surrogates become U+FFFD and are noted, in text and in JSON', async () => {
    const rows = await record((session) => {
      session.decision({ reasoning: 'a\ud800b', content: { 'k\udc00': 'escaped \\ud800 stays' } })
      session.toolCall({ tool_name: 't', tool_input: { z: '\ud83d', a: '😀' } })
    })
    expect(rows[0]).toMatchObject({ reasoning: 'a\ufffdb', content: { 'k\ufffd': 'escaped \\ud800 stays' } })
    expect(Object.keys(rows[0]?.['field_notes'] as object).toSorted()).toEqual(['content', 'reasoning'])
    expect(rows[1]?.['tool_input']).toEqual({ a: '😀', z: '\ufffd' })
    expect(rows[1]?.['arguments_sha256']).toBe(sha256('{"a":"😀","z":"\ufffd"}'))
  })

  it('a record that is too large loses the end of its longest field, whose length and digest are kept', async () => {
    const output = '🎉é'.repeat(10_000)
    const reasoning = 'r'.repeat(1000)
    const [row, next] = await record(
      (session) => {
        session.llmCall({ input_messages: [], output_text: output, reasoning })
        session.decision({ reasoning: 'whole' })
      },
      { maxRecordBytes: 8192 },
    )
    const kept = row?.['output_text'] as string
    expect(output.startsWith(kept)).toBe(true)
    expect(Buffer.byteLength(kept)).toBeGreaterThan(5500)
    expect(kept).not.toContain('\ufffd')
    expect(row).toMatchObject({
      reasoning,
      field_notes: { output_text: { cut: { bytes: 60_000, sha256: sha256(output) } } },
    })
    expect(next).toMatchObject({ reasoning: 'whole' })
  })

  it('a record within the limit keeps its text whole, however many bytes a character takes', async () => {
    const reasoning = 'é'.repeat(3500)
    const rows = await record((session) => session.decision({ reasoning }), {
      maxRecordBytes: 8192,
      onOversize: 'refuse',
    })
    expect(rows).toMatchObject([{ reasoning }])
  })

  it('a record loses the ends of several fields where one is not enough', async () => {
    const text = 'x'.repeat(9000)
    const [row] = await record(
      (session) =>
        session.llmCall({ input_messages: [text], output_text: text, reasoning: text, tool_calls_requested: [] }),
      { maxRecordBytes: 4096 },
    )
    expect(Object.keys(row?.['field_notes'] as object).length).toBeGreaterThan(1)
  })

  it('a session refuses a record that is too large if the caller chose so, or if no text can be cut', async () => {
    const tooLarge: unknown = expect.objectContaining({ code: 'RECORD_TOO_LARGE' })
    const large = 'x'.repeat(9000)
    await record((session) => expect(() => session.decision({ reasoning: large })).toThrow(tooLarge), {
      maxRecordBytes: 4096,
      onOversize: 'refuse',
    })
    await record((session) => expect(() => session.toolCall({ tool_name: large, tool_input: {} })).toThrow(tooLarge), {
      maxRecordBytes: 4096,
    })
  })

  it('a session takes records far larger than its buffers', async () => {
    const texts = ['small', 'y'.repeat(3_000_000), 'small again']
    const rows = await record((session) => texts.forEach((reasoning) => session.decision({ reasoning })), {
      maxRecordBytes: 8 * 2 ** 20,
    })
    expect(rows.map((row) => (row['reasoning'] as string).length)).toEqual(texts.map((text) => text.length))
  })
})

it('a session describes any thrown value, and never throws while it does', async () => {
  const hostile = new Proxy(
    {},
    {
      get: () => {
        throw new Error('no')
      },
    },
  )
  const rows = await record((session) => {
    session.error(hostile)
    session.error(null)
    session.error({ reason: 'no message' })
    session.error(42n)
  })
  expect(rows.map((row) => [row['error'], row['error_type']])).toMatchObject([
    [expect.any(String), expect.any(String)],
    ['null', expect.any(String)],
    ['{"reason":"no message"}', 'Object'],
    ['42', 'bigint'],
  ])
})

const huge = (): Error => new RangeError('m'.repeat(100_000))

describe('a huge error', () => {
  const SMALL = { maxRecordBytes: 4096, onOversize: 'refuse' } as const

  it('is what withSession throws, and its record has less text', async () => {
    const dataDir = makeTempDirectory()
    const problems: unknown[] = []
    const trail = openTrail({ dataDir, ...SMALL, onProblem: (problem) => problems.push(problem) })
    const error = huge()
    await expect(trail.withSession({}, () => Promise.reject(error))).rejects.toBe(error)
    await trail.close()
    const [, failed, ended] = sessionRows(dataDir)
    expect(failed).toMatchObject({
      event_type: 'error',
      error_type: 'RangeError',
      field_notes: { error: { cut: { bytes: 100_000, sha256: sha256(error.message) } } },
    })
    expect(failed?.['error']).toMatch(/^m{3000,}$/)
    expect(ended).toMatchObject({ event_type: 'session_end', outcome: 'error' })
    expect(problems).toEqual([])
  })

  it('is what a guard throws, and its result is recorded with less text', async () => {
    const error = huge()
    let thrown: unknown
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir, ...SMALL, guardTimeoutMs: 60_000 })
    const work = (): never => {
      throw error
    }
    const session = trail.startSession()
    await session.guard({ tool_name: 't', tool_input: {} }, work).catch((caught: unknown) => (thrown = caught))
    expect(thrown).toBe(error)
    await trail.close()
    expect(sessionRows(dataDir).at(-1)).toMatchObject({
      event_type: 'tool_result',
      outcome: 'error',
      error: expect.stringMatching(/^m{2900,}$/) as unknown,
      field_notes: { error: { cut: { bytes: 100_000 } } },
    })
  })

  it.each(['refuse', 'cut'] as const)(
    'with a huge name and code too is recorded: onOversize %s',
    async (onOversize) => {
      const long = 'n'.repeat(100_000)
      const [row] = await record(
        (session) => session.error(Object.assign(new TypeError('short'), { name: long, code: long })),
        { ...SMALL, onOversize },
      )
      expect(row).toMatchObject({ error: 'short', error_type: 'TypeError' })
      expect(row).not.toHaveProperty('content')
    },
  )

  it('does not let another text of its event be cut', async () => {
    await record((session) => {
      const call = { tool_call_id: 'c1', tool_name: 't', tool_output: 'o'.repeat(9000), error: huge() }
      expect(() => session.toolResult(call)).toThrow(expect.objectContaining({ code: 'RECORD_TOO_LARGE' }))
    }, SMALL)
  })

  it('withSession throws what its work throws, and returns what it returns, when nothing can be recorded', async () => {
    const problems: { code: string }[] = []
    const trail = createTestTrail({ ...SMALL, onProblem: (problem) => problems.push(problem) })
    const start = { session_id: 's1', agent_id: 'a'.repeat(SMALL.maxRecordBytes) }
    const fits = (): boolean => {
      try {
        return trail.startSession(start).session_id === 's1'
      } catch {
        return false
      }
    }
    while (!fits()) start.agent_id = start.agent_id.slice(1)
    const error = new Error('own')
    // The first event just fits: the next one carries a reference to it too, and does not fit.
    await expect(trail.withSession(start, () => Promise.reject(error))).rejects.toBe(error)
    expect(await trail.withSession(start, () => 'done')).toBe('done')
    expect(problems.map(({ code }) => code)).toContain('RECORD_TOO_LARGE')
  })
})
