import { createHash } from 'node:crypto'
import { inspect } from 'node:util'
import {
  type AuditSession,
  createAuditTrail,
  InvalidInputError,
  type RedactionRules,
  type Ruling,
} from '@agent-audit/producer'
import { describe, expect, it } from 'vitest'
import { makeTempDirectory, openTrail, readRows, type Row, sessionRows } from './support.ts'

type Redact = 'secrets' | 'off' | RedactionRules | undefined

async function record(work: (session: AuditSession) => void, redact?: Redact): Promise<Row[]> {
  const dataDir = makeTempDirectory()
  const trail = openTrail({ dataDir, redact })
  work(trail.startSession({ session_id: 's1' }))
  await trail.close()
  return sessionRows(dataDir).slice(1)
}

/** What is recorded of texts, as outputs of a tool. */
async function outputsOf(texts: readonly string[], redact?: Redact): Promise<string[]> {
  const rows = await record((session) => {
    for (const text of texts) session.toolResult({ tool_call_id: 'c', tool_name: 't', tool_output: text })
  }, redact)
  return rows.map(({ tool_output: output }) => String(output))
}

async function inputOf(input: unknown, redact?: Redact): Promise<Row> {
  const [row] = await record((session) => void session.toolCall({ tool_name: 't', tool_input: input }), redact)
  if (row === undefined) throw new Error('no row')
  return row
}

// Put together here, so that no scanner takes this file for a leak.
const fake = {
  aws: ['AKIA', 'IOSFODNN7EXAMPLE'].join(''),
  github: `ghp_${'a1B2'.repeat(9)}`,
  githubFine: `github_pat_${'a1B2c3'.repeat(12)}`,
  gitlab: `glpat-${'x9Yz'.repeat(5)}`,
  slack: `xoxb-${'1234567890-'.repeat(2)}abcdefABCDEF`,
  stripe: ['sk_live_', '4eC39HqLyjWDarjtT1zdp7dc'].join(''),
  openai: `sk-proj-${'Ab1_'.repeat(12)}`,
  anthropic: `sk-ant-api03-${'x-Y9'.repeat(20)}`,
  google: `AIza${'SyA1b2C3d4'.repeat(4).slice(0, 35)}`,
  huggingface: `hf_${'abcdEFGH12'.repeat(4)}`,
  npm: `npm_${'abcdEFGH12'.repeat(4).slice(0, 36)}`,
  sendgrid: `SG.${'a1B2c3D4e5F'.repeat(2)}.${'a1B2c3D4e5'.repeat(5).slice(0, 43)}`,
  telegram: `123456789:AA${'Ab1_Cd2-Ef3'.repeat(3)}`,
  jwt: ['eyJhbGciOiJIUzI1NiJ9', 'eyJzdWIiOiIxMjM0NTY3ODkwIn0', 'dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U'].join('.'),
  pem: `-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n${'q7+/'.repeat(16)}\n-----END RSA PRIVATE KEY-----`,
}

/** With something in front. */
const wrap = (text: string): string[] => [text, `say ${text}`, `"\n${text}`]
const inJson = (texts: readonly string[]): unknown => ({ deep: texts.map((text) => [{ note: `\n${text}` }]) })

const spellings = (name: string): string[] => [name, name.toUpperCase(), name.replaceAll(/[-_]/g, ''), `${name}s`]

describe("'secrets', the default", () => {
  it('takes out keys, tokens and passwords by their form, or by the name in front', async () => {
    const pairs = [
      [fake.aws, '[redacted:aws_key]'],
      [fake.github, '[redacted:github_token]'],
      [fake.githubFine, '[redacted:github_token]'],
      [fake.gitlab, '[redacted:gitlab_token]'],
      [fake.slack, '[redacted:slack_token]'],
      [fake.stripe, '[redacted:stripe_key]'],
      [fake.openai, '[redacted:api_key]'],
      [fake.anthropic, '[redacted:api_key]'],
      [fake.google, '[redacted:google_key]'],
      [fake.huggingface, '[redacted:api_key]'],
      [fake.npm, '[redacted:api_key]'],
      [fake.sendgrid, '[redacted:api_key]'],
      [fake.telegram, '123456789[redacted:telegram_token]'],
      [fake.jwt, '[redacted:jwt]'],
      [fake.pem, '[redacted:private_key]'],
      [fake.pem.slice(0, 60), '[redacted:private_key]'],
      [`Bearer ${'a1b2.c3d4~'.repeat(3)}`, 'Bearer [redacted:bearer]'],
      [`bearer ${'a1b2C3d4'.repeat(3)}`, 'bearer [redacted:bearer]'],
      ['postgres://app:hunter2@db:5432/x', 'postgres://app:[redacted:url_password]@db:5432/x'],
      [
        `https://hooks.slack.com/services/T0001/B0001/${'x1'.repeat(12)}`,
        'https://hooks.slack.com/services/[redacted:slack_webhook]',
      ],
      ['DB_PASSWORD=hunter2-and-more', 'DB_PASSWORD=[redacted:key]'],
      ['export OPENAI_API_KEY="some key"', 'export OPENAI_API_KEY="[redacted:key]"'],
      ['?q=1&access_token=abcdef&page=2', '?q=1&access_token=[redacted:key]&page=2'],
      ['{"user":"u","Password": "hunter2 \\"x\\"","n":1}', '{"user":"u","Password": "[redacted:key]","n":1}'],
      ['{\\"apiKey\\":\\"abc\\"}', '{\\"apiKey\\":\\"[redacted:key]\\"}'],
      ['user: me\npassword: hunter2\n', 'user: me\npassword: [redacted:key]\n'],
      ['Authorization: Basic dXNlcjpwYXNz\nAccept: */*', 'Authorization: [redacted:key]\nAccept: */*'],
      ['Set-Cookie: id=7; Secure', 'Set-Cookie: [redacted:key]'],
    ] as const
    expect(await outputsOf(pairs.flatMap(([text]) => wrap(text)))).toEqual(pairs.flatMap(([, left]) => wrap(left)))
    // In JSON, where quotes and line breaks are escaped.
    const { tool_input: input } = await inputOf(inJson(pairs.map(([text]) => text)))
    expect(input).toEqual(inJson(pairs.map(([, left]) => left)))
    // Each by itself: the look at a whole text is not helped by its neighbours.
    const rows = await record((session) => {
      for (const [text] of pairs) session.toolCall({ tool_name: 't', tool_input: inJson([text]) })
    })
    expect(rows.map(({ tool_input: each }) => each)).toEqual(pairs.map(([, left]) => inJson([left])))
  })

  it('leaves alone what only looks like a secret', async () => {
    const texts = [
      'The task-management-system-design-document is done, risk-assessment-of-the-project too.',
      'sk-learn-and-other-long-hyphenated-words',
      'glass-manufacturing-2024-annual-report npm_config_registry_fetch_retries_2 npm_package_dependencies_kafkajs',
      'Your token: it has 12 parts, and the password is wrong. A bearer authentication-of-some-kind is needed.',
      '{"input_tokens":12,"max_tokens":4096,"next_page_token":"abcdef12","has_password":true,"secret":null,"monkey":"x12345"}',
      'toolu_01A09q90qw90lq917835lq9 550e8400-e29b-41d4-a716-446655440000 https://example.com:8443/a/b@c?d=e',
      'mail ann@example.com, call +49 30 1234567, card 4111 1111 1111 1111',
      `data:image/png;base64,${'iVBORw0KGgoAAAANSUhEUg'.repeat(20)}`,
    ]
    expect(await outputsOf(texts)).toEqual(texts)
  })

  it('knows the usual names, in any spelling', async () => {
    const endings =
      'passwd password passphrase passcode secret client_secret credential authorization connection_string cookie ' +
      'set-cookie api_key x-api-key access_key secret_key private_key account_key encryption_key signing_key ' +
      'access_token refresh_token auth_token id_token session_token bot_token github_token'
    const whole = 'token my_token MY_TOKEN pwd db_pass DB_PASS auth jwt cvv cvc'
    const secret = [...endings.split(' ').flatMap(spellings), ...whole.split(' ')]
    const rows = await record((session) => {
      // Each by itself, so that none is found by the help of another.
      for (const name of secret) session.toolCall({ tool_name: 't', tool_input: { a: 1, [name]: 'x1', z: 2 } })
      for (const name of secret)
        session.toolResult({ tool_call_id: 'c', tool_name: 't', tool_output: `a ${name}=x1234` })
    })
    const left = rows.map((row) => JSON.stringify(row['tool_input'] ?? row['tool_output']))
    expect(left.filter((text) => !text.includes('[redacted:key]'))).toEqual([])
  })

  it('takes out what stands under a secret key, at any depth, and counts', async () => {
    const row = await inputOf({
      a: { Authorization: 'x', list: [{ API_KEY: 12345, 'x-api-key': ['a'], note: 'y' }] },
      password: { old: 'a', new: 'b' },
      cookies: 'c',
      githubToken: '',
      secret: null,
      token: true,
    })
    expect(row['tool_input']).toEqual({
      a: {
        Authorization: '[redacted:key]',
        list: [{ API_KEY: '[redacted:key]', 'x-api-key': '[redacted:key]', note: 'y' }],
      },
      cookies: '[redacted:key]',
      githubToken: '',
      password: '[redacted:key]',
      secret: null,
      token: true,
    })
    expect(row['field_notes']).toEqual({ tool_input: { redacted: { key: 5 } } })
  })

  it('keeps the digest of the true arguments, and canonical text of what is left', async () => {
    const input = { b: fake.github, a: 1, 10: 'x', 9: 'y' }
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    trail.startSession().toolCall({ tool_name: 't', tool_input: input })
    await trail.close()
    const row = sessionRows(dataDir)[1]
    const canonical = `{"10":"x","9":"y","a":1,"b":"${fake.github}"}`
    expect(row?.['arguments_sha256']).toBe(createHash('sha256').update(canonical).digest('hex'))
    expect(row?.['tool_input']).toEqual({ 10: 'x', 9: 'y', a: 1, b: '[redacted:github_token]' })
  })

  it('an approval shows and binds the true arguments, and records what is left of them', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    const session = trail.startSession()
    const call = { tool_name: 'deploy', tool_input: { token: 'abc' }, requires_approval: true }
    const request = await session.requestApproval(call)
    expect(request.tool_input).toEqual({ token: 'abc' })
    const approval = await trail.decideApproval(request, {
      approval_status: 'approved',
      approver_id: 'ann@example.com',
    })
    expect(await session.guard(call, ({ token }) => token, { approval })).toBe('abc')
    await trail.close()
    const [, asked, decided, ran] = sessionRows(dataDir)
    expect(asked?.['tool_input']).toEqual({ token: '[redacted:key]' })
    expect(ran?.['tool_input']).toEqual({ token: '[redacted:key]' })
    expect(decided).toMatchObject({ approver_id: 'ann@example.com' })
    const digest = createHash('sha256').update('{"token":"abc"}').digest('hex')
    expect([asked, decided, ran].map((row) => row?.['arguments_sha256'])).toEqual(Array(3).fill(digest))
  })

  it('reaches every field with text or JSON', async () => {
    const dataDir = makeTempDirectory()
    const secret = fake.github
    const trail = openTrail({ dataDir, systemPrompt: `Use ${secret}.` })
    const session = trail.startSession({
      user_message: secret,
      user_id: secret,
      model_id: secret,
      content: { x: [secret] },
    })
    session.userMessage({ message: { text: secret } })
    session.llmCall({
      input_messages: [{ role: 'user', content: secret }],
      output_text: secret,
      reasoning: secret,
      tool_calls_requested: [{ id: secret, name: 't', input: { q: secret } }],
      stop_reason: secret,
      reason: secret,
      error: new Error(secret),
    })
    session.toolCall({ tool_name: secret, tool_input: [secret], reason: secret })
    session.toolResult({
      tool_call_id: secret,
      tool_name: 't',
      error: Object.assign(new Error(secret), { code: secret }),
    })
    session.toolResult({ tool_call_id: 'c', tool_name: 't', tool_output: { [secret]: 1 }, source: secret })
    session.humanIntervention({ approver_id: secret, reason: secret })
    session.sandboxCrossing({ boundary: secret, direction: 'in', resource: secret, outcome: 'denied' })
    session.stateSnapshot({ secretsInAMap: new Map([[secret, secret]]), at: { toJSON: () => secret } })
    session.error({ name: secret, message: secret })
    session.record({ event_type: 'acme.seen', output_text: secret, tool_input: secret, content: { secret } })
    session.end({ output_text: secret, reason: secret })
    await trail.close()
    const rows = readRows(dataDir)
    expect(rows).toHaveLength(14)
    expect(JSON.stringify(rows)).not.toContain(secret.slice(4))
    expect(JSON.stringify(rows)).toContain('[redacted:github_token]')
  })

  it('leaves what names the session and the agent as it is: they are keys', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir, agentId: fake.github })
    trail.startSession({ session_id: fake.gitlab }).decision({ reasoning: 'r' })
    await trail.close()
    expect(sessionRows(dataDir)).toMatchObject([
      { session_id: fake.gitlab, agent_id: fake.github },
      { session_id: fake.gitlab, agent_id: fake.github },
    ])
  })

  it('does not see a secret in pieces, of which none has its form', async () => {
    const [one, two] = [fake.github.slice(0, 20), fake.github.slice(20)]
    expect(await outputsOf([one, two])).toEqual([one, two])
    expect((await inputOf([one, two]))['tool_input']).toEqual([one, two])
  })

  it('happens before the cut', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir, maxRecordBytes: 4096 })
    // The cut would leave half of the token, which has the form of none.
    const text = `${'x '.repeat(1600)}${fake.github}${' y'.repeat(1600)}`
    trail.startSession().toolResult({ tool_call_id: 'c', tool_name: 't', tool_output: text })
    await trail.close()
    const row = sessionRows(dataDir)[1]
    expect(row?.['tool_output']).not.toContain('ghp_')
    expect(row?.['field_notes']).toMatchObject({ tool_output: { redacted: { github_token: 1 }, cut: {} } })
  })
})

it("'off' redacts nothing", async () => {
  expect(await outputsOf([fake.github, 'password=hunter22'], 'off')).toEqual([fake.github, 'password=hunter22'])
})

describe('rules of one’s own', () => {
  it('keys: whole names in any case, and patterns; in text too', async () => {
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

  it('paths', async () => {
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

  it('patterns: personal data, by form and check digits', async () => {
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
    'a pattern, whatever its flags: %s',
    async (pattern) => {
      pattern.lastIndex = 3
      const redact = { patterns: [{ name: 'case', pattern }] }
      const outputs = await outputsOf(['see case-1, case-22', 'see case-1, case-22'], redact)
      expect(outputs).toEqual(Array(2).fill('see [redacted:case], [redacted:case]'))
      expect(pattern.lastIndex).toBe(3)
    },
  )

  it('custom, last, with the place', async () => {
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
      { custom },
    )
    expect(rows[0]).toMatchObject({ content: { b: 'seen' }, field_notes: { tool_output: { redaction_failed: true } } })
    expect(rows[1]).toMatchObject({
      outcome: 'error',
      error_type: 'Error',
      field_notes: { error: { redaction_failed: true } },
    })
    expect(JSON.stringify(rows)).not.toContain('hidden')
  })

  it('a key named __proto__ is one like any other', async () => {
    const { tool_input: input } = await inputOf(JSON.parse('{"__proto__":{"password":"x"},"a":1}'))
    expect(JSON.stringify(input)).toBe('{"__proto__":{"password":"[redacted:key]"},"a":1}')
  })

  it('wrong rules are named', () => {
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

it('takes time in proportion to the text, whatever the text', async () => {
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
  }
  const small = 50_000
  const growth: Record<string, number> = {}
  await record(
    (session) => {
      const cost = (unit: string, length: number): number => {
        // The end is there for the quick looks: they must not spare the text the whole search.
        const tool_output = [`${unit.repeat(Math.ceil(length / unit.length))} @ token= +49 Bearer `]
        const start = process.threadCpuUsage()
        session.toolResult({ tool_call_id: 'c', tool_name: 't', tool_output })
        const { user, system } = process.threadCpuUsage(start)
        return user + system
      }
      for (const [what, unit] of Object.entries(units)) {
        cost(unit, small) // Compiles.
        const [one = 0, eight = 0] = [small, 8 * small].map((length) => {
          return Math.min(...[1, 2, 3].map(() => cost(unit, length)))
        })
        // Below 2 ms there is nothing to measure.
        growth[what] = eight / Math.max(one, 2000)
      }
    },
    { patterns: ['email', 'card', 'iban', 'phone'] },
  )
  // Eight times the text is eight times the work, and 64 times if it were quadratic.
  expect(Object.entries(growth).filter(([, times]) => times > 24)).toEqual([])
})

it('no error and no problem quotes what was recorded', async () => {
  const secret = fake.github
  const problems: string[] = []
  const dataDir = makeTempDirectory()
  const trail = openTrail({
    dataDir,
    maxRecordBytes: 4096,
    onOversize: 'refuse',
    onProblem: (p) => problems.push(String(p)),
  })
  const session = trail.startSession()
  const cycle: Record<string, unknown> = { secret }
  cycle['self'] = cycle
  const wrong: (() => unknown)[] = [
    () => session.toolCall({ tool_name: 't', tool_input: { [`x`]: BigInt(1), secret } }),
    () => session.toolCall({ tool_name: 't', tool_input: cycle }),
    () => session.toolCall({ tool_name: 't', tool_input: { [secret]: [Number.NaN] } }),
    () => session.toolCall({ tool_name: { secret } as never, tool_input: secret, tool_call_id: [secret] as never }),
    () =>
      session.toolCall({
        tool_name: 't',
        tool_input: {
          toJSON: () => {
            throw new Error(secret)
          },
        },
      }),
    () =>
      session.toolResult({
        tool_call_id: 'c',
        tool_name: 't',
        tool_output: `${secret} `.repeat(500),
        outcome: secret as never,
      }),
    () => session.toolResult({ tool_call_id: 'c', tool_name: 't', tool_output: `x ${'y '.repeat(5000)}${secret}` }),
    () => session.llmCall({ input_messages: secret as never, output_text: 5 as never, input_tokens: secret as never }),
    () => session.sandboxCrossing({ boundary: 'b', direction: secret as never, resource: 'r', outcome: 'denied' }),
    () => session.record({ event_type: secret as never }),
    () => session.decision({ reasoning: 'r', [secret]: 1 }),
    () => session.decision({ reasoning: 'r', content: { [secret]: BigInt(1) } }),
    () => trail.startSession({ [secret]: 1 }),
    () => session.record({ event_type: 'acme.x', timestamp: secret as never, parent_event_id: secret }),
    () => session.end({ reason: 5 as never, content: secret as never }),
    () =>
      createAuditTrail({ agentId: 'a', sasl: { mechanism: secret as never, username: secret, password: 5 as never } }),
    () => createAuditTrail({ agentId: 'a', schemaRegistryUrl: `http://user:${secret}@registry:8081` }),
    () => createAuditTrail({ agentId: 'a', brokers: [`user:${secret}@kafka`], ssl: { key: secret, more: 1 } as never }),
  ]
  for (const attempt of wrong) {
    const error = thrownBy(attempt)
    expect(error).toBeInstanceOf(InvalidInputError)
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(secret.slice(4))
  }
  const denied = { check: (): Ruling => ({ outcome: 'denied', reason: 'no' }) }
  const refused = [
    session.guard({ tool_name: 't', tool_input: {}, [secret]: 1 }, () => {}),
    session.guard({ tool_name: 't', tool_input: { [secret]: BigInt(1) } }, () => {}),
    session.guard({ tool_name: secret, tool_input: {} }, () => {}, denied),
  ]
  for (const error of await Promise.all(refused.map((call) => call.catch((thrown: unknown) => thrown)))) {
    expect(error).toBeInstanceOf(Error)
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(secret.slice(4))
  }
  await trail.close()
  expect(problems.join()).not.toContain(secret.slice(4))
})

function thrownBy(attempt: () => unknown): unknown {
  try {
    attempt()
  } catch (error) {
    return error
  }
  return undefined
}
