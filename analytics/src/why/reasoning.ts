/** What the model said before the event: the call of the model that led to it, decisions, and what the model answered. */
import type { TrailEvent } from '../queries/session-trail.ts'
import type { Reasoning } from './answer.ts'
import { mainText, memberOf, refOf, sameJson } from './fields.ts'
import type { Steps } from './find-action.ts'
import type { SessionReader, Step } from './read-session.ts'

/** The events that the reasoning is made of. */
export interface ReasoningSteps {
  readonly modelCall: Step | undefined
  readonly foundBy: 'parent_event_id' | 'tool_calls_requested'
  readonly decisions: readonly Step[]
  readonly answered: Step | undefined
}

const MOST_DECISIONS = 20
/** Between a call and the model call that asked for it; any other event ends the search. */
const BETWEEN: ReadonlySet<string> = new Set([
  'approval_request',
  'approval_decision',
  'human_intervention',
  'decision',
  'tool_call',
  'sandbox_crossing',
])

export async function findReasoning(step: Step, steps: Steps, reader: SessionReader): Promise<ReasoningSteps> {
  const causes = steps.causes(step)
  const end = causes.findIndex(({ event_type }) => !BETWEEN.has(event_type))
  const near = new Set(causes.slice(0, end < 0 ? causes.length : end))
  const last = end < 0 ? undefined : causes[end]
  const byParent = last?.event_type === 'llm_call' ? last : undefined
  const modelCall = byParent ?? (await requesterOf(step, steps, reader))
  const answered = modelCall === undefined ? last : steps.causes(modelCall)[0]
  const { before } = steps.around(step)
  // A decision follows the model call, as the tool call does: it is no cause of it.
  const beside = before.filter(
    (other) =>
      other.event_type === 'decision' &&
      (near.has(other) || (modelCall !== undefined && other.parent_event_id === modelCall.event_id)) &&
      (other.tool_call_id === null || step.tool_call_id === null || other.tool_call_id === step.tool_call_id),
  )
  const decisions = beside.slice(-MOST_DECISIONS)
  return {
    modelCall,
    foundBy: byParent === undefined ? 'tool_calls_requested' : 'parent_event_id',
    decisions,
    answered,
  }
}

async function requesterOf(step: Step, steps: Steps, reader: SessionReader): Promise<Step | undefined> {
  if (step.tool_call_id === null) return undefined
  const ids = await reader.requesters(step, step.tool_call_id)
  const events = await reader.whole(ids)
  const id = ids.find((each) => requestsOf(events.get(each)).some((call) => memberOf(call, 'id') === step.tool_call_id))
  return steps.get(id ?? null)
}

export function describeReasoning(
  found: ReasoningSteps,
  action: TrailEvent | undefined,
  whole: ReadonlyMap<string, TrailEvent>,
): Reasoning {
  const call = found.modelCall === undefined ? undefined : whole.get(found.modelCall.event_id)
  const answered = found.answered === undefined ? undefined : whole.get(found.answered.event_id)
  const decisions = found.decisions.flatMap(({ event_id }) => whole.get(event_id) ?? [])
  return {
    claimed_by: 'model',
    llm_call: call === undefined ? null : describeModelCall(call, found.foundBy, action),
    decisions: decisions.map((event) => ({ ...refOf(event), reasoning: event.reasoning })),
    answered: answered === undefined ? null : { ...refOf(answered), text: mainText(answered) },
  }
}

function describeModelCall(
  call: TrailEvent,
  found_by: ReasoningSteps['foundBy'],
  action: TrailEvent | undefined,
): NonNullable<Reasoning['llm_call']> {
  const { model_id, reasoning, output_text, stop_reason } = call
  const facts = { ...refOf(call), found_by, model_id, reasoning, output_text, stop_reason }
  return { ...facts, ...compareRequest(call, action) }
}

/** Whether the model asked for the call as it is recorded. */
function compareRequest(
  call: TrailEvent,
  action: TrailEvent | undefined,
): Pick<NonNullable<Reasoning['llm_call']>, 'asked_for' | 'asked_input'> {
  const requests = requestsOf(call)
  if (action?.tool_name === undefined || action.tool_name === null) return { asked_for: null, asked_input: null }
  if (requests.length === 0) {
    // An empty list says that it asked for no call; text that cannot be read says nothing.
    return { asked_for: Array.isArray(call.tool_calls_requested) ? 'another_call' : null, asked_input: null }
  }
  const sameTool = requests.filter((request) => memberOf(request, 'name') === action.tool_name)
  const request = sameTool.find((each) => memberOf(each, 'id') === action.tool_call_id) ?? sameTool[0]
  if (request === undefined) return { asked_for: 'another_call', asked_input: null }
  const asked_input = memberOf(request, 'input') ?? null
  return { asked_for: sameJson(asked_input, action.tool_input) ? 'this_call' : 'other_arguments', asked_input }
}

export function requestsOf(call: TrailEvent | undefined): readonly unknown[] {
  return Array.isArray(call?.tool_calls_requested) ? call.tool_calls_requested : []
}
