/** `approval.forged`: decisions whose signature does not count, and actions that ran under one without a signature. */
import { faultOfSignature, judgeSignature, type SignedRecord, type Trust } from '@agent-audit/analytics'
import type { Finding, Session, SessionDetector, SessionEvent } from '../../detector.ts'
import { ofType, textOf } from './approval-record.ts'
import { callsOf, isExecuted } from './calls.ts'

/** @param trust - Whose keys count: the rows alone do not say it. */
export function forgedApprovals(trust: Trust): SessionDetector {
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
    find: (session) => forged(session, trust),
  }
}

interface Fault {
  readonly event: SessionEvent
  readonly isUnsigned: boolean
  readonly why: string
}

function forged(session: Session, trust: Trust): Finding[] {
  const ran = callsOf(session).filter((each) => isExecuted(each) && each.call.approver_id !== null)
  const decisions = ofType(session, 'approval_decision').filter(({ approval_status: status }) => status === 'approved')
  const overrides = ofType(session, 'human_intervention').filter(
    ({ outcome, tool_name }) => outcome === 'allowed' && tool_name !== null,
  )
  const faults = [
    // A decision without a signature runs nothing by itself.
    ...[...decisions, ...overrides].flatMap((event) => faultOf(event, trust) ?? []).filter((each) => !each.isUnsigned),
    ...ran.flatMap(({ call }) => faultOf(call, trust) ?? []),
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

function faultOf(event: SessionEvent, trust: Trust): Fault | undefined {
  const found = judgeSignature(recordOf(event), trust)
  if (found.kind === 'none') return { event, isUnsigned: true, why: 'not signed' }
  const why = faultOfSignature(found)
  return why === undefined ? undefined : { event, isUnsigned: false, why }
}

function recordOf(event: SessionEvent): SignedRecord {
  const { approval, stored_ms: storedMs, keyed_digests: isKeyed = false } = event
  const member = (name: string): string | null => textOf(approval, name) || null
  return {
    ...event,
    status: event.approval_status,
    signature: member('signature'),
    approver_kind: member('approver_kind'),
    identity_source: member('identity_source'),
    shown_sha256: member('shown_sha256'),
    keyed_digests: isKeyed,
    log_time: storedMs === undefined ? event.timestamp : new Date(storedMs).toISOString(),
  }
}
