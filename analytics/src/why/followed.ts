/** What came after an action: its results, what the model made of them, errors, interventions, sub-agents. */
import type { TrailEvent } from '../queries/session-trail.ts'
import type { Followed } from './answer.ts'
import { mainText, refOf } from './fields.ts'
import type { Steps } from './find-action.ts'
import type { Step } from './read-session.ts'

type Relation = Followed['events'][number]['relation']

export interface FollowingStep {
  readonly step: Step
  readonly relation: Relation
  readonly caused: boolean
}

const MOST_EVENTS = 40
/** Told wherever they come in the rest of the session. */
const LATER: ReadonlyMap<string, Relation> = new Map<string, Relation>([
  ['error', 'error'],
  ['human_intervention', 'intervention'],
  ['session_end', 'end'],
  ['session_timeout', 'end'],
])
const RELATIONS: ReadonlyMap<string, Relation> = new Map<string, Relation>([
  ...LATER,
  ['tool_result', 'result'],
  ['llm_call', 'model_call'],
  ['tool_call', 'next_call'],
  ['sandbox_crossing', 'crossing'],
  ['final_output', 'output'],
])

/**
 * The events that the action caused, up to the next calls that the model made of its result, and what else went wrong or ended
 * later. The whole rest of a session follows from each of its actions: it is not listed.
 */
export function findFollowing(action: Step, steps: Steps): FollowingStep[] {
  const { after } = steps.around(action)
  /** Whether further events follow from it here. */
  const open = new Map<string, boolean>([[action.event_id, true]])
  const found: FollowingStep[] = []
  let modelCalls = 0
  for (const step of after) {
    const caused = open.get(step.parent_event_id ?? '') === true
    const later = LATER.get(step.event_type)
    if (caused) {
      // The first model call after the action has read its result; what a later one asks for has other causes too.
      if (step.event_type === 'llm_call') modelCalls++
      open.set(step.event_id, step.event_type !== 'tool_call' && (step.event_type !== 'llm_call' || modelCalls === 1))
    }
    if (!caused && later === undefined) continue
    found.push({ step, relation: RELATIONS.get(step.event_type) ?? 'other', caused })
  }
  return found.slice(0, MOST_EVENTS)
}

export function describeFollowing(
  following: readonly FollowingStep[],
  whole: ReadonlyMap<string, TrailEvent>,
): Followed['events'] {
  return following.map(({ step, relation, caused }) => {
    const event = whole.get(step.event_id)
    return { ...refOf(step), relation, caused, text: event === undefined ? null : mainText(event) }
  })
}

/** The results of a call, in their order. */
export function findResults(action: Step, steps: Steps): Step[] {
  if (action.event_type !== 'tool_call') return []
  const { after } = steps.around(action)
  const results = after.filter(({ event_type }) => event_type === 'tool_result')
  const own = results.filter(({ parent_event_id }) => parent_event_id === action.event_id)
  if (own.length > 0 || action.tool_call_id === null) return own
  // Another producer may leave the parent out: the first result with this id, up to the next call with it.
  const next = after.findIndex((step) => step.event_type === 'tool_call' && step.tool_call_id === action.tool_call_id)
  const until = next < 0 ? after : after.slice(0, next)
  const match = until.find((step) => step.event_type === 'tool_result' && step.tool_call_id === action.tool_call_id)
  return match === undefined ? [] : [match]
}
