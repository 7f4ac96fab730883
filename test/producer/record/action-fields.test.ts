/** The fields of version 2: which event takes which, what of them is redacted, and what output_sha256 is the digest of. */
import { type EventInput, REASON_CODES } from '@agent-audit/producer'
import { describe, expect, it } from 'vitest'
import { fake } from '../redaction/redaction-support.ts'
import { record, type Row, sha256 } from '../support.ts'

const policy = { id: 'refunds', version: '7', digest: `sha256:${'0f'.repeat(32)}` }
const approval = {
  approver_kind: 'person',
  identity_source: 'https://id.example',
  shown_sha256: 'ab'.repeat(32),
  modified: ['tool_input.amount'],
} as const
const ALL = {
  on_behalf_of: 'service:billing',
  idempotency_key: 'refund-42',
  reason_code: 'acme.over_limit',
  effect: 'dispatched',
  policy,
  approval,
} as const
type Field = keyof typeof ALL

const call = { tool_name: 't', tool_call_id: 'c' }
/** Each type, the least that it needs, and the fields that it takes beside reason_code. */
const TAKES: readonly [EventInput, readonly Field[]][] = [
  [{ event_type: 'user_message', message: 'm' }, []],
  [{ event_type: 'llm_call', input_messages: [], output_text: null }, []],
  [{ event_type: 'decision', reasoning: 'r' }, ['policy']],
  [{ event_type: 'tool_call', ...call, tool_input: {} }, ['on_behalf_of', 'idempotency_key', 'policy']],
  [{ event_type: 'tool_result', ...call }, ['effect']],
  [{ event_type: 'human_intervention', approver_id: 'ann', reason: 'r' }, ['approval']],
  [
    { event_type: 'sandbox_crossing', boundary: 'b', direction: 'out', resource: 'r', outcome: 'blocked' },
    ['on_behalf_of', 'effect', 'policy'],
  ],
  [{ event_type: 'state_snapshot', state: {} }, []],
  [{ event_type: 'error', error: 'e' }, ['effect']],
  [{ event_type: 'final_output', output_text: 'o' }, []],
  [{ event_type: 'acme.refund' }, ['on_behalf_of', 'idempotency_key', 'effect', 'policy', 'approval']],
]

function pathsOf(work: () => unknown): string[] {
  try {
    work()
  } catch (error) {
    return (error as { issues: { path: string }[] }).issues.map(({ path }) => path)
  }
  return []
}

describe('the fields of an action', () => {
  it.each(TAKES)('%o takes its own, and refuses the others by name', async (event, own) => {
    const taken = Object.fromEntries(['reason_code' as const, ...own].map((field) => [field, ALL[field]]))
    const others = Object.keys(ALL).filter((field) => !(field in taken))
    const [row] = await record((session) => {
      session.record({ ...event, ...taken })
      expect(pathsOf(() => session.record({ ...event, ...ALL })).toSorted()).toEqual(others.toSorted())
    })
    for (const field of Object.keys(ALL)) expect(row?.[field]).toEqual(taken[field])
  })

  it('are null where the caller gives none', async () => {
    const [row] = await record((session) => session.decision({ reasoning: 'r', policy: null, reason_code: null }))
    for (const field of [...Object.keys(ALL), 'output_sha256']) expect(row).not.toHaveProperty(field)
  })

  it('are checked: codes are codes, an effect is one of three, a policy has an id, digests are digests', async () => {
    await record((session) => {
      const wrong = {
        event_type: 'acme.refund',
        on_behalf_of: '',
        idempotency_key: 7,
        reason_code: 'Denied by ann@example.com',
        effect: 'done',
        policy: { version: '1', author: 'x' },
        approval: { approver_kind: 'robot', shown_sha256: 'AB'.repeat(32), modified: ['a', ''] },
      }
      expect(pathsOf(() => session.record(wrong as never)).toSorted()).toEqual([
        'approval.approver_kind',
        'approval.modified[1]',
        'approval.shown_sha256',
        'effect',
        'idempotency_key',
        'on_behalf_of',
        'policy.author',
        'policy.id',
        'reason_code',
      ])
    })
  })

  it('every documented reason code is a reason code', async () => {
    const codes = Object.keys(REASON_CODES)
    const rows = await record((session) =>
      codes.forEach((reason_code) => session.decision({ reasoning: 'r', reason_code })),
    )
    expect(rows.map((row) => row['reason_code'])).toEqual(codes)
  })

  it('lose secret tokens, as names do, and nothing else', async () => {
    const [row] = await record(
      (session) =>
        session.record({
          event_type: 'acme.refund',
          on_behalf_of: `ann@example.com ${fake.github}`,
          idempotency_key: fake.stripe,
          policy: { id: `p ${fake.aws}`, digest: 'password: hunter2-and-more' },
          approval: { approver_kind: 'person', identity_source: `CN=ann@example.com ${fake.jwt}`, modified: ['a.b'] },
        }),
      { redact: { patterns: ['email'], custom: (text) => text.toUpperCase() } },
    )
    expect(row).toMatchObject({
      on_behalf_of: 'ann@example.com [redacted:github_token]',
      idempotency_key: '[redacted:stripe_key]',
      policy: { id: 'p [redacted:aws_key]', digest: 'password: hunter2-and-more' },
      approval: { approver_kind: 'person', identity_source: 'CN=ann@example.com [redacted:jwt]', modified: ['a.b'] },
      field_notes: {
        on_behalf_of: { redacted: { github_token: 1 } },
        idempotency_key: { redacted: { stripe_key: 1 } },
        policy: { redacted: { aws_key: 1 } },
        approval: { redacted: { jwt: 1 } },
      },
    })
  })

  it('are redacted where a path names them', async () => {
    const [row] = await record(
      (session) => session.record({ event_type: 'acme.refund', on_behalf_of: 'x', approval }),
      { redact: { paths: ['approval.identity_source', 'on_behalf_of'] } },
    )
    expect(row).toMatchObject({
      on_behalf_of: '[redacted:path]',
      approval: { ...approval, identity_source: '[redacted:path]' },
    })
  })
})

/** The row of a tool's result. */
async function resultOf(output: unknown, options: Parameters<typeof record>[1] = {}): Promise<Row | undefined> {
  const [row] = await record((session) => session.toolResult({ ...call, tool_output: output }), options)
  return row
}

describe('output_sha256', () => {
  it.each(['text', '', { b: 1, a: [2] }, 7, false, undefined, null])(
    'is absent where the record holds the whole output: %j',
    async (output) => {
      expect(await resultOf(output)).not.toHaveProperty('output_sha256')
    },
  )

  it('of a redacted text is the digest of the text as the tool gave it, in UTF-8', async () => {
    const output = `ключ ${fake.github}`
    const row = await resultOf(output)
    expect(row).toMatchObject({ tool_output: 'ключ [redacted:github_token]', output_sha256: sha256(output) })
  })

  it('of any other redacted value is the digest of its canonical JSON: the order of keys does not matter', async () => {
    const canonical = `{"a":{"x":1.5,"y":[null,"é"]},"token":"hunter2"}`
    const values = [
      { token: 'hunter2', a: { y: [null, 'é'], x: 1.5 } },
      { a: { x: 1.5, y: [null, 'é'] }, token: 'hunter2' },
    ]
    for (const value of values) {
      const row = await resultOf(value)
      expect(row?.['tool_output']).toContain('"token":"[redacted:key]"')
      expect(row).toHaveProperty('output_sha256', sha256(canonical))
    }
  })

  it('of an output that is cut is the digest of all of it, before its redaction too', async () => {
    const limit = { maxRecordBytes: 4096 }
    const text = `${'🎉'.repeat(3000)} ${fake.github}`
    expect(await resultOf('x'.repeat(9000), limit)).toHaveProperty('output_sha256', sha256('x'.repeat(9000)))
    expect(await resultOf(text, limit)).toHaveProperty('output_sha256', sha256(text))
    const json = { z: 'z'.repeat(9000), a: 1 }
    expect(await resultOf(json, limit)).toHaveProperty('output_sha256', sha256(`{"a":1,"z":"${json.z}"}`))
  })

  it('stays where a rule throws and the whole output is dropped', async () => {
    const row = await resultOf('secret', {
      redact: {
        custom: (text, path) => {
          if (path === 'tool_output') throw new Error('no')
          return text
        },
      },
    })
    expect(row).not.toHaveProperty('tool_output')
    expect(row).toHaveProperty('output_sha256', sha256('secret'))
  })

  it('is that of a custom event too', async () => {
    const [row] = await record((session) => session.record({ event_type: 'acme.read', tool_output: fake.aws }))
    expect(row).toHaveProperty('output_sha256', sha256(fake.aws))
  })
})
