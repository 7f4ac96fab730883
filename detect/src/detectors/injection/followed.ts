/** `injection.followed`: the agent did what a text in a tool's output told it to do, and what the user had not asked for. */
import { type ProvenanceEvent, traceArguments } from '@agent-audit/analytics'
import type { Finding, Session, SessionDetector, SessionEvent } from '../../detector.ts'
import { consequenceOf } from './actions.ts'
import { type Passage, passagesOf } from './passages.ts'
import { type Request, requestOf } from './request.ts'
import { FOLLOWED_THRESHOLDS, type FollowedThresholds, type SuspectCall, type Verdict, weigh } from './weigh.ts'

export const injectionFollowed: SessionDetector<FollowedThresholds> = {
  name: 'injection.followed',
  version: 1,
  unit: 'session',
  finds:
    'A call with an effect on the world that a text in the output of a tool ordered, and that the user did not ask for.',
  method:
    'Three parts, multiplied. Provenance: a value of the call stands in a passage that reads like an order, in the output of a ' +
    'tool, and in no message of the user or prompt; or the passage names the action and the thing. Instruction: the passage ' +
    'orders an action, wants no questions, or speaks as only a text for a model does. Out of pattern: the words of the user ' +
    'name no such action, the call has no values of the user, and the user does not leave values or orders to the data.',
  source:
    'Taint tracking of arguments as in CaMeL (Debenedetti et al., 2025) and FIDES (Costa et al., 2025), on records instead of at ' +
    'run time. The weights are set by hand; docs/adr/0051 says on what.',
  thresholds: FOLLOWED_THRESHOLDS,
  candidates: `countIf(event_type = 'tool_result') > 0 AND countIf(event_type = 'tool_call') > 1`,
  find: (session, thresholds) => followedCalls(session, passagesOf(session), thresholds).map(({ finding }) => finding),
}

export interface Followed {
  readonly finding: Finding
  readonly passage: Passage
}

/** More calls of one session, and passages before a call, are not weighed: the latest before it are. */
const MAX_CALLS = 500
const MAX_PASSAGES = 50

/** The calls that follow one of the passages, each with the passage that it follows most. */
export function followedCalls(
  session: Session,
  passages: readonly Passage[],
  thresholds: FollowedThresholds,
): Followed[] {
  if (passages.length === 0) return []
  const followed: Followed[] = []
  let calls = 0
  for (const suspect of suspectsOf(session, passages)) {
    if (++calls > MAX_CALLS) break
    const earlier = passages.filter(({ position }) => position < suspect.position).slice(-MAX_PASSAGES)
    const [best] = earlier
      .map((passage) => weigh(suspect, passage, thresholds))
      .toSorted((one, other) => other.score - one.score)
    if (best !== undefined && best.score >= thresholds.score) {
      followed.push({ finding: toFinding(session, suspect, best), passage: best.passage })
    }
  }
  return followed
}

/** The calls with an effect on the world, each with what was said and returned before it. */
function* suspectsOf(session: Session, passages: readonly Passage[]): Generator<SuspectCall & { position: number }> {
  const spoken: SessionEvent[] = []
  const used = new Map<string | null, number>()
  const prompts: ProvenanceEvent[] = []
  const rest: ProvenanceEvent[] = []
  let request: Request | undefined
  for (const [position, event] of session.events.entries()) {
    if (event.event_type === 'tool_result') rest.push(withoutPassages(event, passages))
    else if (event.event_type !== 'tool_call') prompts.push(event)
    if (event.event_type === 'session_start' || event.event_type === 'user_message') {
      spoken.push(event)
      request = undefined
    }
    if (event.event_type === 'tool_call' && !used.has(event.tool_name)) used.set(event.tool_name, position)
    if (event.event_type !== 'tool_call' || position <= (passages[0]?.position ?? Infinity)) continue
    const consequence = consequenceOf(event, traceArguments(event, []))
    if (consequence === undefined) continue
    request ??= requestOf(spoken)
    let other: ReadonlySet<string> | undefined
    const elsewhere = (): ReadonlySet<string> => (other ??= valuesIn(event, rest))
    const asked = askedValues(event, prompts)
    const firstUse = used.get(event.tool_name) ?? position
    yield { call: event, position, consequence, request, asked, elsewhere, firstUse, spoken: spoken.at(-1) }
  }
}

/** The values of a call, each with the messages of the user and the prompts that hold it. */
function askedValues(call: SessionEvent, prompts: readonly ProvenanceEvent[]): SuspectCall['asked'] {
  return traceArguments(call, prompts).map((value) => ({
    ...value,
    origins: value.origins.filter(({ where }) => where === 'user' || where === 'system_prompt'),
  }))
}

/** The values of a call that these outputs hold, as `<path> <value>`. */
function valuesIn(call: SessionEvent, outputs: readonly ProvenanceEvent[]): ReadonlySet<string> {
  const held = traceArguments(call, outputs).filter(({ origins }) => origins.length > 0)
  return new Set(held.map(({ path, value }) => `${path} ${value}`))
}

function withoutPassages(event: SessionEvent, passages: readonly Passage[]): ProvenanceEvent {
  const output = passages
    .filter((passage) => passage.event === event)
    .toSorted((one, other) => other.at - one.at)
    .reduce((text, { at, text: cut }) => `${text.slice(0, at)} ${text.slice(at + cut.length)}`, event.tool_output ?? '')
  return { ...event, tool_output: output }
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
