/** Redaction by rules of the caller; it takes linear time under all rules. */
import { createAuditTrail } from '@agent-audit/producer'
import { describe, expect, it } from 'vitest'
import { fake, inputOf, outputsOf } from './redaction-support.ts'
import { openTrail, record, sessionRows } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

describe('rules of the caller', () => {
  it('keys match whole names in any case, and patterns, also in text', async () => {
    const keys = ['customer_ssn', /^internal/g]
    const input = {
      CustomerSSN: 'a',
      customer_ssn_note: 'b',
      rows: [{ internalId: 1 }, { internalId: 2 }],
      password: 'p',
    }
    const { tool_input: left } = await inputOf(input, { keys })
    expect(left).toEqual({
      CustomerSSN: '[redacted:key]',
      customer_ssn_note: 'b',
      password: '[redacted:key]',
      rows: [{ internalId: '[redacted:key]' }, { internalId: '[redacted:key]' }],
    })
    expect(await outputsOf(['customer-ssn=12345'], { keys })).toEqual(['customer-ssn=[redacted:key]'])
  })

  it('paths name whole fields, and values in fields of JSON', async () => {
    const paths = ['input_messages[*].content', 'content.*.name', 'reason', 'tool_output.rows[1]', 'user_id']
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir, redact: { paths } })
    const session = trail.startSession({ user_id: 'u1' })
    session.llmCall({ input_messages: [{ role: 'user', content: [1] }], output_text: 'content', reason: 'because' })
    session.toolResult({
      tool_call_id: 'c',
      tool_name: 't',
      tool_output: { rows: [1, 2, 3] },
      content: { a: { name: 'n', x: 1 } },
    })
    await trail.close()
    const [, call, result] = sessionRows(dataDir)
    expect(call).toMatchObject({
      input_messages: [{ role: 'user', content: '[redacted:path]' }],
      output_text: 'content',
      reason: '[redacted:path]',
      user_id: '[redacted:path]',
      field_notes: { input_messages: { redacted: { path: 1 } }, reason: { redacted: { path: 1 } } },
    })
    expect(result).toMatchObject({
      tool_output: '{"rows":[1,"[redacted:path]",3]}',
      content: { a: { name: '[redacted:path]', x: 1 } },
    })
  })

  it('patterns find personal data by form and check digits', async () => {
    const pairs = [
      ['write to Ann.Lee+x@mail.example.co.uk, please', 'write to [redacted:email], please'],
      ['4111 1111 1111 1111 12/25', '[redacted:card] 12/25'],
      ['12 5500-0000-0000-0004, 378282246310005.', '12 [redacted:card], [redacted:card].'],
      ['4111 1111 1111 1112 and 1732485297000123', '4111 1111 1111 1112 and 1732485297000123'],
      ['IBAN DE89 3704 0044 0532 0130 00 AND MORE', 'IBAN [redacted:iban] AND MORE'],
      ['DE88370400440532013000 GB82WEST12345698765432', 'DE88370400440532013000 [redacted:iban]'],
      ['call +49 (30) 123-4567 or (555) 123-4567', 'call [redacted:phone] or [redacted:phone]'],
    ] as const
    const redact = { patterns: ['email', 'card', 'iban', 'phone'] } as const
    expect(
      await outputsOf(
        pairs.map(([text]) => text),
        redact,
      ),
    ).toEqual(pairs.map(([, expected]) => expected))
    expect(await outputsOf([fake.github], redact)).toEqual(['[redacted:github_token]'])
    const row = await inputOf({ 'ann@x.org': 1, 'bob@x.org': 4111111111111111, n: 5 }, redact)
    expect(row['tool_input']).toEqual({ '[redacted:email]': 1, '[redacted:email]#2': '[redacted:card]', n: 5 })
    expect(row['field_notes']).toEqual({ tool_input: { redacted: { email: 2, card: 1 } } })
  })

  it.each([/case-\d+/, /case-\d+/g, /case-\d+/y, /CASE-\d+/giu, /(case-\d+)?/])(
    'a pattern may have any flags: %s',
    async (pattern) => {
      pattern.lastIndex = 3
      const redact = { patterns: [{ name: 'case', pattern }] }
      const outputs = await outputsOf(['see case-1, case-22', 'see case-1, case-22'], redact)
      expect(outputs).toEqual(Array(2).fill('see [redacted:case], [redacted:case]'))
      expect(pattern.lastIndex).toBe(3)
    },
  )

  it('custom receives each text last, with its path', async () => {
    const seen: [string, string][] = []
    const custom = (text: string, path: string): string => {
      seen.push([path, text])
      return text.replace('blue', '<colour>')
    }
    const row = await inputOf({ a: ['blue', fake.github], b: 'red' }, { custom })
    expect(row['tool_input']).toEqual({ a: ['<colour>', '[redacted:github_token]'], b: 'red' })
    expect(row['field_notes']).toMatchObject({ tool_input: { redacted: { custom: 1, github_token: 1 } } })
    expect(seen).toContainEqual(['tool_input.a[1]', '[redacted:github_token]'])
  })

  it.each([
    [
      'throws',
      (text: string) => {
        if (text.includes('hidden')) throw new Error(`cannot: ${text}`)
        return text
      },
    ],
    ['returns no text', (text: string) => (text.includes('hidden') ? (undefined as never) : text)],
  ])('a rule that %s drops the field, keeps the event, and notes it', async (_what, custom) => {
    const rows = await record(
      (session) => {
        session.toolResult({ tool_call_id: 'c', tool_name: 't', tool_output: { a: 'hidden' }, content: { b: 'seen' } })
        session.toolResult({ tool_call_id: 'c', tool_name: 't', error: new Error('hidden') })
      },
      { redact: { custom } },
    )
    expect(rows[0]).toMatchObject({ content: { b: 'seen' }, field_notes: { tool_output: { redaction_failed: true } } })
    expect(rows[1]).toMatchObject({
      outcome: 'error',
      error_type: 'Error',
      field_notes: { error: { redaction_failed: true } },
    })
    expect(JSON.stringify(rows)).not.toContain('hidden')
  })

  it('a key named __proto__ is a key like any other', async () => {
    const { tool_input: input } = await inputOf(JSON.parse('{"__proto__":{"password":"x"},"a":1}'))
    expect(JSON.stringify(input)).toBe('{"__proto__":{"password":"[redacted:key]"},"a":1}')
  })

  it('the error names every wrong rule', () => {
    const redact = { paths: ['a..b'], patterns: ['mail'], keys: [1], custom: 'x', more: 1 } as never
    const attempt = (): unknown => createAuditTrail({ agentId: 'a', dataDir: 'd', redact })
    expect(attempt).toThrow(
      expect.objectContaining({
        code: 'OPTIONS_INVALID',
        issues: expect.arrayContaining(
          ['redact.paths[0]', 'redact.patterns[0]', 'redact.keys[0]', 'redact.custom', 'redact.more'].map(
            (path) => expect.objectContaining({ path }) as unknown,
          ),
        ) as unknown,
      }),
    )
    expect(() => createAuditTrail({ agentId: 'a', redact: 'on' as never })).toThrow(/redact: .*"secrets"\|"off"/)
    expect(() => createAuditTrail({ agentId: 'a', redact: { paths: ['nothing.x'] } })).toThrow(/redact\.paths\[0\]/)
  })
})

it('redaction takes time in proportion to the length of the text, for any text', async () => {
  const units = {
    'one long word': 'a',
    operators: '=',
    'names without values': 'token:',
    'quotes that never close': 'password="\\',
    'starts of tokens': 'eyJ-',
    'starts of keys': '-----BEGIN PRIVATE KEY-----\n',
    'at signs': 'a@a.',
    URLs: '://a:b',
    digits: '4 ',
    'starts of accounts': 'DE89 ',
    'plus signs': '+4 (.',
    bearers: 'Bearer a.1',
    spaces: ' ',
    backslashes: '\\',
    'tokens side by side': 'ghp_',
    'parameters without values': '&token=',
    'values in brackets': 'token]:[a1',
    'calls behind names': 'pass=a(',
    options: '--a',
    'options with values': 'login -p x ',
    'programs and quotes': `login '"`,
    users: ' -u a:',
    headers: '"cookie:',
    'elements of XML': '<password>',
  }
  const small = 50_000
  const growth: Record<string, number> = {}
  await record(
    (session) => {
      const cost = (unit: string, length: number): number => {
        // The end makes the cheap tests succeed, so that every text is searched whole.
        const tool_output = [`${unit.repeat(Math.ceil(length / unit.length))} @ token= +49 Bearer `]
        const start = process.threadCpuUsage()
        session.toolResult({ tool_call_id: 'c', tool_name: 't', tool_output })
        const { user, system } = process.threadCpuUsage(start)
        return user + system
      }
      for (const [what, unit] of Object.entries(units)) {
        cost(unit, small) // Compiles the code.
        const [one = 0, eight = 0] = [small, 8 * small].map((length) => {
          return Math.min(...[1, 2, 3].map(() => cost(unit, length)))
        })
        // Times below 2 ms are too short to measure.
        growth[what] = eight / Math.max(one, 2000)
      }
    },
    { redact: { patterns: ['email', 'card', 'iban', 'phone'] } },
  )
  // Eight times the text is eight times the work, and 64 times if it were quadratic.
  expect(Object.entries(growth).filter(([, times]) => times > 24)).toEqual([])
})
