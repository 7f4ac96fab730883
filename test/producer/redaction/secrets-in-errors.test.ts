/** Errors and problems end in logs: none may hold a value that redaction removes. */
import { inspect } from 'node:util'
import { createAuditTrail, InvalidInputError, type Redact, type Ruling } from '@agent-audit/producer'
import { expect, it } from 'vitest'
import { fake } from './redaction-support.ts'
import { openTrail, sessionRows } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

it('no error and no problem quotes a recorded value', async () => {
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
    () => trail.resumeSession({ ...session.ref, [secret]: 1 }),
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
  const call = { tool_name: 't', tool_input: {} }
  const request = await session.requestApproval(call)
  const kim = { approver_id: 'kim', identity_source: 'https://id.example' }
  const verdict = { ...kim, approval_status: 'approved' } as const
  const decision = await trail.decideApproval(request, verdict)
  const override = await session.override(call, { ...kim, reason: 'urgent' })
  const more = { [secret]: 1 }
  const refused = [
    session.requestApproval(call, more),
    session.override(call, { ...kim, reason: 'urgent', ...more }),
    trail.decideApproval({ ...request, ...more }, verdict),
    trail.decideApproval(request, { ...verdict, ...more }),
    trail.decideApproval(request, { ...verdict, modified_input: { [secret]: 10n } }),
    trail.decideApproval(request, { ...verdict, shown: { [secret]: 10n } }),
    session.guard(call, () => {}, { approval: { ...decision, ...more } }),
    session.guard(call, () => {}, { override: { ...override, ...more } }),
    session.guard({ tool_name: 't', tool_input: {}, [secret]: 1 }, () => {}),
    session.guard({ tool_name: 't', tool_input: { [secret]: BigInt(1) } }, () => {}),
    session.guard({ tool_name: secret, tool_input: {} }, () => {}, denied),
  ]
  for (const error of await Promise.all(refused.map((attempt) => attempt.catch((thrown: unknown) => thrown)))) {
    expect(error).toBeInstanceOf(Error)
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(secret.slice(4))
  }
  await trail.close()
  expect(problems.join()).not.toContain(secret.slice(4))
})

it('the error of a refusal quotes the reason of the policy as it is recorded: redacted', async () => {
  const reason = `${fake.github} password=hunter2hunter2 may not be sent to ann@example.com`
  const check = (): Ruling => ({ outcome: 'denied', reason })
  const call = { tool_name: 'mail', tool_input: {} }
  const attempt = async (redact: Redact): Promise<unknown[]> => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir, redact })
    const error: unknown = await trail
      .startSession()
      .guard(call, () => 'ran', { check })
      .catch((thrown: unknown) => thrown)
    await trail.close()
    const recorded = sessionRows(dataDir)[1]?.['reason']
    return [(error as Error).message, `mail was not run: ${String(recorded)}`]
  }
  for (const redact of ['secrets', 'off', { patterns: ['email'] }, { paths: ['reason'] }] as const) {
    const [message, recorded] = await attempt(redact)
    expect(message).toBe(recorded)
  }
  const [message] = await attempt('secrets')
  expect(message).toBe(
    'mail was not run: [redacted:github_token] password=[redacted:key] may not be sent to ann@example.com',
  )
  expect((await attempt({ custom: refuseAddresses }))[0]).toBe('mail was not run: its text could not be redacted')
})

it("the error of a failed claimApproval names class, code and redacted message of the operator's error, and no more", async () => {
  const url = 'postgres://app:hunter2hunter2@db:5432/approvals'
  const settings = { code: 'ECONNREFUSED', connectionString: url, parameters: { password: 'hunter2hunter2' } }
  const failure = Object.assign(new RangeError(`no connection to ${url}`), settings)
  const trail = openTrail({ dataDir: makeTempDirectory(), claimApproval: () => Promise.reject(failure) })
  const session = trail.startSession()
  const call = { tool_name: 'pay', tool_input: {} }
  const verdict = { approver_id: 'kim', identity_source: 'https://id.example', approval_status: 'approved' } as const
  const approval = await trail.decideApproval(await session.requestApproval(call), verdict)
  const error: unknown = await session.guard(call, () => 'ran', { approval }).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({
    code: 'NOT_RECORDED',
    cause: {
      name: 'RangeError',
      code: 'ECONNREFUSED',
      message: 'no connection to postgres://app:[redacted:url_password]@db:5432/approvals',
    },
  })
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('hunter2')
})

function refuseAddresses(text: string): string {
  if (text.includes('@')) throw new Error(text)
  return text
}

function thrownBy(attempt: () => unknown): unknown {
  try {
    attempt()
  } catch (error) {
    return error
  }
  return undefined
}
