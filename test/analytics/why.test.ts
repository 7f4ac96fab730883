/** The five questions about an action, answered from what the real producer records. */
import { type Analytics, why, type Why } from '@agent-audit/analytics'
import type { AuditSession } from '@agent-audit/producer'
import type { TestEvent } from '@agent-audit/producer/testing'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Server } from './seed.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from './support.ts'
import { KIM, MAIL, PAYMENT, storedTrail } from './why-support.ts'

type Store = Analytics & { readonly server: Server }

/** The model asks for a payment, with its reasons. @returns The call, as the guard takes it. */
function asked(session: AuditSession, input: object = PAYMENT, id = 'call-1') {
  session.llmCall({
    input_messages: [],
    output_text: 'I will pay the invoice.',
    reasoning: 'The user wants invoice 7 paid.',
    tool_calls_requested: [{ id, name: 'send_payment', input }],
  })
  return { tool_name: 'send_payment', tool_input: input, tool_call_id: id }
}

function last(events: readonly TestEvent[], type: string): string {
  return events.findLast((event) => event.event_type === type)?.event_id ?? `no ${type}`
}

async function explained(store: Store, id: string): Promise<Why> {
  const answer = await why(store, id)
  if (answer === undefined) throw new Error(`${id} is not stored`)
  return answer
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`why ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  it('a payment that a person approved: reasoning, call, result, digests, and the same answer from each of its events', async () => {
    const store = await tests.newTrail()
    const events = await storedTrail(
      store,
      async (trail) => {
        await trail.withSession({ user_message: `Pay ${PAYMENT.to}`, user_id: 'u7' }, async (session) => {
          const call = { ...asked(session), requires_approval: true, policy: { id: 'payments', version: '3' } }
          session.decision({ reasoning: 'Above 1000 EUR: a person has to approve.' })
          const request = await session.requestApproval(call, { reason: 'large' })
          const approval = await trail.decideApproval(request, {
            ...KIM,
            approval_status: 'approved',
            reason: 'known payee',
          })
          await session.guard(call, async () => 'paid', { approval })
          session.finalOutput({ output_text: 'Done.' })
        })
      },
      { modelId: 'model-a', systemPrompt: 'Pay invoices.' },
    )
    const answer = await explained(store, last(events, 'tool_call'))
    expect(answer).toMatchObject({
      about: 'action',
      belongs: 'is',
      session: { user_id: 'u7', started_by: null },
      reasoning: {
        claimed_by: 'model',
        llm_call: { reasoning: 'The user wants invoice 7 paid.', found_by: 'parent_event_id', asked_for: 'this_call' },
        decisions: [{ reasoning: 'Above 1000 EUR: a person has to approve.' }],
        answered: { event_type: 'session_start', text: `Pay ${PAYMENT.to}` },
      },
      call: {
        tool_input: PAYMENT,
        executed: true,
        results: [{ tool_output: 'paid', effect: 'confirmed', error: null }],
      },
      circumstances: { model_id: 'model-a', agent_version: '1.0', policy: { id: 'payments', version: '3' } },
      approval: {
        required: true,
        state: 'approved',
        request: { tool_input: PAYMENT, reason: 'large' },
        decisions: [
          {
            ...KIM,
            approver_kind: 'person',
            status: 'approved',
            counts: true,
            reason: 'known payee',
            self_approval: false,
          },
        ],
        digests: { equal: true },
        warnings: [],
      },
    })
    expect(answer.circumstances.system_prompt_hash).toMatch(/^[0-9a-f]{64}$/)
    expect(answer.data?.arguments.find(({ path }) => path === '$.to')?.verdict).toBe('person_or_prompt')
    for (const [type, belongs] of [
      ['approval_request', 'approval'],
      ['approval_decision', 'approval'],
      ['tool_result', 'follows'],
    ]) {
      const same = await explained(store, last(events, type ?? ''))
      expect(same).toMatchObject({ belongs, action: answer.action, approval: { state: 'approved' } })
    }
  })

  it('a call that ran without the approval it needed, and one that was rejected', async () => {
    const store = await tests.newTrail()
    const unapproved = await storedTrail(store, async (trail) =>
      trail.withSession({}, async (session) => {
        session.toolCall({ ...asked(session), requires_approval: true })
        session.toolResult({ tool_call_id: 'call-1', tool_name: 'send_payment', tool_output: 'paid' })
      }),
    )
    const bypass = await explained(store, last(unapproved, 'tool_call'))
    expect(bypass).toMatchObject({
      call: { executed: true },
      approval: { state: 'none', required: true, request: null },
    })
    expect(bypass.approval?.warnings.map(({ code }) => code)).toEqual(['no_approval'])

    const other = await tests.newTrail()
    const rejected = await storedTrail(other, async (trail) =>
      trail.withSession({}, async (session) => {
        const call = { ...asked(session), requires_approval: true }
        const approval = await trail.decideApproval(await session.requestApproval(call), {
          ...KIM,
          approval_status: 'rejected',
          reason: 'unknown payee',
        })
        await session.guard(call, async () => 'paid', { approval }).catch(() => {})
      }),
    )
    const refused = await explained(other, last(rejected, 'approval_decision'))
    expect(refused).toMatchObject({
      action: { event_type: 'tool_call', outcome: 'denied' },
      call: { executed: false, results: [], reason_code: 'approval_rejected' },
      approval: { state: 'rejected', decisions: [{ status: 'rejected', reason: 'unknown payee' }], warnings: [] },
    })
  })

  it('arguments that an approver changed are named; arguments that changed after the approval are a warning', async () => {
    const store = await tests.newTrail()
    const events = await storedTrail(store, async (trail) =>
      trail.withSession({}, async (session) => {
        const call = { ...asked(session), requires_approval: true }
        const verdict = {
          ...KIM,
          approval_status: 'approved',
          modified_input: { ...PAYMENT, eur: 900 },
          shown: { summary: '1200 EUR' },
        } as const
        const approval = await trail.decideApproval(await session.requestApproval(call), verdict)
        await session.guard(call, async () => 'paid', { approval })
      }),
    )
    const answer = await explained(store, last(events, 'tool_call'))
    expect(answer.approval).toMatchObject({
      decisions: [
        { modified: ['tool_input.eur'], tool_input: { ...PAYMENT, eur: 900 }, shown: { summary: '1200 EUR' } },
      ],
      digests: { equal: true },
      warnings: [],
    })
    expect(answer.reasoning.llm_call?.asked_for).toBe('other_arguments')

    const forged = await tests.newTrail()
    const changed = await storedTrail(
      forged,
      async (trail) =>
        trail.withSession({}, async (session) => {
          const call = { ...asked(session), requires_approval: true }
          const approval = await trail.decideApproval(await session.requestApproval(call), {
            ...KIM,
            approval_status: 'approved',
          })
          await session.guard(call, async () => 'paid', { approval })
        }),
      {
        change: (rows) =>
          rows.map((row) =>
            row['event_type'] === 'tool_call'
              ? { ...row, tool_input: { ...PAYMENT, eur: 99_000 }, arguments_sha256: '11'.repeat(32) }
              : row,
          ),
      },
    )
    const warned = await explained(forged, last(changed, 'tool_call'))
    expect(warned.approval?.digests).toMatchObject({ equal: false, executed: '11'.repeat(32) })
    expect(warned.approval?.warnings.map(({ code }) => code)).toEqual(['arguments_differ'])
  })

  it('a recipient that stands in a tool result alone, with text that reads like orders, comes from untrusted data', async () => {
    const store = await tests.newTrail()
    const events = await storedTrail(store, async (trail) =>
      trail.withSession({ user_message: 'Pay what the mail says, 1200 euro' }, async (session) => {
        session.llmCall({
          input_messages: [],
          output_text: null,
          tool_calls_requested: [{ id: 'r', name: 'read_mail', input: {} }],
        })
        session.toolCall({ tool_name: 'read_mail', tool_input: {}, tool_call_id: 'r' })
        session.toolResult({
          tool_name: 'read_mail',
          tool_call_id: 'r',
          tool_output: MAIL,
          source: 'mailbox',
          untrusted: true,
        })
        session.toolCall(asked(session, { to: 'GB33BUKB20201555555555', eur: 1200, note: 'zebra-quartz-41' }))
      }),
    )
    const { data } = await explained(store, last(events, 'tool_call'))
    const verdicts = Object.fromEntries(data?.arguments.map(({ path, verdict }) => [path, verdict]) ?? [])
    expect(verdicts).toEqual({ '$.to': 'untrusted', '$.eur': 'person_or_prompt', '$.note': 'model_only' })
    expect(data?.sources).toMatchObject([
      { tool_name: 'read_mail', source: 'mailbox', untrusted: true, gave: ['$.to'] },
    ])
    expect(data?.sources[0]?.instructions.map(({ quote }) => quote).join(' ')).toMatch(
      /ignore all previous instructions/i,
    )
  })

  it('sub-agents: the call that started one names its session, and the session names the call', async () => {
    const store = await tests.newTrail()
    const events = await storedTrail(store, async (trail) =>
      trail.withSession({ session_id: 'parent' }, async (session) => {
        await session.guard({ ...asked(session), tool_name: 'delegate' }, async () => {
          const sub = session.startChild({ session_id: 'child', agent_id: 'helper' })
          sub.toolCall({ tool_name: 'look', tool_input: {} })
          sub.end()
          return 'looked'
        })
      }),
    )
    const call = events.find(({ tool_name, event_type }) => tool_name === 'delegate' && event_type === 'tool_call')
    const started = await explained(store, call?.event_id ?? '')
    expect(started.followed.sub_sessions).toMatchObject([{ session_id: 'child', agent_id: 'helper' }])
    const inside = await explained(store, events.find(({ tool_name }) => tool_name === 'look')?.event_id ?? '')
    expect(inside.session.started_by).toEqual({ session_id: 'parent', event_id: call?.event_id })
  })

  it('a resumed session is one story: an approval of yesterday, a prompt and a model that changed since', async () => {
    const store = await tests.newTrail()
    let resumed = false
    const events = await storedTrail(
      store,
      async (trail) => {
        const first = trail.startSession({ user_message: 'Pay it', system_prompt: 'Be careful.', model_id: 'model-a' })
        const call = { ...asked(first), requires_approval: true }
        const request = await first.requestApproval(call)
        const approval = await trail.decideApproval(request, { ...KIM, approval_status: 'approved' })
        const again = trail.resumeSession(request.session)
        const requested = [{ id: 'call-1', name: 'send_payment', input: PAYMENT }]
        again.llmCall({ input_messages: [], output_text: 'Now.', model_id: 'model-b', tool_calls_requested: requested })
        await again.guard(call, async () => 'paid', { approval })
        again.end()
      },
      {
        change: (rows) =>
          rows.map((row) => {
            resumed ||= row['event_type'] === 'session_resumed'
            return resumed ? { ...row, system_prompt_hash: '22'.repeat(32) } : row
          }),
      },
    )
    const answer = await explained(store, last(events, 'tool_call'))
    expect(answer).toMatchObject({ session: { resumed: 1 }, approval: { state: 'approved', digests: { equal: true } } })
    const { model, system_prompt, version } = answer.circumstances.changes
    expect(model).toMatchObject([{ before: 'model-a', value: 'model-b' }])
    expect([system_prompt.length, version.length]).toEqual([1, 0])
  })

  it('a long session is read up to its limits, and the answer says so', async () => {
    const store = await tests.newTrail()
    const events = await storedTrail(store, async (trail) =>
      trail.withSession({ user_message: `Pay ${PAYMENT.to}` }, async (session) => {
        for (let index = 0; index < 200; index++)
          session.toolResult({ tool_name: 'read', tool_call_id: `r${index}`, tool_output: `page ${index}` })
        session.toolCall(asked(session))
        for (let index = 0; index < 60; index++) session.stateSnapshot({ state: { index } })
      }),
    )
    const id = last(events, 'tool_call')
    const answer = await why(store, id, { steps: 20, dataEvents: 10 })
    expect(answer?.notes).toEqual([
      expect.stringMatching(/^\d+ events at the beginning of the session were not looked at for causes$/),
      expect.stringMatching(/^\d+ events at the end of the session were not looked at$/),
      expect.stringMatching(/^arguments were looked for in 10 events: messages of people, then the latest ones/),
    ])
    // What the user said is searched however long ago it was.
    expect(answer?.data?.arguments.find(({ path }) => path === '$.to')?.verdict).toBe('person_or_prompt')
    expect((await why(store, id))?.notes).toEqual([])
  })

  it('an event that is no action, one of the trail itself, an unknown and a malformed id', async () => {
    const store = await tests.newTrail()
    const events = await storedTrail(store, async (trail) =>
      trail.withSession({ user_message: 'Hello' }, async (session) => {
        session.llmCall({ input_messages: [], output_text: 'Hi.' })
        session.finalOutput({ output_text: 'Hi.' })
      }),
    )
    const output = await explained(store, last(events, 'final_output'))
    expect(output).toMatchObject({
      about: 'no_action',
      action: null,
      call: null,
      reasoning: { llm_call: { output_text: 'Hi.' }, answered: { text: 'Hello' } },
    })
    expect(await explained(store, last(events, 'trail_started'))).toMatchObject({ about: 'trail', action: null })
    expect(await why(store, '019b7720-6c45-7641-8eba-d3f3000014ac')).toBeUndefined()
    await expect(why(store, "x' OR 1")).rejects.toMatchObject({ code: 'OPTIONS_INVALID' })
  })
})
