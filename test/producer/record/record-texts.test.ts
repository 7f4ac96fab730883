/** The texts of a record: texts that UTF-8 cannot hold, texts that are too large, and thrown values. */
import { describe, expect, it } from 'vitest'
import { record, sha256 } from '../support.ts'

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
