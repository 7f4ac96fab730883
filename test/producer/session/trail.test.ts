import { createAuditTrail, currentSession } from '@agent-audit/producer'
import { describe, expect, it, vi } from 'vitest'
import { NO_BROKER, openTrail, readRows, sessionRows } from '../support.ts'
import { makeTempDirectory } from '../../support/temp-directory.ts'

describe('a run', () => {
  it('begins with trail_started and ends with trail_stopped, both without secrets', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir, systemPrompt: 'a secret prompt', environment: 'tests' })
    trail.startSession().end()
    const result = await trail.close()
    const rows = readRows(dataDir)
    expect(result).toEqual({ acked: 4, pending: 0, refused: 0 })
    expect(rows.map((row) => row.event_type)).toEqual([
      'trail_started',
      'session_start',
      'session_end',
      'trail_stopped',
    ])
    expect(rows[0]).toMatchObject({
      session_id: `trail:${trail.runId}`,
      run_id: trail.runId,
      content: { pid: process.pid },
    })
    expect(JSON.stringify(rows[0])).not.toContain('a secret prompt')
    expect(rows[3]).toMatchObject({ content: { recorded: 4, refused: 0 }, environment: 'tests' })
  })

  it('numbers its records without a gap, with rising ids and timestamps, and those of each session separately', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    const sessions = [trail.startSession(), trail.startSession(), trail.startSession()]
    for (let number = 0; number < 2000; number++) {
      sessions[number % 3]?.decision({ reasoning: `decision ${number}` })
    }
    await trail.close()
    const rows = readRows(dataDir)
    expect(rows.map((row) => row.run_seq)).toEqual(Array.from({ length: 2005 }, (_, index) => index))
    expect(new Set(rows.map((row) => row.event_id)).size).toBe(2005)
    expect(rows.map((row) => row.event_id)).toEqual(rows.map((row) => row.event_id).toSorted())
    for (const [index, row] of rows.entries()) expect(row.timestamp).toBeGreaterThan(rows[index - 1]?.timestamp ?? 0)
    for (const { session_id } of sessions) {
      const own = rows.filter((row) => row.session_id === session_id)
      expect(own.map((row) => row.session_seq)).toEqual(own.map((_, index) => index))
      expect(new Set(own.map((row) => row.partition)).size).toBe(1)
    }
  })

  it('makes UUIDv7 ids of the time, the run and the run_seq', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    const before = Date.now()
    const { event_id: id } = trail.startSession().decision({ reasoning: 'identified' })
    await trail.close()
    const row = readRows(dataDir).find((found) => found.event_id === id)
    const hex = id.replaceAll('-', '')
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(parseInt(hex.slice(0, 12), 16)).toBeGreaterThanOrEqual(before)
    expect(parseInt(hex.slice(0, 12), 16)).toBe(Math.floor((row?.timestamp ?? 0) / 1000))
    expect(parseInt(hex.slice(-8), 16)).toBe(row?.run_seq)
    const run = BigInt(`0x${trail.runId}`)
    const ofRun = (BigInt(`0x${hex}`) >> 32n) & 0x3fffffffn
    expect(ofRun).toBe((run >> 80n) & 0x3fffffffn)
  })

  it('sends its records to the topic of its retention class', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir, retentionClass: 'pci', topic: 'acme.events' })
    await trail.close()
    expect(readRows(dataDir, 'acme.events.pci')).toMatchObject([{ retention_class: 'pci' }, { retention_class: 'pci' }])
  })
})

describe('flush and close', () => {
  it('flush waits for all events that were recorded before the call', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    const session = trail.startSession()
    for (let number = 0; number < 1500; number++) session.decision({ reasoning: `decision ${number}` })
    expect(await trail.flush()).toEqual({ acked: 1502, pending: 0, refused: 0 })
    expect(readRows(dataDir)).toHaveLength(1502)
  })

  it('flush resolves with the number of pending events when its time is up', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ ...NO_BROKER, spoolDir: dataDir })
    trail.startSession()
    expect(await trail.flush({ timeoutMs: 50 })).toEqual({ acked: 0, pending: 2, refused: 0 })
    await trail.close({ timeoutMs: 0 })
  })

  it('close can be called again, and recording after it throws TRAIL_CLOSED', async () => {
    const trail = openTrail({ dataDir: makeTempDirectory() })
    const session = trail.startSession()
    const closing = trail.close()
    expect(trail.close()).toBe(closing)
    expect(() => session.decision({ reasoning: 'late' })).toThrow(expect.objectContaining({ code: 'TRAIL_CLOSED' }))
    expect(() => trail.startSession()).toThrow(expect.objectContaining({ code: 'TRAIL_CLOSED' }))
    expect(await closing).toMatchObject({ pending: 0 })
  })

  it('await using closes the trail', async () => {
    const dataDir = makeTempDirectory()
    {
      await using trail = createAuditTrail({ agentId: 'agent-1', dataDir })
      trail.startSession()
    }
    expect(readRows(dataDir).at(-1)?.event_type).toBe('trail_stopped')
  })

  it('stats count recorded and acknowledged events', async () => {
    const trail = openTrail({ dataDir: makeTempDirectory() })
    const session = trail.startSession()
    session.decision({ reasoning: 'counted' })
    expect(trail.stats()).toMatchObject({ recorded: 3, acked: 0, pending: 3, refused: 0 })
    await trail.flush()
    await expect
      .poll(() => trail.stats())
      .toMatchObject({ acked: 3, pending: 0, connected: true, spoolBytes: 0, bufferBytes: 0 })
  })
})

describe('withSession', () => {
  it('runs the work with the session as the current one, across awaits, and ends the session', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    const result = await trail.withSession({ session_id: 's1' }, async (session) => {
      await Promise.resolve()
      expect(currentSession()).toBe(session)
      return 'done'
    })
    expect(result).toBe('done')
    expect(currentSession()).toBeUndefined()
    await trail.close()
    expect(sessionRows(dataDir)).toMatchObject([
      { event_type: 'session_start', session_id: 's1' },
      { event_type: 'session_end', outcome: 'success' },
    ])
  })

  it('records the error that the work throws, ends with outcome error, and throws the same error', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    const thrown = new RangeError('too far')
    await expect(trail.withSession({}, () => Promise.reject(thrown))).rejects.toBe(thrown)
    await trail.close()
    expect(sessionRows(dataDir)).toMatchObject([
      { event_type: 'session_start' },
      { event_type: 'error', error: 'too far', error_type: 'RangeError' },
      { event_type: 'session_end', outcome: 'error' },
    ])
  })

  it('does not end a session that its work has ended', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    await trail.withSession({}, (session) => session.timeout({ reason: 'max_iterations_reached' }))
    await trail.close()
    expect(sessionRows(dataDir).map((row) => row.event_type)).toEqual(['session_start', 'session_timeout'])
  })
})

describe('a session', () => {
  it('goes on in another trail that resumes its ref', async () => {
    const dataDir = makeTempDirectory()
    const first = openTrail({ dataDir, agentVersion: '1.0' })
    const session = first.startSession({ session_id: 's1', user_id: 'u1', system_prompt: 'Be brief.' })
    const call = session.toolCall({ tool_name: 'search', tool_input: {} })
    const ref = JSON.parse(JSON.stringify(session.ref)) as typeof session.ref
    await first.close()
    const second = openTrail({ dataDir, agentId: 'agent-2' })
    second.resumeSession(ref).decision({ reasoning: 'goes on' })
    await second.close()
    const rows = sessionRows(dataDir).filter((row) => row['run_id'] === second.runId)
    expect(rows).toMatchObject([
      { event_type: 'session_resumed', parent_event_id: call.event_id, content: { from_run_id: first.runId } },
      {
        event_type: 'decision',
        session_id: 's1',
        agent_id: 'agent-1',
        user_id: 'u1',
        agent_version: '1.0',
        step_number: 1,
      },
    ])
    expect(rows[1]?.['system_prompt_hash']).toBe(sessionRows(dataDir)[0]?.['system_prompt_hash'])
  })

  it('is not resumed from a malformed ref, and the error names every wrong field', () => {
    const trail = openTrail({ dataDir: makeTempDirectory() })
    const ref = { session_id: '', run_id: 'x', last_event_id: 'y', step_number: -1, trace_id: null, stamped: {} }
    expect(() => trail.resumeSession(ref)).toThrow(
      expect.objectContaining({
        code: 'EVENT_INVALID',
        issues: ['session_id', 'run_id', 'last_event_id', 'step_number'].map(
          (path) => expect.objectContaining({ path }) as unknown,
        ),
      }),
    )
  })

  it('starts a child with its own session id, whose parent is the newest event of the parent session', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir })
    const parent = trail.startSession({ session_id: 'parent' })
    const call = parent.toolCall({ tool_name: 'delegate', tool_input: {} })
    parent.startChild({ agent_id: 'helper', session_id: 'child' })
    await trail.close()
    expect(sessionRows(dataDir).at(-1)).toMatchObject({
      event_type: 'session_start',
      session_id: 'child',
      agent_id: 'helper',
      parent_session_id: 'parent',
      parent_event_id: call.event_id,
      step_number: 0,
    })
  })

  it('records the text of a system prompt once a run, and its digest on every event', async () => {
    const dataDir = makeTempDirectory()
    const trail = openTrail({ dataDir, systemPrompt: 'Be brief.' })
    for (const session_id of ['a', 'b']) trail.startSession({ session_id }).decision({ reasoning: 'r' })
    trail.startSession({ session_id: 'c', system_prompt: 'Be long.' })
    await trail.close()
    const rows = sessionRows(dataDir)
    // printf 'Be brief.' | sha256sum
    const digest = '213c22ed7234eb11116e1e88f314c73cb3a019b5c87fe224b6ce5665bd9ec50e'
    expect(rows[0]?.['content']).toEqual({ system_prompt: 'Be brief.' })
    expect(rows[2]?.['content']).toBeUndefined()
    expect(rows[4]?.['content']).toEqual({ system_prompt: 'Be long.' })
    expect(rows.slice(0, 4).map((row) => row['system_prompt_hash'])).toEqual([digest, digest, digest, digest])
  })

  it('stamps the current trace, and records without a trace when the lookup throws', async () => {
    const dataDir = makeTempDirectory()
    const traceContext = vi.fn<() => { traceId: string; spanId: string } | undefined>()
    traceContext.mockReturnValue({ traceId: 'A'.repeat(32), spanId: 'b'.repeat(16) })
    const trail = openTrail({ dataDir, traceContext })
    const session = trail.startSession()
    traceContext.mockImplementation(() => {
      throw new Error('no tracer')
    })
    session.decision({ reasoning: 'r' })
    await trail.close()
    const [start, decision] = sessionRows(dataDir)
    expect(start).toMatchObject({ trace_id: 'a'.repeat(32), span_id: 'b'.repeat(16) })
    expect(decision).not.toHaveProperty('trace_id')
  })

  it('a trace whose ids have another form than those of OpenTelemetry is left out: redaction does not look there', async () => {
    const dataDir = makeTempDirectory()
    const right = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16) }
    const wrong = [
      { ...right, traceId: `ghp_${'a1B2'.repeat(9)}` },
      { ...right, spanId: 'password=hunter2' },
      { ...right, traceId: `${right.traceId}\n` },
      { ...right, spanId: right.traceId },
      { ...right, traceId: [right.traceId] as never },
    ]
    let trace = right
    const trail = openTrail({ dataDir, traceContext: () => trace })
    const session = trail.startSession()
    for (trace of wrong) session.decision({ reasoning: 'r' })
    await trail.close()
    const [start, ...decisions] = sessionRows(dataDir)
    expect(start).toMatchObject({ trace_id: right.traceId, span_id: right.spanId })
    expect(decisions.map((row) => [row['trace_id'], row['span_id']])).toEqual(wrong.map(() => [undefined, undefined]))
  })
})
