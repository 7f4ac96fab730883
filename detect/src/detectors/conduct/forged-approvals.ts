/** `approval.forged`: decisions whose signature does not count, and actions that ran under one that nobody has signed. */
import type { Finding, Session, SessionDetector, SessionEvent } from '../../detector.ts'
import { isHidden } from '../../detector.ts'
import { ofType, textOf } from './approval-record.ts'
import { callsOf, isExecuted } from './calls.ts'

/**
 * What a record says of its approval, by the names of the signed text. A field that is absent is not compared: the record cannot say
 * it. `decision` is absent of a call.
 */
export interface RecordedApproval {
  id?: string
  sessionId: string
  toolName: string
  decision?: 'approved' | 'overridden'
  approverId: string
  approverKind: 'person' | 'policy' | 'agent'
  identitySource: string
  argumentsSha256?: string
  /** Undefined: the call has none. */
  onBehalfOf?: string | undefined
}

/**
 * Verifies a signature by the keys that count.
 * @param time - When the log took the record, milliseconds since 1970.
 * @returns why it does not count; undefined: it does
 */
export type ApprovalCheck = (signature: string, said: RecordedApproval, time: number) => string | undefined

/** Marks of redaction, and of texts that cannot be read. */
const UNREADABLE = /^\[(redacted|encrypted|erased)|^enc:v1:/

/** A detector that takes signatures into account: the rows alone do not say whose keys count. */
export function forgedApprovals(check: ApprovalCheck): SessionDetector {
  return {
    name: 'approval.forged',
    version: 1,
    unit: 'session',
    finds: 'A decision or override has a signature that does not count, or a call ran under one without a signature.',
    method:
      'The signature of each approved decision, each override, and each executed call that has an approver is verified by the trust file, at the time at which the log took the record; what it says must be what the record says. One finding for each approval. A signature that redaction or encryption hides is not judged.',
    source: 'Own rule: what a guard with a trust file does (docs/guard.md, docs/adr/0062), done again by a reader.',
    thresholds: {},
    candidates: `countIf(approver_id IS NOT NULL) > 0`,
    find: (session) => forged(session, check),
  }
}

interface Fault {
  readonly event: SessionEvent
  readonly isUnsigned: boolean
  readonly why: string
}

function forged(session: Session, check: ApprovalCheck): Finding[] {
  const ran = callsOf(session).filter((each) => isExecuted(each) && each.call.approver_id !== null)
  const decisions = ofType(session, 'approval_decision').filter(({ approval_status: status }) => status === 'approved')
  const overrides = ofType(session, 'human_intervention').filter(
    ({ outcome, tool_name }) => outcome === 'allowed' && tool_name !== null,
  )
  const faults = [
    // A decision that nobody has signed runs nothing by itself.
    ...[...decisions, ...overrides].flatMap((event) => faultOf(event, check) ?? []).filter((each) => !each.isUnsigned),
    ...ran.flatMap(({ call }) => faultOf(call, check) ?? []),
  ]
  const byApproval = Map.groupBy(faults, ({ event }) => approvalOf(event))
  return [...byApproval].map(([approval, of]) => toFinding(session, approval, of as [Fault, ...Fault[]]))
}

function approvalOf({ approval_id, event_type, parent_event_id, event_id }: SessionEvent): string {
  return approval_id ?? (event_type === 'tool_call' ? parent_event_id : null) ?? event_id
}

function toFinding(session: Session, approval: string, faults: readonly [Fault, ...Fault[]]): Finding {
  const { event, isUnsigned, why } = faults.find((each) => !each.isUnsigned) ?? faults[0]
  const tool = event.tool_name ?? 'a tool'
  return {
    cause: `${session.session_id}/${approval}`,
    severity: 'critical',
    summary: isUnsigned ? `${tool} ran under an approval that nobody has signed` : `forged approval of ${tool}: ${why}`,
    score: isUnsigned ? 0.9 : 0.99,
    agent_id: session.agent_id,
    session_id: session.session_id,
    signals: [
      { name: 'signature', value: why, event_id: event.event_id },
      { name: 'approver', value: event.approver_id ?? '' },
    ],
    evidence: faults.slice(0, 100).map((each) => each.event.event_id),
  }
}

function faultOf(event: SessionEvent, check: ApprovalCheck): Fault | undefined {
  const signature = textOf(event.approval, 'signature')
  if (signature === '') return { event, isUnsigned: true, why: 'not signed' }
  if (UNREADABLE.test(signature) || isHidden(event, 'approval')) return undefined
  const why = check(signature, saidBy(event), event.stored_ms ?? Date.parse(event.timestamp))
  return why === undefined ? undefined : { event, isUnsigned: false, why }
}

function saidBy(event: SessionEvent): RecordedApproval {
  const { event_type: type, approval_id, arguments_sha256, approval, on_behalf_of } = event
  const said: RecordedApproval = {
    sessionId: event.session_id,
    toolName: event.tool_name ?? '',
    approverId: event.approver_id ?? '',
    approverKind: textOf(approval, 'approver_kind') as RecordedApproval['approverKind'],
    identitySource: textOf(approval, 'identity_source'),
  }
  if (type === 'tool_call') said.onBehalfOf = on_behalf_of ?? undefined
  else said.decision = type === 'human_intervention' ? 'overridden' : 'approved'
  // An override has an id of its own in the text.
  if (type !== 'human_intervention' && approval_id !== null) said.id = approval_id
  if (event.keyed_digests !== true) said.argumentsSha256 = arguments_sha256 ?? ''
  return said
}
