/** Loops: an agent that repeats itself and gets nowhere. */
import type { Finding, Session, SessionDetector, Severity } from '../../detector.ts'
import { type Call, callsOf } from './calls.ts'
import { cycles, equalErrors, isWaiting, noProgress, repeatedCalls, type Stretch } from './loop-runs.ts'

const CALLS = `countIf(event_type = 'tool_call')`
const REPEATS = `${CALLS} - uniqIf(arguments_sha256, event_type = 'tool_call')`
const SOURCE =
  'Own rule. Failed runs that repeat steps are the most frequent failure of multi-agent runs in MAST (Cemri et al. 2025, FM-1.3 step repetition); the limits are chosen by hand.'

interface Loop {
  readonly stretch: Stretch
  readonly what: string
  readonly severity: Severity
  readonly score: number
}

function findingOf(session: Session, { stretch, what, severity, score }: Loop): Finding {
  const [first] = stretch.calls as [Call, ...Call[]]
  return {
    cause: `${session.session_id}/${first.call.event_id}`,
    severity,
    summary: what,
    score,
    agent_id: session.agent_id,
    session_id: session.session_id,
    signals: [
      { name: 'calls', value: stretch.calls.length, event_id: first.call.event_id },
      { name: 'actions', value: stretch.period },
      { name: 'result', value: (first.came ?? 'none').slice(0, 200) },
    ],
    evidence: stretch.calls.slice(0, 100).map(({ call }) => call.event_id),
  }
}

function sureness(times: number, least: number): number {
  return Math.min(0.99, 0.6 + 0.1 * (times - least))
}

function grade(times: number, high: number): Severity {
  return times >= high ? 'high' : 'medium'
}

const toolOf = ({ calls }: Stretch): string => calls[0]?.call.tool_name ?? 'a tool'

const repeatedCall: SessionDetector<{ repeats: number; waiting_repeats: number; high: number }> = {
  name: 'loop.repeated_call',
  version: 1,
  unit: 'session',
  finds: 'The agent calls a tool again and again with equal arguments, and gets the same result.',
  method:
    'Counts calls in a row with equal tool, equal digest of the canonical arguments and equal result (times in it left out). Not counted: calls that end in another result of the same call (polling, retries that succeed), failed calls (loop.equal_errors). A result that says a job is under way needs waiting_repeats.',
  source: SOURCE,
  thresholds: { repeats: 4, waiting_repeats: 30, high: 6 },
  candidates: `${CALLS} >= 4 AND ${REPEATS} >= 3`,
  find: (session, { repeats, waiting_repeats, high }) =>
    repeatedCalls(callsOf(session))
      .filter(({ calls: [first] }) => first?.failed === false && first.came !== undefined)
      .filter(({ calls, times }) => times >= (calls.some(isWaiting) ? waiting_repeats : repeats))
      .map((stretch) =>
        findingOf(session, {
          stretch,
          what: `${toolOf(stretch)} was called ${stretch.times} times in a row with equal arguments and result`,
          severity: grade(stretch.times, high),
          score: sureness(stretch.times, repeats),
        }),
      ),
}

const cycle: SessionDetector<{ times: number; longest: number; waiting_times: number; high: number }> = {
  name: 'loop.cycle',
  version: 1,
  unit: 'session',
  finds: 'The agent goes round: the same few calls in the same order, with the same results.',
  method:
    'Looks for stretches in which each call equals the call `period` before it in tool, arguments and result, for periods from 2 to `longest`, at least `times` rounds. Rounds with a result that says a job is under way need waiting_times.',
  source: SOURCE,
  thresholds: { times: 3, longest: 4, waiting_times: 15, high: 5 },
  candidates: `${CALLS} >= 6 AND ${REPEATS} >= 4`,
  find: (session, { times, longest, waiting_times, high }) =>
    cycles(callsOf(session), longest)
      .filter((stretch) => stretch.times >= (stretch.calls.some(isWaiting) ? waiting_times : times))
      .map((stretch) =>
        findingOf(session, {
          stretch,
          what: `${stretch.times} rounds of the same ${stretch.period} calls with the same results, from ${toolOf(stretch)} on`,
          severity: grade(stretch.times, high),
          score: sureness(stretch.times, times),
        }),
      ),
}

const sameError: SessionDetector<{ errors: number; high: number }> = {
  name: 'loop.equal_errors',
  version: 1,
  unit: 'session',
  finds: 'A tool fails in the same way again and again, and no call of it succeeds after that.',
  method:
    'Counts calls of one tool in a row that fail with one error (class and message without numbers and ids), whatever their arguments. Not counted: errors that a success of the tool follows directly (retries with backoff).',
  source: SOURCE,
  thresholds: { errors: 4, high: 7 },
  candidates: `countIf(event_type = 'tool_result' AND (outcome = 'error' OR error IS NOT NULL)) >= 4`,
  find: (session, { errors, high }) =>
    equalErrors(callsOf(session))
      .filter(({ times }) => times >= errors)
      .map((stretch) =>
        findingOf(session, {
          stretch,
          what: `${toolOf(stretch)} failed ${stretch.times} times in a row with the same error`,
          severity: grade(stretch.times, high),
          score: sureness(stretch.times, errors),
        }),
      ),
}

const stuck: SessionDetector<{ calls: number; new_share: number }> = {
  name: 'loop.no_progress',
  version: 1,
  unit: 'session',
  finds: 'For many calls the agent learns nothing: each call with its result was there before.',
  method:
    'A call is new if its tool, arguments and result together were not in the session before. Reported is a stretch of at least `calls` calls of which at most `new_share` are new, in any order. Stretches of equal calls, of rounds and of waiting are left to the other detectors of loops.',
  source: SOURCE,
  thresholds: { calls: 10, new_share: 0.1 },
  candidates: `${CALLS} >= 10 AND ${REPEATS} >= 9`,
  find: (session, { calls: least, new_share: newShare }) => {
    const calls = callsOf(session)
    const known = [...repeatedCalls(calls).filter(({ times }) => times >= 4), ...cycles(calls, 4)]
    const others = new Set(known.filter(({ times }) => times >= 3).flatMap((stretch) => stretch.calls))
    return noProgress(calls, { least, newShare })
      .filter((stretch) => !stretch.calls.some(isWaiting))
      .filter((stretch) => stretch.calls.filter((call) => others.has(call)).length < stretch.calls.length / 2)
      .map((stretch) =>
        findingOf(session, {
          stretch,
          what: `${stretch.times} calls in a row brought nothing that the session did not have before`,
          severity: 'medium',
          score: sureness(stretch.times, least),
        }),
      )
  },
}

const stepLimit: SessionDetector = {
  name: 'loop.step_limit',
  version: 1,
  unit: 'session',
  finds: 'A session was ended because a limit was reached.',
  method: 'Reports each session_timeout, with the reason that it gives.',
  source: 'The record itself: session_timeout is the event of a reached limit.',
  thresholds: {},
  candidates: `countIf(event_type = 'session_timeout') > 0`,
  find: (session) =>
    session.events
      .filter(({ event_type }) => event_type === 'session_timeout')
      .slice(0, 1)
      .map((event) => ({
        cause: session.session_id,
        severity: 'low',
        summary: `The session was ended at a limit: ${event.reason ?? 'no reason given'}`,
        score: 1,
        agent_id: session.agent_id,
        session_id: session.session_id,
        signals: [{ name: 'reason', value: event.reason ?? '', event_id: event.event_id }],
        evidence: [event.event_id],
      })),
}

export const LOOP_DETECTORS: readonly SessionDetector[] = [repeatedCall, cycle, sameError, stuck, stepLimit]
