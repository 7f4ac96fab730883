/** What a session's record says of approvals: requests, decisions, overrides, and the calls that ran under them. */
import type { Session, SessionEvent } from '../../detector.ts'
import { type Call, callsOf, isExecuted } from './calls.ts'

export type Fault =
  | 'without_approval'
  | 'not_on_record'
  | 'after_rejection'
  | 'near_rejection'
  | 'after_expiry'
  | 'other_arguments'
  | 'other_tool'
  | 'used_again'

export interface Bypass {
  readonly fault: Fault
  readonly call: SessionEvent
  /** The request, decision or override that says so. */
  readonly shown: readonly SessionEvent[]
}

interface Approvals {
  readonly requests: readonly SessionEvent[]
  readonly decisions: readonly SessionEvent[]
  readonly overrides: readonly SessionEvent[]
}

/** Every executed call that its approvals do not cover. @param graceMs - Clocks of two processes differ by so much. */
export function bypasses(session: Session, graceMs: number): Bypass[] {
  const approvals: Approvals = {
    requests: ofType(session, 'approval_request'),
    decisions: ofType(session, 'approval_decision').filter(({ outcome }) => outcome !== 'denied'),
    overrides: ofType(session, 'human_intervention').filter(({ outcome }) => outcome !== 'denied'),
  }
  const used = new Map<string, SessionEvent>()
  return callsOf(session)
    .filter(isExecuted)
    .flatMap((executed) => {
      const found = judge(executed, approvals, { used, graceMs })
      return found === undefined ? [] : [{ ...found, call: executed.call }]
    })
}

interface Context {
  readonly used: Map<string, SessionEvent>
  readonly graceMs: number
}
type Found = Omit<Bypass, 'call'> | undefined

function judge({ call }: Call, approvals: Approvals, context: Context): Found {
  const override = approvals.overrides.find(({ event_id }) => event_id === call.parent_event_id)
  if (override !== undefined && override.tool_name !== null && call.approval_id === null) {
    return faultOf(call, override, { expiry: override, key: override.event_id, ...context })
  }
  if (call.approval_id !== null) return judgeApproved(call, approvals, context)
  return judgeUnnamed(call, approvals, context)
}

function judgeApproved(call: SessionEvent, { requests, decisions }: Approvals, context: Context): Found {
  const of = decisions.filter(({ approval_id }) => approval_id === call.approval_id)
  const request = requests.find(({ approval_id, event_id }) => (approval_id ?? event_id) === call.approval_id)
  // The decision that the call names, or the last one before it.
  const decision =
    of.find(({ event_id }) => event_id === call.parent_event_id) ??
    of.findLast(({ timestamp }) => timestamp <= call.timestamp)
  if (decision === undefined) {
    return { fault: 'not_on_record', shown: request === undefined ? [] : [request] }
  }
  const rejected = of.find(
    ({ approval_status, timestamp }) =>
      approval_status === 'rejected' && timestamp >= decision.timestamp && timestamp <= call.timestamp,
  )
  const refusal = decision.approval_status === 'approved' ? rejected : decision
  if (refusal !== undefined) return { fault: 'after_rejection', shown: [refusal] }
  return faultOf(call, decision, { expiry: request, key: call.approval_id ?? '', ...context })
}

interface Terms extends Context {
  /** The event that has the expiry in its content. */
  readonly expiry: SessionEvent | undefined
  /** Used once. */
  readonly key: string
}

function faultOf(call: SessionEvent, granted: SessionEvent, { expiry, key, used, graceMs }: Terms): Found {
  const shown = [granted]
  if (granted.tool_name !== null && granted.tool_name !== call.tool_name) return { fault: 'other_tool', shown }
  const [given, ran] = [granted.arguments_sha256, call.arguments_sha256]
  if (given !== null && ran !== null && given !== ran) return { fault: 'other_arguments', shown }
  const expires = Date.parse(textOf(expiry?.content, 'expires_at'))
  const late = [granted, call].find(({ timestamp }) => Date.parse(timestamp) > expires + graceMs)
  if (late !== undefined) return { fault: 'after_expiry', shown: expiry === undefined ? shown : [expiry, granted] }
  const before = used.get(key)
  used.set(key, call)
  return before === undefined ? undefined : { fault: 'used_again', shown: [before, granted] }
}

/** A call that names no approval: one that needs none is judged only where exactly its action was asked for. */
function judgeUnnamed(call: SessionEvent, { requests, decisions, overrides }: Approvals, context: Context): Found {
  const none: Found = call.requires_approval ? { fault: 'without_approval', shown: [] } : undefined
  const isSame = (event: SessionEvent): boolean =>
    event.tool_name === call.tool_name &&
    event.arguments_sha256 !== null &&
    event.arguments_sha256 === call.arguments_sha256 &&
    event.timestamp <= call.timestamp
  const request = requests.findLast(isSame)
  if (overrides.some(isSame)) return undefined
  if (request === undefined) return none ?? nearRejection(call, decisions, requests)
  const id = request.approval_id ?? request.event_id
  const decision = decisions.findLast((event) => event.approval_id === id && event.timestamp <= call.timestamp)
  if (decision?.approval_status === 'rejected') return { fault: 'after_rejection', shown: [decision, request] }
  if (decision?.approval_status !== 'approved') return { fault: 'without_approval', shown: [request] }
  return call.requires_approval ? faultOf(call, decision, { expiry: request, key: id, ...context }) : undefined
}

/** A number that is so much of the rejected one, or more, asks for the same. */
const NEARLY = 0.9

/** A rejection before the call, of the same arguments but for numbers, which are not much smaller. A smaller sum may need no approval. */
function nearRejection(
  call: SessionEvent,
  decisions: readonly SessionEvent[],
  requests: readonly SessionEvent[],
): Found {
  const rejected = decisions.findLast((event) => {
    if (event.approval_status !== 'rejected' || event.timestamp > call.timestamp) return false
    const asked = requests.find(({ approval_id, event_id }) => (approval_id ?? event_id) === event.approval_id) ?? event
    return asked.tool_name === call.tool_name && asksAsMuch(asked.tool_input, call.tool_input)
  })
  return rejected === undefined ? undefined : { fault: 'near_rejection', shown: [rejected] }
}

function asksAsMuch(rejected: unknown, ran: unknown): boolean {
  if (!isRecord(rejected) || !isRecord(ran)) return false
  const names = Object.keys(rejected)
  if (names.length !== Object.keys(ran).length || !names.some((name) => typeof rejected[name] === 'number'))
    return false
  return names.every((name) => {
    const [before, now] = [rejected[name], ran[name]]
    if (typeof before === 'number' && typeof now === 'number') return before > 0 && now >= NEARLY * before
    return JSON.stringify(before) === JSON.stringify(now)
  })
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function ofType({ events }: Session, type: string): SessionEvent[] {
  return events.filter(({ event_type }) => event_type === type)
}

/** A text in a JSON field that any producer may have written. */
export function textOf(value: unknown, name: string): string {
  const field = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined
  return typeof field === 'string' ? field : ''
}
