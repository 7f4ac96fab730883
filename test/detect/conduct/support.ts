/** Sessions for detectors of conduct: hand-made ones, and those of the real producer. */
import {
  DETECTORS,
  type Finding,
  type Session,
  SESSION_FIELDS,
  type SessionDetector,
  type SessionEvent,
} from '@agent-audit/detect'
import type { AuditSession } from '@agent-audit/producer'
import { createTestTrail, type TestTrail, type TestTrailOptions } from '@agent-audit/producer/testing'
import { sha256 } from '../../producer/support.ts'

const NOTHING = Object.fromEntries(SESSION_FIELDS.map((name) => [name, null])) as unknown as SessionEvent
const START = Date.parse('2026-11-24T10:00:00Z')

/** An event `second` seconds into the session; its number is its id. */
export function event(number: number, fields: Partial<SessionEvent>, second: number = number): SessionEvent {
  return {
    ...NOTHING,
    event_id: `e${number}`,
    timestamp: new Date(START + second * 1000).toISOString(),
    session_id: 's1',
    agent_id: 'support',
    user_id: 'alice',
    run_id: '01',
    run_seq: number,
    step_number: number,
    requires_approval: false,
    ...fields,
  }
}

export function sessionOf(events: readonly SessionEvent[]): Session {
  return { session_id: 's1', agent_id: 'support', events }
}

/** `lookup {"page":1} -> text`, or `!text` for an error: calls with their results, a second apart. */
export function callsOf(lines: readonly (readonly [tool: string, input: unknown, came: string])[]): Session {
  const events = lines.flatMap(([tool_name, tool_input, came], index) => {
    const arguments_sha256 = sha256(JSON.stringify(tool_input))
    const call = { tool_name, tool_call_id: `c${index}` }
    const failed = came.startsWith('!')
    const result = failed
      ? { outcome: 'error', error: came.slice(1), error_type: 'Error' }
      : { outcome: 'success', tool_output: came }
    return [
      event(2 * index, { event_type: 'tool_call', outcome: 'allowed', ...call, tool_input, arguments_sha256 }),
      event(2 * index + 1, { event_type: 'tool_result', ...call, ...result }),
    ]
  })
  return sessionOf(events)
}

export function detector(name: string): SessionDetector {
  const found = DETECTORS.find((each) => each.name === name)
  if (found?.unit !== 'session') throw new Error(`no detector of sessions is called ${name}`)
  return found
}

export function find(name: string, session: Session): Finding[] {
  const of = detector(name)
  return of.find(session, of.thresholds)
}

/** What the real producer records, as the engine reads it. */
export async function recorded(
  work: (trail: TestTrail, session: AuditSession) => Promise<unknown>,
  options: TestTrailOptions = {},
): Promise<Session> {
  const test = createTestTrail({ agentId: 'support', ...options })
  const session = test.startSession({ session_id: 's1', user_id: 'alice' })
  await work(test, session)
  await test.close()
  const events = test
    .events()
    .filter(({ session_id }) => session_id === 's1')
    .map((each) => ({ ...each, timestamp: new Date(each.timestamp / 1000).toISOString() }))
  return sessionOf(events as unknown as SessionEvent[])
}
