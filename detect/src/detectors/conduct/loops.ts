/** Loops: an agent that repeats itself and gets nowhere. */
import type { Finding, Session, SessionDetector, Severity } from '../../detector.ts'
import { cycles, equalErrors, isWaiting, noProgress, repeatedCalls, type Stretch } from './loop-runs.ts'
import { type Step, stepsOf } from './loop-steps.ts'

const CALLS = `countIf(event_type = 'tool_call')`
const REPEATS = `${CALLS} - uniqIf(arguments_sha256, event_type = 'tool_call')`
const TUNED =
  'new_share, the longest round, and what is left out were tuned on the made sessions of seeds 1 and 2 (judge/conduct), whose scenarios are of the same hand; the other limits are chosen by hand. On recorded sessions nothing was tuned.'
const SOURCE = `Own rule. Failed runs that repeat steps are the most frequent failure of multi-agent runs in MAST (Cemri et al. 2025, FM-1.3 step repetition). ${TUNED}`
const FRESH =
  'A call after a pause (pause_ms, and four times the usual pause of the session), after a tool that waits, or after a message of the user begins anew.'

interface Loop {
  readonly stretch: Stretch
  readonly what: string
  readonly severity: Severity
  readonly score: number
}

function findingOf(session: Session, { stretch, what, severity, score }: Loop): Finding {
  const { calls } = stretch
  const [first] = calls as [Step, ...Step[]]
  return {
    cause: `${session.session_id}/${first.call.event_id}`,
    severity,
    summary: what,
    score,
    agent_id: session.agent_id,
    session_id: session.session_id,
    signals: [
      { name: 'calls', value: calls.length, event_id: first.call.event_id },
      { name: 'actions', value: stretch.period },
      { name: 'result', value: (first.came ?? 'none').slice(0, 200) },
      { name: 'same_words', value: hasSameWords(stretch) },
    ],
    evidence: calls.slice(0, 100).map(({ call }) => call.event_id),
  }
}

/** Whether the model wrote the same each time that it began again. */
function hasSameWords({ calls, period }: Stretch): boolean {
  const again = calls.slice(period)
  return again.length > 1 && again.every(({ said }, at) => said !== undefined && said === calls[at + period - 1]?.said)
}

function sureness(times: number, least: number): number {
  return Math.min(0.99, 0.6 + 0.1 * Math.max(0, times - least))
}

/** The same words each time say that the model does not see that it repeats itself. */
function grade(stretch: Stretch, high: number): Severity {
  return stretch.times >= high || hasSameWords(stretch) ? 'high' : 'medium'
}

const toolOf = ({ calls }: Stretch): string => calls[0]?.call.tool_name ?? 'a tool'

interface RepeatedCall extends Record<string, number> {
  readonly repeats: number
  readonly live_repeats: number
  readonly waiting_repeats: number
  readonly pause_ms: number
  readonly high: number
}

const repeatedCall: SessionDetector<RepeatedCall> = {
  name: 'loop.repeated_call',
  version: 2,
  unit: 'session',
  finds: 'The agent calls a tool again and again with equal arguments, and gets the same result.',
  method: `Counts calls in a row with equal tool, equal digest of the canonical arguments and equal result (times in it left out). ${FRESH} Not counted: calls that end in another result of the same call (polling), failed calls (loop.equal_errors). A call that also gives another result in the session (a sensor) needs live_repeats, a result that says a job is under way waiting_repeats.`,
  source: `${SOURCE} The limit of 4, and that a message of the user begins anew, are those of the stuck detector of OpenHands.`,
  thresholds: { repeats: 4, live_repeats: 8, waiting_repeats: 30, pause_ms: 15_000, high: 6 },
  candidates: ({ repeats, live_repeats, waiting_repeats }) => {
    const least = Math.min(repeats, live_repeats, waiting_repeats)
    return `${CALLS} >= ${least} AND ${REPEATS} >= ${least - 1}`
  },
  find: (session, { repeats, live_repeats, waiting_repeats, pause_ms, high }) =>
    repeatedCalls(stepsOf(session, pause_ms))
      .filter(({ calls: [first] }) => first?.failed === false && first.came !== undefined)
      .filter(({ calls, times }) => {
        const least = calls[0]?.isLive === true ? live_repeats : repeats
        return times >= (calls.some(isWaiting) ? waiting_repeats : least)
      })
      .map((stretch) =>
        findingOf(session, {
          stretch,
          what: `${toolOf(stretch)} was called ${stretch.times} times in a row with equal arguments and result`,
          severity: grade(stretch, high),
          score: sureness(stretch.times, repeats),
        }),
      ),
}

interface Cycle extends Record<string, number> {
  readonly repeats: number
  readonly longest: number
  readonly live_repeats: number
  readonly waiting_times: number
  readonly pause_ms: number
  readonly high: number
}

const cycle: SessionDetector<Cycle> = {
  name: 'loop.cycle',
  version: 2,
  unit: 'session',
  finds: 'The agent goes round: the same few calls in the same order, with the same results.',
  method: `Looks for stretches in which each call equals the call \`period\` before it in tool, arguments and result, for periods from 2 to \`longest\`: reported are those with at least \`repeats\` calls beyond the first round, such as three rounds of two or two rounds of four. Two rounds alone are of low severity. ${FRESH} Not counted: rounds after which one of the calls gives another result (a test that passes). Rounds with a call that also gives another result elsewhere in the session need live_repeats, those with a result that says a job is under way waiting_times rounds.`,
  source: SOURCE,
  thresholds: { repeats: 4, longest: 6, live_repeats: 12, waiting_times: 15, pause_ms: 15_000, high: 5 },
  candidates: ({ repeats, live_repeats, waiting_times }) => {
    const least = Math.min(repeats, live_repeats, 2 * (waiting_times - 1))
    return `${CALLS} >= ${least + 2} AND ${REPEATS} >= ${least}`
  },
  find: (session, { repeats, longest, live_repeats, waiting_times, pause_ms, high }) =>
    cycles(stepsOf(session, pause_ms), longest)
      .filter(({ calls, period, times }) => {
        if (calls.some(isWaiting)) return times >= waiting_times
        return calls.length - period >= (calls.some(({ isLive }) => isLive) ? live_repeats : repeats)
      })
      .map((stretch) =>
        findingOf(session, {
          stretch,
          what: `${stretch.times} rounds of the same ${stretch.period} calls with the same results, from ${toolOf(stretch)} on`,
          severity: stretch.times < 3 ? 'low' : grade(stretch, high),
          score: sureness(stretch.times, 3),
        }),
      ),
}

const ERRORS = `countIf(event_type = 'tool_result' AND (outcome = 'error' OR error IS NOT NULL))`

const sameError: SessionDetector<{ errors: number; batch_errors: number; pause_ms: number; high: number }> = {
  name: 'loop.equal_errors',
  version: 2,
  unit: 'session',
  finds: 'A tool fails in the same way again and again, and no call of it succeeds after that.',
  method:
    'Counts calls of one tool in a row that fail with one error (class and message without numbers, ids, quoted words and words of the arguments), whatever their arguments. Not counted: errors that a success of the tool follows directly (retries with backoff). Errors of calls that each have other arguments, after at least as many successes of the tool, are items of a batch until there are batch_errors of them.',
  source: SOURCE,
  thresholds: { errors: 4, batch_errors: 10, pause_ms: 15_000, high: 7 },
  candidates: ({ errors, batch_errors }) => `${ERRORS} >= ${Math.min(errors, batch_errors)}`,
  find: (session, { errors, batch_errors, pause_ms, high }) =>
    equalErrors(stepsOf(session, pause_ms))
      .filter(({ times, isBatch }) => times >= (isBatch ? batch_errors : errors))
      .map((stretch) =>
        findingOf(session, {
          stretch,
          what: `${toolOf(stretch)} failed ${stretch.times} times in a row with the same error`,
          severity: grade(stretch, high),
          score: sureness(stretch.times, errors),
        }),
      ),
}

const stuck: SessionDetector<{ calls: number; new_share: number; pause_ms: number }> = {
  name: 'loop.no_progress',
  version: 2,
  unit: 'session',
  finds: 'For many calls the agent learns nothing: each call with its result was there before.',
  method: `A call is new if its tool, arguments and result together were not in the session before, or if its action also gives another result in the session: what it reads changes. Reported is a stretch of at least \`calls\` calls of which at most \`new_share\` are new, in any order. ${FRESH} Stretches of equal calls, of rounds and of waiting are left to the other detectors of loops.`,
  source: SOURCE,
  thresholds: { calls: 10, new_share: 0.2, pause_ms: 15_000 },
  candidates: ({ calls, new_share }) => `${CALLS} >= ${calls} AND ${REPEATS} >= ${Math.ceil(calls * (1 - new_share))}`,
  find: (session, { calls: least, new_share: newShare, pause_ms }) => {
    const steps = stepsOf(session, pause_ms)
    const known = [...repeatedCalls(steps).filter(({ times }) => times >= 4), ...cycles(steps, 6)]
    const others = new Set(known.filter(({ times }) => times >= 3).flatMap((stretch) => stretch.calls))
    return noProgress(steps, { least, newShare })
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

/** Reasons of a session's end that name a limit on its length. */
const LIMIT = String.raw`(^|[^a-z])(max(imum)?[ _-]?(number[ _-]of[ _-])?(steps|turns|iterations|rounds|calls|tokens)|(steps?|turns?|iterations?|recursion|time|token|budget)[ _-]?limit|time[sd]?[ _-]?out)`

const stepLimit: SessionDetector = {
  name: 'loop.step_limit',
  version: 2,
  unit: 'session',
  finds: 'A session was ended because a limit was reached.',
  method:
    'Reports a session_timeout, or a session_end that is no success and whose reason names a limit of steps, turns, tokens or time. Limits of the business, such as one of credit, are none.',
  source: 'The record itself. The words of reasons are chosen by hand.',
  thresholds: {},
  candidates: `countIf(event_type = 'session_timeout' OR (event_type = 'session_end' AND ifNull(outcome, '') != 'success' AND match(lower(ifNull(reason, '')), '${LIMIT}'))) > 0`,
  find: (session) =>
    session.events
      .filter(
        ({ event_type, outcome, reason }) =>
          event_type === 'session_timeout' ||
          (event_type === 'session_end' &&
            outcome !== 'success' &&
            new RegExp(LIMIT).test((reason ?? '').toLowerCase())),
      )
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
