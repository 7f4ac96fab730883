import {
  type AuditSession,
  type AuditTrail,
  type AuditTrailOptions,
  currentSession,
  type ToolCall,
} from '@agent-audit/producer'
import { describe, expect, it, vi } from 'vitest'
import { NO_BROKER, openTrail, type Row, sessionRows, sha256 } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

const refund: ToolCall<{ order: number; eur: number }> = { tool_name: 'refund', tool_input: { order: 7, eur: 12 } }

/** Runs `work` on a session. @returns The rows that it recorded, and the error of `work`. */
async function recordOf(
  work: (session: AuditSession, trail: AuditTrail) => Promise<unknown>,
  options: Partial<AuditTrailOptions> = {},
): Promise<{ rows: Row[]; error: unknown }> {
  const dataDir = makeTempDirectory()
  // A busy machine may need long to start the delivery thread.
  const trail = openTrail({ dataDir, guardTimeoutMs: 60_000, ...options })
  const error: unknown = await work(trail.startSession({ session_id: 's1' }), trail).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  await trail.close()
  return { rows: sessionRows(dataDir).slice(1), error }
}

describe('guard', () => {
  it('records the call, runs the tool, records the result with its time, and returns the value of the tool', async () => {
    let returned: unknown
    const { rows } = await recordOf(async (session) => {
      returned = await session.guard({ ...refund, tool_call_id: 'c1' }, ({ eur }) => ({ refunded: eur }))
    })
    expect(returned).toEqual({ refunded: 12 })
    expect(rows).toMatchObject([
      {
        event_type: 'tool_call',
        tool_name: 'refund',
        tool_call_id: 'c1',
        tool_input: { eur: 12, order: 7 },
        arguments_sha256: sha256('{"eur":12,"order":7}'),
        outcome: 'allowed',
        requires_approval: false,
      },
      { event_type: 'tool_result', tool_name: 'refund', tool_call_id: 'c1', outcome: 'success' },
    ])
    expect(rows[1]).toMatchObject({ tool_output: '{"refunded":12}', parent_event_id: rows[0]?.event_id })
    expect(rows[1]?.['execution_time_ms']).toBeGreaterThanOrEqual(0)
  })

  it('stores the call before the tool runs', async () => {
    const spoolDir = makeTempDirectory()
    const trail = openTrail({ ...NO_BROKER, spoolDir })
    await trail.startSession().guard(refund, () => {
      expect(trail.stats()).toMatchObject({ recorded: 3, bufferBytes: 0, acked: 0 })
    })
    await trail.close({ timeoutMs: 0 })
  })

  it('runs the tool with a frozen copy of exactly the recorded arguments', async () => {
    const given = { list: [1, { deep: true }], when: new Date(0), dropped: undefined, text: 'a\ud800b' }
    const seen: unknown[] = []
    const { rows } = await recordOf(async (session) => {
      const done = session.guard({ tool_name: 't', tool_input: given }, (input) => {
        seen.push(input)
        expect(Object.isFrozen(input) && Object.isFrozen(input.list) && Object.isFrozen(input.list[1])).toBe(true)
      })
      given.list.push(2) // Between the record and the run.
      await done
    })
    const recorded = { list: [1, { deep: true }], when: '1970-01-01T00:00:00.000Z', text: 'a\ufffdb' }
    expect(seen).toEqual([recorded])
    expect(rows[0]?.['tool_input']).toEqual(recorded)
  })

  it('records the error that the tool throws, and throws the same error', async () => {
    const thrown = Object.assign(new RangeError('too much'), { code: 'E_LIMIT' })
    const { rows, error } = await recordOf((session) => session.guard(refund, () => Promise.reject(thrown)))
    expect(error).toBe(thrown)
    expect(rows[1]).toMatchObject({
      event_type: 'tool_result',
      outcome: 'error',
      error: 'too much',
      error_type: 'RangeError',
      content: { error_code: 'E_LIMIT' },
    })
  })

  it.each([
    ['undefined', undefined, 'undefined'],
    ['null', null, 'null'],
    ['string', 'no', 'no'],
  ])('treats a thrown %s as an error', async (_, thrown, recorded) => {
    const { rows, error } = await recordOf((session) =>
      session.guard(refund, () => {
        // oxlint-disable-next-line typescript/only-throw-error
        throw thrown
      }),
    )
    expect(error).toBe(thrown)
    expect(rows[1]).toMatchObject({ outcome: 'error', error: recorded })
  })

  it('returns the value of the tool, also if the value cannot be recorded', async () => {
    const cyclic: Record<string, unknown> = {}
    cyclic['self'] = cyclic
    const values = [10n, cyclic, undefined, () => 1]
    const returned: unknown[] = []
    const { rows } = await recordOf(async (session) => {
      for (const value of values) returned.push(await session.guard(refund, () => value))
      returned.push(await session.guard(refund, () => 5, { describe: (five) => five.valueOf.call(Symbol.iterator) }))
    })
    expect(returned).toEqual([...values, 5])
    const results = rows.filter((row) => row.event_type === 'tool_result')
    expect(results.map((row) => row['outcome'])).toEqual(Array.from({ length: 5 }, () => 'success'))
    const notRecorded = results.map(
      (row) => (row['content'] as Record<string, unknown> | undefined)?.['output_not_recorded'],
    )
    expect(notRecorded).toEqual(['EVENT_INVALID', undefined, undefined, 'EVENT_INVALID', 'TypeError'])
    expect(results[0]).toMatchObject({ content: { why: 'expected JSON, not a bigint: pass its text' } })
    expect(results[1]).toMatchObject({
      tool_output: '{"self":"[not recorded: a cycle]"}',
      field_notes: { tool_output: { not_recorded: 1 } },
    })
  })

  it('records the value that `describe` returns', async () => {
    const { rows } = await recordOf((session) =>
      session.guard(refund, () => Buffer.alloc(1000), { describe: (bytes) => ({ bytes: bytes.length }) }),
    )
    expect(rows[1]).toMatchObject({ tool_output: '{"bytes":1000}' })
  })

  it('makes the session current, and the call the parent of the events that the tool records', async () => {
    const { rows } = await recordOf(async (session) => {
      session.llmCall({ input_messages: [], output_text: null })
      await session.guard({ ...refund, tool_call_id: 'outer' }, async () => {
        await Promise.resolve()
        expect(currentSession()).toBe(session)
        session.decision({ reasoning: 'inside' })
        await session.guard({ tool_name: 'inner', tool_input: {} }, () => session.run(() => session.error('oops')))
        session.startChild({ agent_id: 'helper', session_id: 'child' })
      })
      session.decision({ reasoning: 'outside' })
    })
    const [llm, outer, inside, inner, oops, innerResult, child, outerResult, outside] = rows
    expect([outer, outside].map((row) => row?.['parent_event_id'])).toEqual([llm?.event_id, llm?.event_id])
    for (const row of [inside, inner, child, outerResult]) expect(row?.['parent_event_id']).toBe(outer?.event_id)
    for (const row of [oops, innerResult]) expect(row?.['parent_event_id']).toBe(inner?.event_id)
    expect(child).toMatchObject({ event_type: 'session_start', parent_session_id: 's1' })
  })

  it('keeps parallel calls apart, in the order in which they were made, even under one id', async () => {
    const { rows } = await recordOf(async (session) => {
      const gates = [Promise.withResolvers<string>(), Promise.withResolvers<string>()]
      const calls = gates.map((gate, index) =>
        session.guard({ tool_name: `t${index}`, tool_call_id: 'same', tool_input: index }, () => gate.promise),
      )
      gates[1]?.resolve('second')
      await calls[1]
      gates[0]?.resolve('first')
      await calls[0]
    })
    expect(rows.map((row) => [row.event_type, row['tool_name'], row['tool_output']])).toEqual([
      ['tool_call', 't0', undefined],
      ['tool_call', 't1', undefined],
      ['tool_result', 't1', 'second'],
      ['tool_result', 't0', 'first'],
    ])
    expect(rows[2]?.['parent_event_id']).toBe(rows[1]?.event_id)
    expect(rows[3]?.['parent_event_id']).toBe(rows[0]?.event_id)
    expect(rows.map((row) => row.step_number)).toEqual([1, 2, 2, 1])
  })

  it('refuses wrong input, and records nothing', async () => {
    const run = vi.fn<() => void>()
    const { rows, error } = await recordOf((session) => session.guard({ tool_name: '', tool_input: 10n }, run))
    expect(error).toMatchObject({ code: 'EVENT_INVALID' })
    const other = await recordOf((session) => session.guard({ tool_name: 't', tool_input: { n: [10n] } }, run))
    expect(other.error).toMatchObject({ code: 'EVENT_INVALID', issues: [{ path: 'tool_input.n[0]' }] })
    expect([...rows, ...other.rows]).toEqual([])
    expect(run).not.toHaveBeenCalled()
  })

  it('records the result of a tool that outlives its session', async () => {
    const { rows } = await recordOf((session) => session.guard(refund, () => void session.end()))
    expect(rows.map((row) => row.event_type)).toEqual(['tool_call', 'session_end', 'tool_result'])
  })
})

describe('a policy', () => {
  it.each([
    ['denied', 'DENIED'],
    ['blocked', 'BLOCKED'],
  ] as const)('that answers %s stops the call, and the refusal is recorded', async (outcome, code) => {
    const run = vi.fn<() => void>()
    const { rows, error } = await recordOf(async (session) => {
      session.llmCall({ input_messages: [], output_text: null })
      await session.guard(refund, run, {
        check: ({ tool_input: input }) => {
          expect(input).toEqual({ eur: 12, order: 7 })
          return { outcome, reason: 'above the limit' }
        },
      })
    })
    expect(run).not.toHaveBeenCalled()
    expect(rows.slice(1)).toMatchObject([{ event_type: 'tool_call', outcome, reason: 'above the limit' }])
    expect(error).toMatchObject({ name: 'ActionRefusedError', code, retryable: false, event_id: rows[1]?.event_id })
  })

  it.each([
    ['throws', () => Promise.reject(new TypeError('policy server is down')), 'check failed: TypeError'],
    ['returns nothing', () => undefined as never, 'check failed: EVENT_INVALID'],
    ['denies without a reason', () => ({ outcome: 'denied' }) as never, 'check failed: EVENT_INVALID'],
  ])('that %s lets no call run', async (_, check, reason) => {
    const run = vi.fn<() => void>()
    const { rows, error } = await recordOf((session) => session.guard(refund, run, { check }))
    expect(run).not.toHaveBeenCalled()
    expect(rows).toMatchObject([{ event_type: 'tool_call', outcome: 'error', reason }])
    expect(error).toBeInstanceOf(Error)
  })

  it('that allows the call lets the tool run', async () => {
    const { rows, error } = await recordOf((session) =>
      session.guard(refund, () => 1, { check: async () => ({ outcome: 'allowed' }) }),
    )
    expect(error).toBeUndefined()
    expect(rows.map((row) => row['outcome'])).toEqual(['allowed', 'success'])
  })
})

describe('no record, no action', () => {
  const UNSTORED = { ...NO_BROKER, durability: 'broker', guardTimeoutMs: 20 } as const

  it('a call that is not stored in time does not run, and a record of the refusal follows it', async () => {
    const run = vi.fn<() => void>()
    const spoolDir = makeTempDirectory()
    const trail = openTrail({ ...UNSTORED, durability: 'disk', spoolDir })
    const session = trail.startSession({ session_id: 's1' })
    await expect(session.guard(refund, run, { durability: 'broker' })).rejects.toMatchObject({
      name: 'AuditUnavailableError',
      code: 'NOT_RECORDED',
      retryable: true,
    })
    expect(run).not.toHaveBeenCalled()
    await trail.close({ timeoutMs: 0 })
    // The broker is back: the record of the call arrives, and a record that the call did not run.
    const dataDir = makeTempDirectory()
    openTrail({ dataDir, spoolDir })
    await expect.poll(() => sessionRows(dataDir).length, { timeout: 20_000 }).toBe(3)
    const rows = sessionRows(dataDir).slice(1)
    expect(rows).toMatchObject([
      { event_type: 'tool_call', outcome: 'allowed' },
      { event_type: 'tool_result', outcome: 'blocked', parent_event_id: rows[0]?.event_id },
    ])
    expect(rows[1]?.['reason']).toContain('not stored')
  })

  it('a call that finds the memory full does not run, and the refusal is recorded once there is room', async () => {
    const run = vi.fn<() => void>()
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir, durability: 'memory', maxBufferBytes: 2 ** 20, onProblem: () => {} })
    const session = trail.startSession({ session_id: 's1' })
    for (let index = 0; index < 30; index++) session.decision({ reasoning: 'x'.repeat(60_000) })
    await expect(session.guard({ ...refund, tool_call_id: 'c1' }, run)).rejects.toMatchObject({
      code: 'NOT_RECORDED',
      cause: { code: 'BUFFER_FULL' },
    })
    expect(run).not.toHaveBeenCalled()
    await trail.writable()
    await trail.close()
    const calls = sessionRows(dataDir).filter((row) => row['tool_call_id'] === 'c1')
    expect(calls).toMatchObject([{ event_type: 'tool_result', outcome: 'blocked', tool_name: 'refund' }])
  })

  it.each([
    ['the call', {}, { onUnavailable: 'proceed' }],
    ['the trail', { onUnavailable: 'proceed' }, {}],
    ['the tool', { onUnavailable: { refund: 'proceed', tool_call: 'refuse' } }, {}],
    ['the event type', { onUnavailable: { tool_call: 'proceed' } }, {}],
  ] as const)('proceeds where %s says so', async (_, ofTrail, ofCall) => {
    const trail = openTrail({ ...UNSTORED, ...ofTrail })
    expect(await trail.startSession().guard(refund, () => 'ran', ofCall)).toBe('ran')
    await trail.close({ timeoutMs: 0 })
  })

  it.each([
    ['the call says so', { onUnavailable: 'proceed' }, { onUnavailable: 'refuse' }],
    ['the tool says so', { onUnavailable: { refund: 'refuse', tool_call: 'proceed' } }, {}],
    ['no option names it', { onUnavailable: { constructor: 'proceed' } }, {}],
  ] as const)('refuses where %s', async (_, ofTrail, ofCall) => {
    const trail = openTrail({ ...UNSTORED, ...ofTrail })
    await expect(trail.startSession().guard(refund, () => 'ran', ofCall)).rejects.toMatchObject({
      code: 'NOT_RECORDED',
    })
    await trail.close({ timeoutMs: 0 })
  })
})
