/** Who approved exactly what: the request, the decisions, and whether what was approved is what ran. */
import type { TrailEvent } from '../queries/session-trail.ts'
import type { ApprovalFacts, ApprovalWarning, Decision } from './answer.ts'
import { memberOf, refOf, textIn } from './fields.ts'
import type { Steps } from './find-action.ts'
import type { Step } from './read-session.ts'

const MOST_DECISIONS = 50

/** The events about the approval of an action, in their order. */
export function findApproval(action: Step, steps: Steps): Step[] {
  const causes = new Set(steps.causes(action).map(({ event_id }) => event_id))
  const about = steps.all.filter((step) => {
    if (step.event_type === 'approval_request' || step.event_type === 'approval_decision') {
      if (action.approval_id !== null) return (step.approval_id ?? step.event_id) === action.approval_id
      return causes.has(step.event_id) || ofCall(step, action, steps)
    }
    if (step.event_type !== 'human_intervention') return false
    const named = step.approval_id !== null && step.approval_id === action.approval_id
    return named || step.parent_event_id === action.event_id || causes.has(step.event_id) || ofCall(step, action, steps)
  })
  return about.slice(-MOST_DECISIONS)
}

/** Whether it names the call by its id and no other call with that id is nearer: some providers repeat ids. */
function ofCall(step: Step, action: Step, steps: Steps): boolean {
  if (action.tool_call_id === null || step.tool_call_id !== action.tool_call_id) return false
  const calls = steps.all.filter((each) => each.event_type === 'tool_call' && each.tool_call_id === action.tool_call_id)
  return (
    calls.length <= 1 ||
    calls.every((call) => call.event_id === action.event_id || call.parent_event_id !== step.event_id)
  )
}

export interface ApprovalInput {
  readonly action: TrailEvent
  /** Events of {@link findApproval}. */
  readonly events: readonly TrailEvent[]
  readonly executed: boolean | null
}

export function describeApproval({ action, events, executed }: ApprovalInput): ApprovalFacts {
  const asked = action.event_type === 'approval_request' ? action : undefined
  const request = asked ?? events.find(({ event_type }) => event_type === 'approval_request')
  const decisions = events
    .filter(({ event_type }) => event_type !== 'approval_request')
    .map((event) => decisionOf(event, action))
  const verdict = decisions.findLast(({ counts, event_type }) => counts && event_type === 'approval_decision')
  const override = decisions.findLast(
    (each) => each.counts && each.event_type === 'human_intervention' && each.event_id === action.parent_event_id,
  )
  const approved = (override ?? verdict)?.arguments_sha256 ?? null
  const ran = asked === undefined ? action.arguments_sha256 : null
  const facts = {
    required: action.requires_approval || request !== undefined,
    state: stateOf({ action, request, verdict, override }),
    request: request === undefined ? null : requestOf(request),
    decisions,
    digests: {
      asked: request?.arguments_sha256 ?? null,
      approved,
      executed: ran,
      equal: approved === null || ran === null ? null : approved === ran,
    },
  }
  return { ...facts, warnings: warningsOf({ facts, action, executed, by: override ?? verdict }) }
}

function requestOf(event: TrailEvent): NonNullable<ApprovalFacts['request']> {
  const { tool_input, arguments_sha256, reason, content } = event
  return { ...refOf(event), tool_input, arguments_sha256, reason, expires_at: textIn(content, 'expires_at') }
}

function decisionOf(event: TrailEvent, action: TrailEvent): Decision {
  const {
    approver_id,
    approval_status: status,
    reason,
    arguments_sha256,
    tool_input,
    approval,
    approval_id,
    content,
    outcome,
    log_time,
  } = event
  const modified = memberOf(approval, 'modified')
  const askers = [action.agent_id, action.user_id, action.on_behalf_of]
  return {
    ...refOf(event),
    approver_id,
    approver_kind: textIn(approval, 'approver_kind'),
    identity_source: textIn(approval, 'identity_source'),
    status: status ?? textIn(content, 'verdict'),
    counts: outcome !== 'denied' && outcome !== 'blocked' && outcome !== 'error',
    reason,
    arguments_sha256,
    shown_sha256: textIn(approval, 'shown_sha256'),
    shown: memberOf(content, 'shown') ?? null,
    modified: Array.isArray(modified) ? modified.map(String) : [],
    tool_input,
    self_approval:
      memberOf(approval, 'self_approval') === true || (approver_id !== null && askers.includes(approver_id)),
    approval_id,
    signature: textIn(approval, 'signature'),
    keyed_digests: memberOf(memberOf(event.field_notes, 'approval'), 'encrypted') === true,
    log_time,
  }
}

interface States {
  readonly action: TrailEvent
  readonly request: TrailEvent | undefined
  readonly verdict: Decision | undefined
  readonly override: Decision | undefined
}

function stateOf({ action, request, verdict, override }: States): ApprovalFacts['state'] {
  if (override !== undefined) return 'overridden'
  const status = verdict?.status ?? action.approval_status
  if (status === 'approved' || status === 'rejected' || status === 'pending') return status
  return request === undefined ? 'none' : 'pending'
}

interface Judged {
  readonly facts: Omit<ApprovalFacts, 'warnings'>
  readonly action: TrailEvent
  readonly executed: boolean | null
  readonly by: Decision | undefined
}

/** What an investigator should not have to find by comparing fields. */
function warningsOf({ facts, action, executed, by }: Judged): ApprovalFacts['warnings'] {
  const { state, required, digests, request } = facts
  const ran = executed === true
  const found: [ApprovalWarning, boolean, string][] = [
    [
      'no_approval',
      ran && required && (state === 'none' || state === 'pending'),
      'it ran without the approval that it needed',
    ],
    ['rejected', ran && state === 'rejected', 'it ran although it was rejected'],
    [
      'decision_not_recorded',
      by === undefined && action.approver_id !== null,
      'the call names an approver, but no decision is recorded',
    ],
    ['arguments_differ', ran && digests.equal === false, 'what ran is not what was approved: the digests differ'],
    ['self_approval', by?.self_approval === true, 'the approver is the one that asked'],
    ['expired', ran && isAfter(action.timestamp, request?.expires_at), 'it ran after the request had expired'],
    [
      'decided_after',
      by !== undefined && ran && isAfter(by.timestamp, action.timestamp),
      'it was decided after the call',
    ],
    [
      'identity_unknown',
      by !== undefined && by.identity_source === null,
      'where the approver was authenticated is not recorded',
    ],
  ]
  return found.flatMap(([code, holds, text]) => (holds ? [{ code, text }] : []))
}

/** Of times with different numbers of digits. */
function isAfter(time: string, other: string | null | undefined): boolean {
  if (other === null || other === undefined) return false
  const [one, two] = [Date.parse(time), Date.parse(other)]
  return one === two ? time.slice(0, 26) > other.padEnd(27, '0').slice(0, 26) && other.length >= 27 : one > two
}
