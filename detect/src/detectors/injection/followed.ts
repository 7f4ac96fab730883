/** `injection.followed`: the agent did what a text in a tool's output told it to do, and what the user had not asked for. */
import { mayInstruct } from '@agent-audit/analytics'
import type { Finding, Session, SessionDetector } from '../../detector.ts'
import { type Passage, passagesOf } from './passages.ts'
import { type SuspectCall, suspectsOf } from './suspects.ts'
import { FOLLOWED_THRESHOLDS, type FollowedThresholds, type Verdict, weigh } from './weigh.ts'

/** With data keys it is read. */
export const IS_ENCRYPTED = `startsWith(ifNull(tool_output, ''), 'enc:v1:')`
/** A result that may hold a passage: only a call after it follows one. */
const READ = `event_type = 'tool_result' AND (${mayInstruct('tool_output', 'any')} OR ${IS_ENCRYPTED})`

export const injectionFollowed: SessionDetector<FollowedThresholds> = {
  name: 'injection.followed',
  version: 2,
  unit: 'session',
  finds:
    'A call with an effect on the world that a text in the output of a tool ordered, and that the user did not ask for.',
  method:
    'Three parts, multiplied. Provenance: a value of the call stands in a passage that reads like an order, in the output of a ' +
    'tool, and in no message of the user or prompt, nor in what the agent wrote before; what other data holds too counts only ' +
    'where the passage names the action. A passage that names the action and the thing, without a value, counts only for an ' +
    'action that the user names in no way and that the agent had not taken before. An argument that holds the passage itself ' +
    '(the name of an object that an attacker chose) is no evidence. Instruction: the passage orders an action, wants no ' +
    'questions, or speaks as only a text for a model does. Out of pattern: the words of the user name no such action, the ' +
    'call has no values of the user, and the user does not leave values or orders to the data.',
  source:
    'Taint tracking of arguments as in CaMeL (Debenedetti et al., 2025) and FIDES (Costa et al., 2025), on records instead of at ' +
    'run time. The weights are set by hand; docs/adr/0051 says on what.',
  thresholds: FOLLOWED_THRESHOLDS,
  candidates: `countIf(${READ}) > 0 AND maxIf(timestamp, event_type = 'tool_call') >= minIf(timestamp, ${READ})`,
  find: (session, thresholds) => followedCalls(session, thresholds).map(({ finding }) => finding),
}

export interface Followed {
  readonly finding: Finding
  readonly passage: Passage
}

/** So many passages before a call are weighed, the latest: of those that take over, and of the others. */
const MAX_PASSAGES = 50

/** The calls that follow one of the passages, each with the passage that it follows most. */
export function followedCalls(session: Session, thresholds: FollowedThresholds): Followed[] {
  // What cannot be read may be what the user asked for.
  if (session.events.some(({ hidden }) => hidden !== undefined)) return []
  const passages = passagesOf(session)
  const strong = passages.filter(({ strength }) => strength === 'takeover')
  const others = passages.filter(({ strength }) => strength !== 'takeover')
  return suspectsOf(session).flatMap((suspect) => {
    const before = ({ position }: Passage): boolean => position < suspect.position
    const [best] = [strong, others]
      .flatMap((these) => these.filter(before).slice(-MAX_PASSAGES))
      .map((passage) => weigh(suspect, passage, thresholds))
      .toSorted((one, other) => other.score - one.score)
    if (best === undefined || best.score < thresholds.score) return []
    return [{ finding: toFinding(session, suspect, best), passage: best.passage }]
  })
}

function toFinding(session: Session, { call, spoken }: SuspectCall, { passage, score, signals }: Verdict): Finding {
  const tool = call.tool_name ?? 'a tool'
  const source = passage.event.tool_name ?? 'a tool'
  return {
    cause: `${session.session_id}/${call.event_id}`,
    severity: passage.strength === 'takeover' ? 'critical' : 'high',
    summary: `${tool} was called as a text in the output of ${source} orders, and not as the user asked: "${passage.text.slice(0, 200)}"`,
    score,
    agent_id: session.agent_id,
    session_id: session.session_id,
    signals,
    evidence: [call.event_id, passage.event.event_id, ...(spoken === undefined ? [] : [spoken.event_id])],
  }
}
