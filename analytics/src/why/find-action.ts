/** Finds the action that an event belongs to, and the causes of an event. */
import type { TrailEvent } from '../queries/session-trail.ts'
import type { Why } from './answer.ts'
import type { Step } from './read-session.ts'

const ACTIONS: ReadonlySet<string> = new Set(['tool_call', 'sandbox_crossing'])
const OF_APPROVALS: ReadonlySet<string> = new Set(['approval_request', 'approval_decision', 'human_intervention'])
/** They lead to actions, and belong to none: a new question of a person, the model's own turn, the frame of a session. */
const BEFORE_ACTIONS: ReadonlySet<string> = new Set([
  'llm_call',
  'decision',
  'user_message',
  'session_start',
  'session_resumed',
  'session_end',
  'session_timeout',
  'state_snapshot',
])
/** A chain of causes beyond that many events is not walked. */
const LONGEST_CHAIN = 100

export interface Found {
  readonly step: Step
  readonly belongs: Exclude<Why['belongs'], null>
}

/** Steps of a session in their order, and by their ids. */
export class Steps {
  readonly all: readonly Step[]
  readonly #byId: ReadonlyMap<string, Step>

  constructor(all: readonly Step[]) {
    this.all = all
    this.#byId = new Map(all.map((step) => [step.event_id, step]))
  }

  get(id: string | null): Step | undefined {
    return id === null ? undefined : this.#byId.get(id)
  }

  /** The events before and after one, in the order of the session. */
  around(step: Step): { before: readonly Step[]; after: readonly Step[] } {
    const at = this.all.findIndex(({ event_id }) => event_id === step.event_id)
    return { before: this.all.slice(0, at), after: this.all.slice(at + 1) }
  }

  /** The causes of an event, nearest first; a chain that leads back into itself ends there. */
  causes(step: Step): Step[] {
    const chain: Step[] = []
    const seen = new Set([step.event_id])
    for (let next = this.get(step.parent_event_id); next !== undefined; next = this.get(next.parent_event_id)) {
      if (seen.has(next.event_id) || chain.length === LONGEST_CHAIN) break
      seen.add(next.event_id)
      chain.push(next)
    }
    return chain
  }
}

/** @returns undefined where the event belongs to no action. */
export function findAction(asked: TrailEvent, steps: Steps): Found | undefined {
  const step = steps.get(asked.event_id)
  if (step === undefined) return undefined
  if (ACTIONS.has(step.event_type)) return { step, belongs: 'is' }
  if (OF_APPROVALS.has(step.event_type)) return ofApproval(step, steps)
  if (BEFORE_ACTIONS.has(step.event_type)) return undefined
  for (const cause of steps.causes(step)) {
    if (ACTIONS.has(cause.event_type)) return { step: cause, belongs: 'follows' }
    if (cause.event_type === 'user_message' || cause.event_type === 'session_start') break
  }
  const call = step.tool_call_id === null ? undefined : nearestCall(step, steps)
  return call === undefined ? undefined : { step: call, belongs: 'follows' }
}

/** The call that used the approval, else the one that it was asked for; without a call the request stands for the action. */
function ofApproval(step: Step, steps: Steps): Found | undefined {
  const belongs = step.event_type === 'human_intervention' ? 'intervention' : 'approval'
  const calls = steps.all.filter(({ event_type }) => event_type === 'tool_call')
  const request = step.event_type === 'approval_request' ? step : steps.get(step.approval_id)
  const approvalId = step.approval_id ?? request?.event_id
  const used = approvalId === undefined ? [] : calls.filter((call) => call.approval_id === approvalId)
  const overridden = calls.filter((call) => call.parent_event_id === step.event_id)
  const of = [...used, ...overridden]
  const call = of.find(({ outcome }) => outcome === 'allowed') ?? of[0]
  if (call !== undefined) return { step: call, belongs }
  if (request !== undefined) return { step: request, belongs: request === step ? 'is' : belongs }
  const near = step.tool_call_id === null ? undefined : nearestCall(step, steps)
  return near === undefined ? undefined : { step: near, belongs }
}

/** Of the calls with the id of this event (some providers repeat ids) the last before it, else the first after it. */
function nearestCall(step: Step, steps: Steps): Step | undefined {
  const same = (other: Step): boolean => other.event_type === 'tool_call' && other.tool_call_id === step.tool_call_id
  const { before, after } = steps.around(step)
  return before.findLast(same) ?? after.find(same)
}
