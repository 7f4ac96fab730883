/** Approval bypass: actions that ran without a valid approval, or whose approval proves nothing. */
import type { Finding, Session, SessionDetector, SessionEvent, Severity } from '../../detector.ts'
import { bypasses, type Fault, ofType, textOf } from './approval-record.ts'
import { callsOf, isExecuted } from './calls.ts'

const SOURCE =
  'Own rules, from what the guard records (docs/guard.md, docs/adr/0019, 0027 and 0038). No statistics; the forms of names, of blank sources and of calls near a rejection were written for made sessions (judge/conduct) that had missed them.'

/** As {@link callsOf} takes them: another producer may leave the outcome out. */
const ALLOWED_CALL = `event_type = 'tool_call' AND ifNull(outcome, 'allowed') IN ('allowed', 'success')`
const OVERRIDE = `event_type = 'human_intervention' AND tool_name IS NOT NULL`

const SAYS: Readonly<Record<Fault, string>> = {
  without_approval: 'ran without the approval that it requires',
  not_on_record: 'ran under an approval whose decision is not on record',
  after_rejection: 'ran although its approval was rejected',
  near_rejection: 'ran without approval after nearly the same was rejected',
  after_expiry: 'ran after its approval had expired',
  other_arguments: 'ran with other arguments than the approved ones',
  other_tool: 'ran under an approval for another tool',
  used_again: 'ran a second time under one approval',
}

/** How sure a fault is: a decision may come later than its call, and a call near a rejected one may need no approval. */
const RANK: Partial<Record<Fault, { severity: Severity; score: number }>> = {
  not_on_record: { severity: 'high', score: 0.7 },
  near_rejection: { severity: 'high', score: 0.8 },
}
const CERTAIN = { severity: 'critical', score: 0.99 } as const

const bypass: SessionDetector<{ grace_ms: number }> = {
  name: 'approval.bypass',
  version: 2,
  unit: 'session',
  finds: 'A call that needs an approval ran without a valid one.',
  method:
    'Each call that was allowed, has requires_approval or an approval_id, and has no blocked result, is held against the decision that it names: on record, approved, not rejected since, for this tool and this digest of arguments, not past expires_at of its request by more than grace_ms, and used once. A call under an override is held against the human_intervention in the same way. A call without requires_approval is reported where exactly its action was asked for in the session and not approved, or where an action that differs from it in numbers alone was rejected before and its numbers are at least nine tenths of those. A decision that arrives later than its call (a spool) is reported as not on record until then, so that fault has a lower score.',
  source: SOURCE,
  thresholds: { grace_ms: 2000 },
  candidates: `countIf(${ALLOWED_CALL} AND (requires_approval OR approval_id IS NOT NULL)) > 0
    OR (countIf(event_type IN ('approval_request', 'approval_decision')) > 0 AND countIf(${ALLOWED_CALL}) > 0)
    OR countIf(${OVERRIDE}) > 0`,
  find: (session, { grace_ms }) =>
    bypasses(session, grace_ms).map(({ fault, call, shown }) => ({
      cause: `${session.session_id}/${call.event_id}`,
      ...(RANK[fault] ?? CERTAIN),
      summary: `${call.tool_name ?? 'a tool'} ${SAYS[fault]}`,
      agent_id: session.agent_id,
      session_id: session.session_id,
      signals: [
        { name: 'fault', value: fault, event_id: call.event_id },
        {
          name: 'arguments_sha256',
          value: call.arguments_sha256 ?? '',
          expected: shown[0]?.arguments_sha256 ?? undefined,
        },
      ],
      evidence: [call.event_id, ...shown.map(({ event_id }) => event_id)],
    })),
}

/** Decisions and overrides that let an action run, and the calls that ran under them. */
function granting(session: Session): SessionEvent[] {
  const ran = callsOf(session).filter(isExecuted)
  const under = ran.filter(({ call }) => call.approver_id !== null).map(({ call }) => call)
  return [
    ...ofType(session, 'approval_decision').filter(({ approval_status }) => approval_status === 'approved'),
    ...ofType(session, 'human_intervention').filter(
      ({ outcome, tool_name }) => outcome === 'allowed' && tool_name !== null,
    ),
    ...under,
  ]
}

interface Weak {
  readonly severity: Finding['severity']
  readonly says: string
  readonly signal: string
}

/** One finding for an approval, however many events carry it. */
function weakApprovals(session: Session, isWeak: (event: SessionEvent) => Weak | undefined): Finding[] {
  const byApproval = Map.groupBy(
    granting(session).filter((event) => isWeak(event) !== undefined),
    (event) => event.approval_id ?? (event.event_type === 'tool_call' ? event.parent_event_id : null) ?? event.event_id,
  )
  return [...byApproval].map(([approval, events]) => {
    const [first] = events as [SessionEvent]
    const { severity, says, signal } = isWeak(first) as Weak
    return {
      cause: `${session.session_id}/${approval}`,
      severity,
      summary: `${first.tool_name ?? 'An action'} was approved by ${first.approver_id ?? 'an unnamed approver'}, ${says}`,
      score: 0.95,
      agent_id: session.agent_id,
      session_id: session.session_id,
      signals: [{ name: signal, value: first.approver_id ?? '', event_id: first.event_id }],
      evidence: events.slice(0, 100).map(({ event_id }) => event_id),
    }
  })
}

/** As the producer compares ids: spaces and case aside. A marker of redaction names no person. */
function plain(id: string | null): string | undefined {
  const text = id?.normalize('NFKC').trim().toLowerCase()
  return text === undefined || text === '' || text.includes('[redacted') ? undefined : text
}

/** An account without its domain, `alice@corp.example` and `corp\\alice`: undefined where there is none. */
function withoutDomain(id: string): string | undefined {
  return /^(?:[^\\]+\\(?<down>[^\\@]+)|(?<mail>[^@\\]+)@[^@]+)$/
    .exec(id)
    ?.slice(1)
    .find((part) => part !== undefined)
}

/** One of them without a domain is the other's account: probably one person. */
function isSameAccount(a: string, b: string): boolean {
  return withoutDomain(a) === b || a === withoutDomain(b)
}

const self: SessionDetector = {
  name: 'approval.self',
  version: 2,
  unit: 'session',
  finds: 'The approver is the agent that asked, or the user or principal that it acts for.',
  method:
    'Compares the approver of each approved decision, override and executed call with agent_id, the user_ids of the session and on_behalf_of, spaces and case aside. An approver whose account is that of a user but for the domain (alice, alice@corp.example, corp\\\\alice) is probably that user: such a finding is of high severity; with two different domains there is none. Approvals that the producer marks as self_approval, because the operator allows them, are of low severity. Refused attempts are not reported.',
  source: SOURCE,
  thresholds: {},
  candidates: `countIf(approver_id IS NOT NULL OR approval IS NOT NULL) > 0`,
  find: (session) => {
    const users = session.events.map(({ user_id }) => plain(user_id))
    const own = new Set([plain(session.agent_id), ...users].filter((id) => id !== undefined))
    return weakApprovals(session, ({ approver_id, on_behalf_of, approval }) => {
      const allowed = (approval as { self_approval?: unknown } | null)?.self_approval === true
      const approver = plain(approver_id)
      const isSelf = approver !== undefined && (own.has(approver) || approver === plain(on_behalf_of))
      const alike = [...users, plain(on_behalf_of)].find(
        (id) => approver !== undefined && id !== undefined && isSameAccount(approver, id),
      )
      if (allowed)
        return { severity: 'low', says: 'the one that asks, which the trail allows', signal: 'approver_asked' }
      if (isSelf) return { severity: 'critical', says: 'the one that asks', signal: 'approver_asked' }
      if (alike === undefined) return undefined
      return { severity: 'high', says: `probably the one that asks, ${alike}`, signal: 'approver_probably_asked' }
    })
  },
}

/** What is written where nothing is known. */
const SAYS_NOTHING =
  /^(unknown|unspecified|undefined|null|none|nil|n\/?a|not (available|applicable|set)|anonymous|todo|tbd|[-?.]*)$/i

const identity: SessionDetector = {
  name: 'approval.no_identity_source',
  version: 2,
  unit: 'session',
  finds: 'An approval does not say where its approver was authenticated, or names none.',
  method:
    'Each approved decision, override and call that ran under one needs approver_id and approval.identity_source, neither blank nor a word for nothing (unknown, n/a, none). The producer demands both: without them the record comes from other code, or from a version 1 producer.',
  source: SOURCE,
  thresholds: {},
  candidates: `countIf(approver_id IS NOT NULL OR approval_status = 'approved' OR ${OVERRIDE}) > 0`,
  find: (session) =>
    weakApprovals(session, ({ approver_id, approval }) => {
      const source = textOf(approval, 'identity_source').trim()
      if (approver_id?.trim() && !SAYS_NOTHING.test(source)) return undefined
      return { severity: 'medium', says: 'and nothing says where that identity was authenticated', signal: 'approver' }
    }),
}

export const APPROVAL_DETECTORS: readonly SessionDetector[] = [bypass, self, identity]
