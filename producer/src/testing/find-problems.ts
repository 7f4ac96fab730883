/** Finds the problems that a reviewer of a trail would report. */
import type { TestEvent } from './test-events.ts'

/** @param recorded - Number of events the run has recorded, stored or not. */
export function findProblems(events: readonly TestEvent[], recorded: number): string[] {
  return [
    ...findOpenSessions(events),
    ...findCallsWithoutResult(events),
    ...findUnapproved(events),
    ...findGaps(events, recorded),
  ]
}

function findOpenSessions(events: readonly TestEvent[]): string[] {
  const open = new Set<string>()
  for (const { event_type: type, session_id: id } of events) {
    if (type === 'session_start' || type === 'session_resumed') open.add(id)
    if (type === 'session_end' || type === 'session_timeout') open.delete(id)
  }
  return Array.from(open, (id) => `session ${id} was not ended`)
}

/** Calls that were allowed to run. */
function allowedCalls(events: readonly TestEvent[]): TestEvent[] {
  return events.filter(
    ({ event_type: type, outcome }) => type === 'tool_call' && (outcome === null || outcome === 'allowed'),
  )
}

function resultOf(call: TestEvent, events: readonly TestEvent[]): TestEvent | undefined {
  return events.find((event) => event.event_type === 'tool_result' && event.parent_event_id === call.event_id)
}

function findCallsWithoutResult(events: readonly TestEvent[]): string[] {
  return allowedCalls(events)
    .filter((call) => resultOf(call, events) === undefined)
    .map((call) => `${nameOf(call)} has no result`)
}

function findUnapproved(events: readonly TestEvent[]): string[] {
  const run = allowedCalls(events).filter((call) => resultOf(call, events)?.outcome !== 'blocked')
  const used = new Set<string>()
  return run.flatMap((call) => {
    const { approval_id: id } = call
    if (id === null && call.approver_id !== null) return findOverrideProblem(call, events, used)
    if (id === null) return call.requires_approval ? [`${nameOf(call)} ran without an approval`] : []
    const again = used.has(id)
    used.add(id)
    if (again) return [`${nameOf(call)} ran on approval ${id}, which was used before`]
    return findApprovalProblem(
      call,
      events.filter((event) => event.approval_id === id),
    )
  })
}

function findApprovalProblem(call: TestEvent, ofApproval: readonly TestEvent[]): string[] {
  const decision = ofApproval.find((event) => event.event_type === 'approval_decision' && event.outcome === null)
  if (decision === undefined)
    return [`${nameOf(call)} ran on approval ${call.approval_id}, whose decision is not on record`]
  if (decision.approval_status !== 'approved') return [`${nameOf(call)} ran though it was rejected`]
  if (decision.arguments_sha256 === call.arguments_sha256 && decision.tool_name === call.tool_name) return []
  return [`${nameOf(call)} differs from the approved call`]
}

/** A call with an approver and without an approval must follow from that person's override. */
function findOverrideProblem(call: TestEvent, events: readonly TestEvent[], used: Set<string>): string[] {
  const id = call.parent_event_id ?? ''
  const override = events.find((event) => event.event_type === 'human_intervention' && event.event_id === id)
  if (override === undefined) return [`${nameOf(call)} ran on an override that is not on record`]
  const again = used.has(id)
  used.add(id)
  if (again) return [`${nameOf(call)} ran on override ${id}, which was used before`]
  if (override.arguments_sha256 === call.arguments_sha256 && override.tool_name === call.tool_name) return []
  return [`${nameOf(call)} differs from the overridden call`]
}

function findGaps(events: readonly TestEvent[], recorded: number): string[] {
  const present = new Set(events.flatMap((event) => [event.run_seq, ...explainedBy(event)]))
  const missing = Array.from({ length: recorded }, (_, seq) => seq).filter((seq) => !present.has(seq))
  return missing.length === 0 ? [] : [`${missing.length} events are missing: run_seq ${missing.join(', ')}`]
}

/** Positions that an events_lost event explains: these events were refused, and the trail says so. */
function explainedBy({ event_type: type, content }: TestEvent): number[] {
  if (type !== 'events_lost') return []
  const { first_run_seq: first, count } = content as { first_run_seq: number; count: number }
  return Array.from({ length: count }, (_, index) => first + index)
}

function nameOf(call: TestEvent): string {
  return `tool_call ${call.tool_name} (${call.tool_call_id})`
}
