/** Detectors over encrypted texts: with the data keys as over clear ones, without them nothing is taken for a text of the agent. */
import { connectAnalytics } from '@agent-audit/analytics'
import { DETECTORS, isHidden, type Session, type SessionDetector } from '@agent-audit/detect'
import { beforeAll, describe, expect, it } from 'vitest'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../analytics/support.ts'
import { MAIL, storedTrail } from '../analytics/why-support.ts'
import { ANNA, asStored, newStore } from '../erasure/support.ts'
import { causes, judgeAll } from './support.ts'

/** Calls with equal arguments and equal outcomes, so many that a loop is found. */
const REPEATS = 8

function spy(): SessionDetector & { readonly seen: Session[] } {
  const seen: Session[] = []
  const about = { version: 1, finds: 'for tests', method: 'looks', source: 'tests', thresholds: {} }
  const find = (session: Session) => {
    seen.push(session)
    return []
  }
  return { ...about, name: 'test.spy', unit: 'session', candidates: 'true', find, seen }
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`detectors over encrypted texts ${NO_CLICKHOUSE ?? ''}`, () => {
  let tests: TestServer
  beforeAll(async () => {
    tests = await startTestServer()
  })

  it('judge clear texts with the keys, and leave out what they cannot read', async () => {
    const trail = await tests.newTrail()
    const { options, store } = newStore()
    await storedTrail(
      trail,
      (recorder) =>
        recorder.withSession(
          { session_id: 'mail', user_id: ANNA.id, user_message: 'What is in my mail?' },
          (session) => {
            const read = { tool_name: 'read_mail', tool_call_id: 'c1' }
            session.toolCall({ ...read, tool_input: {}, outcome: 'allowed' })
            session.toolResult({ ...read, tool_output: MAIL, outcome: 'success' })
            const pay = { tool_name: 'send_payment', tool_call_id: 'c2' }
            session.toolCall({ ...pay, tool_input: { to: 'GB33BUKB20201555555555' }, outcome: 'allowed' })
            session.toolResult({ ...pay, tool_output: 'paid', outcome: 'success' })
            for (let index = 0; index < REPEATS; index++) {
              const look = { tool_name: 'look', tool_call_id: `l${index}` }
              session.toolCall({ ...look, tool_input: { page: 1 }, outcome: 'allowed' })
              session.toolResult({ ...look, tool_output: 'nothing', outcome: 'success' })
            }
          },
        ),
      { encryption: { keys: options }, change: asStored },
    )
    const without = spy()
    await judgeAll(trail, { detectors: [...DETECTORS, without] })
    expect((await causes(trail)).filter((cause) => /^(injection|loop|detector)/.test(cause))).toEqual([])
    const [hidden] = without.seen
    expect(JSON.stringify(hidden)).not.toMatch(/enc:v1|\[encrypted/)
    const calls = hidden?.events.filter(({ event_type: type }) => type === 'tool_call') ?? []
    expect(calls).toHaveLength(REPEATS + 2)
    expect(calls.every((call) => call.tool_input === null && isHidden(call, 'tool_input'))).toBe(true)

    await trail.command('TRUNCATE TABLE {database:Identifier}.audit_detector_cursors')
    await using reader = connectAnalytics({ ...trail.server, keys: store })
    const withKeys = spy()
    await judgeAll(reader, { detectors: [...DETECTORS, withKeys] })
    const found = (await causes(trail)).map((cause) => cause.split(' ')[0])
    expect(found).toEqual(expect.arrayContaining(['injection.followed', 'loop.repeated_call']))
    expect(JSON.stringify(withKeys.seen)).toContain('What is in my mail?')
    expect(withKeys.seen[0]?.events.some((event) => 'hidden' in event || 'field_notes' in event)).toBe(false)

    // After the erasure the arguments of all calls are gone: they are no equal ones.
    store.erase(ANNA)
    await trail.command('TRUNCATE TABLE {database:Identifier}.audit_detector_cursors')
    await trail.command('TRUNCATE TABLE {database:Identifier}.audit_findings')
    await judgeAll(reader, { detectors: DETECTORS })
    expect((await causes(trail)).filter((cause) => /^(injection|loop|detector)/.test(cause))).toEqual([])
  })
})
