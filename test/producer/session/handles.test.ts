/** What comes back from another process or a database: requests, decisions, overrides, session references. */
import type { SessionRef } from '@agent-audit/producer'
import { createTestTrail } from '@agent-audit/producer/testing'
import { describe, expect, it } from 'vitest'
import { makeRecord } from '../../support/records.ts'

const CALL = { tool_name: 'pay', tool_input: { amount: 10 } } as const
const KIM = { approver_id: 'kim', identity_source: 'https://id.example' } as const

describe('ids in upper case, as some databases write UUIDs,', () => {
  it('of a request and its decision name the same approval: the call runs, and its record is one that the consumer stores', async () => {
    const trail = createTestTrail()
    const session = trail.startSession()
    const asked = await session.requestApproval(CALL)
    const request = { ...asked, approval_id: asked.approval_id.toUpperCase(), session: upper(asked.session) }
    const given = await trail.decideApproval(request, { ...KIM, approval_status: 'approved' })
    const approval = { ...given, approval_id: given.approval_id.toUpperCase(), event_id: given.event_id.toUpperCase() }
    expect(await session.guard(CALL, () => 'ran', { approval })).toBe('ran')
    session.end()
    expect(trail.events({ event_type: 'tool_call' })).toMatchObject([
      { approval_id: asked.approval_id, parent_event_id: given.event_id },
    ])
    expect(trail.problems()).toEqual([])
  })

  it('of an override and of the approval that it is about are recorded in lower case', async () => {
    const trail = createTestTrail()
    const session = trail.startSession()
    const { approval_id } = await session.requestApproval(CALL)
    const given = await session.override(CALL, { ...KIM, reason: 'r', approval_id: approval_id.toUpperCase() })
    const override = { ...given, event_id: given.event_id.toUpperCase() }
    const denied = { check: () => ({ outcome: 'denied', reason: 'no' }) as const }
    expect(await session.guard(CALL, () => 'ran', { ...denied, override })).toBe('ran')
    expect(trail.events({ event_type: 'human_intervention' })).toMatchObject([{ approval_id }])
    expect(trail.events({ event_type: 'tool_call' })).toMatchObject([{ parent_event_id: given.event_id }])
  })

  it('of a session reference and of a parent are recorded in lower case', () => {
    const trail = createTestTrail({ systemPrompt: 'p' })
    const session = trail.startSession({ user_id: 'u' })
    const resumed = trail.resumeSession(upper(session.ref))
    resumed.decision({ reasoning: 'r', parent_event_id: session.ref.last_event_id.toUpperCase() })
    const [start, , again, decision] = [...trail.events().slice(1, 2), null, ...trail.events().slice(-2)]
    expect(again).toMatchObject({ event_type: 'session_resumed', parent_event_id: start?.event_id, user_id: 'u' })
    expect(again?.system_prompt_hash).toBe(start?.system_prompt_hash)
    expect(decision).toMatchObject({ parent_event_id: start?.event_id })
  })
})

function upper(ref: SessionRef): SessionRef {
  const { system_prompt_hash: hash, ...stamped } = ref.stamped
  const inUpper = hash === undefined ? stamped : { ...stamped, system_prompt_hash: hash.toUpperCase() }
  return {
    ...ref,
    run_id: ref.run_id.toUpperCase(),
    last_event_id: ref.last_event_id.toUpperCase(),
    stamped: inUpper,
  }
}

describe('a session reference', () => {
  it.each<[string, Record<string, unknown>]>([
    ['stamped.system_prompt_hash', { stamped: { system_prompt_hash: 'ab' } }],
    ['stamped.system_prompt_hash', { stamped: { system_prompt_hash: 'ab'.repeat(300_000) } }],
    ['stamped.agent_id', { stamped: { agent_id: '' } }],
    ['stamped.user_id', { stamped: { user_id: 'u'.repeat(100_000) } }],
    ['stamped.model', { stamped: { model: 'm' } }],
    ['step_number', { step_number: Number.MAX_SAFE_INTEGER }],
    ['run_id', { run_id: 'x' }],
    ['last_event_id', { last_event_id: '' }],
  ])('whose %s is wrong is refused by the name of the field, and uses no number up', (path, wrong) => {
    const trail = createTestTrail()
    const { ref } = trail.startSession()
    expect(() => trail.resumeSession({ ...ref, ...wrong })).toThrow(
      expect.objectContaining({ code: 'EVENT_INVALID', issues: [expect.objectContaining({ path })] }),
    )
    expect(trail.stats()).toMatchObject({ recorded: 2, pending: 0 })
  })

  it('with half a character in a name is read, and its records are ones that the consumer stores', () => {
    const trail = createTestTrail()
    const { ref } = trail.startSession()
    trail.resumeSession({ ...ref, stamped: { agent_id: 'a\ud800' } }).end()
    expect(trail.events().at(-1)).toMatchObject({ agent_id: 'a\ufffd' })
  })
})

it('a record that cannot be encoded rejects its receipt, and an events_lost event explains its number', async () => {
  const trail = createTestTrail({ onProblem: () => {} })
  const session = trail.startSession()
  const { recorder } = trail as unknown as {
    recorder: { append(record: object, options: object): { stored: Promise<void> } }
  }
  // A bound that the record exceeds: a fault of the producer itself.
  const record = { ...makeRecord('r', 2, { reasoning: 'x'.repeat(300_000) }), identify() {} }
  const { stored } = recorder.append(record, { maxBytes: 200_000 })
  await expect(stored).rejects.toMatchObject({ code: 'EVENT_INVALID' })
  session.end()
  await trail.close()
  expect(trail.events({ event_type: 'events_lost' })).toMatchObject([{ content: { first_run_seq: 2, count: 1 } }])
  expect(trail.stats()).toMatchObject({ pending: 0, refused: 1 })
  expect(trail.problems()).toEqual([])
})
