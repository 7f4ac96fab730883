import { describe, expect, it } from 'vitest'
import { fake, inputOf, outputsOf } from './redaction-support.ts'
import { openTrail, readRows, record, sessionRows, sha256 } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

/** The text itself, and twice with other text before it. */
const wrap = (text: string): string[] => [text, `say ${text}`, `"\n${text}`]
const inJson = (texts: readonly string[]): unknown => ({ deep: texts.map((text) => [{ note: `\n${text}` }]) })

const spellings = (name: string): string[] => [name, name.toUpperCase(), name.replaceAll(/[-_]/g, ''), `${name}s`]

describe("'secrets', the default", () => {
  it('redacts keys, tokens and passwords by their form, or by the name before them', async () => {
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
      // What follows a key that is cut off is no part of it: half of the password would stay.
      [`${fake.pem.slice(0, 60)}\ndb://a:b@hunter2@h`, '[redacted:private_key]://a:[redacted:url_password]@h'],
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
      ['test -f x && password=hunter2#more', 'test -f x && password=[redacted:key]'],
      ['user: me\npassword: hunter2\n', 'user: me\npassword: [redacted:key]\n'],
      ['Authorization: Basic dXNlcjpwYXNz\nAccept: */*', 'Authorization: [redacted:key]\nAccept: */*'],
      ['Set-Cookie: id=7; Secure', 'Set-Cookie: [redacted:key]'],
      ['sent Cookie: theme="dark"; sid=R1rBSYwuY7mq36', 'sent Cookie: [redacted:key]'],
      ['token: [redacted:private_key]{n1', 'token: [redacted:private_key]{n1'],
    ] as const
    expect(await outputsOf(pairs.flatMap(([text]) => wrap(text)))).toEqual(pairs.flatMap(([, left]) => wrap(left)))
    // In JSON, where quotes and line breaks are escaped.
    const { tool_input: input } = await inputOf(inJson(pairs.map(([text]) => text)))
    expect(input).toEqual(inJson(pairs.map(([, left]) => left)))
    // Each in its own record: no text is found with the help of its neighbours.
    const rows = await record((session) => {
      for (const [text] of pairs) session.toolCall({ tool_name: 't', tool_input: inJson([text]) })
    })
    expect(rows.map(({ tool_input: each }) => each)).toEqual(pairs.map(([, left]) => inJson([left])))
  })

  it('keeps text that only looks like a secret', async () => {
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
      // Each in its own record, so that none is found with the help of another.
      for (const name of secret) session.toolCall({ tool_name: 't', tool_input: { a: 1, [name]: 'x1', z: 2 } })
      for (const name of secret)
        session.toolResult({ tool_call_id: 'c', tool_name: 't', tool_output: `a ${name}=x1234` })
    })
    const left = rows.map((row) => JSON.stringify(row['tool_input'] ?? row['tool_output']))
    expect(left.filter((text) => !text.includes('[redacted:key]'))).toEqual([])
  })

  it('redacts values under a secret key, at any depth, and counts them', async () => {
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

  it('keeps the digest of the true arguments, and records the redacted ones as canonical text', async () => {
    const input = { b: fake.github, a: 1, 10: 'x', 9: 'y' }
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    trail.startSession().toolCall({ tool_name: 't', tool_input: input })
    await trail.close()
    const row = sessionRows(dataDir)[1]
    const canonical = `{"10":"x","9":"y","a":1,"b":"${fake.github}"}`
    expect(row?.['arguments_sha256']).toBe(sha256(canonical))
    expect(row?.['tool_input']).toEqual({ 10: 'x', 9: 'y', a: 1, b: '[redacted:github_token]' })
  })

  it('an approval shows and binds the true arguments, and records the redacted ones', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    const session = trail.startSession()
    const call = { tool_name: 'deploy', tool_input: { token: 'abc' }, requires_approval: true }
    const request = await session.requestApproval(call)
    expect(request.tool_input).toEqual({ token: 'abc' })
    const approval = await trail.decideApproval(request, {
      approval_status: 'approved',
      approver_id: 'ann@example.com',
      identity_source: 'https://id.example',
    })
    expect(await session.guard(call, ({ token }) => token, { approval })).toBe('abc')
    await trail.close()
    const [, asked, decided, ran] = sessionRows(dataDir)
    expect(asked?.['tool_input']).toEqual({ token: '[redacted:key]' })
    expect(ran?.['tool_input']).toEqual({ token: '[redacted:key]' })
    expect(decided).toMatchObject({ approver_id: 'ann@example.com' })
    const digest = sha256('{"token":"abc"}')
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
    session.stateSnapshot({ secretsInKeys: { [secret]: secret }, at: { toJSON: () => secret } })
    session.error({ name: secret, message: secret })
    session.record({ event_type: 'acme.seen', output_text: secret, tool_input: secret, content: { secret } })
    session.end({ output_text: secret, reason: secret })
    await trail.close()
    const rows = readRows(dataDir)
    expect(rows).toHaveLength(14)
    expect(JSON.stringify(rows)).not.toContain(secret.slice(4))
    expect(JSON.stringify(rows)).toContain('[redacted:github_token]')
  })

  it('keeps the ids of the session and the agent: they are keys', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir, agentId: fake.github })
    trail.startSession({ session_id: fake.gitlab }).decision({ reasoning: 'r' })
    await trail.close()
    expect(sessionRows(dataDir)).toMatchObject([
      { session_id: fake.gitlab, agent_id: fake.github },
      { session_id: fake.gitlab, agent_id: fake.github },
    ])
  })

  it('does not find a secret that is split into parts without its form', async () => {
    const [one, two] = [fake.github.slice(0, 20), fake.github.slice(20)]
    expect(await outputsOf([one, two])).toEqual([one, two])
    expect((await inputOf([one, two]))['tool_input']).toEqual([one, two])
  })

  it('happens before the cut', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir, maxRecordBytes: 4096 })
    // The cut would leave half of the token, which no longer has the form of a token.
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
