/** Requests for approval, and what became of them. */
import {
  AGENT_RANGE_PARAMS,
  type AgentRange,
  EVENTS,
  MAX_DAYS,
  type NamedQuery,
  optional,
  SINCE,
  UNTIL,
  encryptionOf,
} from '../query.ts'

export interface ApprovalsParams extends AgentRange {
  readonly status?: 'pending' | 'approved' | 'rejected' | undefined
  readonly approver?: string | undefined
}

export interface ApprovalsRow {
  readonly requested_at: string
  readonly approval_id: string
  readonly status: string
  readonly agent_id: string
  readonly user_id: string | null
  readonly session_id: string
  readonly tool_name: string | null
  readonly tool_input: string | null
  readonly approver_id: string | null
  readonly approver_kind: string | null
  readonly identity_source: string | null
  readonly self_approval: boolean | null
  readonly decided_at: string | null
  readonly seconds_to_decide: number | null
  readonly refused_verdicts: number | bigint
  readonly expires_at: string | null
  readonly executed_at: string | null
}

/** Days after the range in which a decision is looked for: without a bound, an old range would read all that is newer. */
const LATER_DAYS = MAX_DAYS.lists
const REQUEST = `e.event_type = 'approval_request'`
/** A verdict that does not count, such as one of the agent itself, leaves the request pending. */
const DECISION = `e.event_type = 'approval_decision' AND e.approval_status IN ('approved', 'rejected')`
const REFUSED_VERDICT = `e.event_type = 'approval_decision' AND e.approval_status NOT IN ('approved', 'rejected')`
const EXECUTION = `e.event_type = 'tool_call' AND e.outcome = 'allowed'`
/** Of the first event of a kind: a later one changes nothing. */
const first = (expression: string, kind: string): string => `argMinIf(tuple(${expression}), e.timestamp, ${kind}).1`
const ofApproval = (key: string): string => first(`JSONExtract(e.approval, '${key}', 'Nullable(String)')`, DECISION)

export const approvals: NamedQuery<ApprovalsParams, ApprovalsRow> = {
  name: 'approvals',
  answers: 'Which approvals were asked for, which are pending, who decided the others, and how long did that take?',
  reads: `approval_request events in the range; decisions and executed calls with their approval_id from since on, up to ${LATER_DAYS} days after until: what was decided later than that stands as pending. Overrides are no approvals: near-misses and session-trail have them.`,
  cost: {
    index: 'by_time',
    passes: 1,
    note: `Also reads the ${LATER_DAYS} days after until, for late decisions. Content is read of approval events alone.`,
  },
  params: {
    ...AGENT_RANGE_PARAMS,
    status: { kind: 'choice', choices: ['pending', 'approved', 'rejected'], about: 'only approvals that stand so now' },
    approver: { kind: 'text', about: 'only those that this approver_id decided' },
  },
  columns: {
    requested_at: { kind: 'time', about: 'When it was asked for.' },
    approval_id: { kind: 'text', about: 'Id of the request.' },
    status: { kind: 'text', about: 'pending, approved or rejected. A pending one may have expired: see expires_at.' },
    agent_id: { kind: 'text', about: 'The agent that asked.' },
    user_id: { kind: 'text', nullable: true, about: 'The user that it acts for.' },
    session_id: { kind: 'text', about: 'Its session.' },
    tool_name: { kind: 'text', nullable: true, about: 'The tool to run.' },
    tool_input: { kind: 'text', nullable: true, about: 'Its arguments as asked for, canonical JSON.' },
    approver_id: { kind: 'text', nullable: true, about: 'Who decided.' },
    approver_kind: { kind: 'text', nullable: true, about: 'person, policy or agent.' },
    identity_source: { kind: 'text', nullable: true, about: 'Where that identity was authenticated.' },
    self_approval: { kind: 'boolean', nullable: true, about: 'Whether the one that asked approved.' },
    decided_at: { kind: 'time', nullable: true, about: 'When it was decided.' },
    seconds_to_decide: { kind: 'number', nullable: true, about: 'From request to decision, seconds.' },
    refused_verdicts: { kind: 'integer', about: 'Verdicts on it that did not count.' },
    expires_at: { kind: 'text', nullable: true, about: 'When the request expires, as the producer wrote it.' },
    executed_at: { kind: 'time', nullable: true, about: 'When a call ran under it.' },
  },
  order: ['requested_at', 'approval_id'],
  encrypted: { encryption: ['user_id', 'tool_input'] },
  maxDays: MAX_DAYS.lists,
  sql: `
    SELECT * FROM (
      SELECT toString(assumeNotNull(e.approval_id)) AS approval_id, minIf(e.timestamp, ${REQUEST}) AS requested_at,
        ifNull(${first('e.approval_status', DECISION)}, 'pending') AS status, argMinIf(e.agent_id, e.timestamp, ${REQUEST}) AS agent_id,
        ${first('e.user_id', REQUEST)} AS user_id, argMinIf(e.session_id, e.timestamp, ${REQUEST}) AS session_id,
        ${first('e.tool_name', REQUEST)} AS tool_name, ${first('e.tool_input', REQUEST)} AS tool_input,
        ${first('e.approver_id', DECISION)} AS approver_id, ${ofApproval('approver_kind')} AS approver_kind,
        ${ofApproval('identity_source')} AS identity_source,
        if(countIf(${DECISION}) = 0, NULL, ifNull(${first(`JSONExtract(e.approval, 'self_approval', 'Nullable(Bool)')`, DECISION)}, false)) AS self_approval,
        if(countIf(${DECISION}) = 0, NULL, minIf(e.timestamp, ${DECISION})) AS decided_at,
        (toUnixTimestamp64Micro(decided_at) - toUnixTimestamp64Micro(requested_at)) / 1000000 AS seconds_to_decide,
        countIf(${REFUSED_VERDICT}) AS refused_verdicts,
        ${first(`JSONExtract(e.content, 'expires_at', 'Nullable(String)')`, REQUEST)} AS expires_at,
        if(countIf(${EXECUTION}) = 0, NULL, minIf(e.timestamp, ${EXECUTION})) AS executed_at,
        ${first(encryptionOf('e'), REQUEST)} AS encryption
      FROM ${EVENTS}
      WHERE e.timestamp >= ${SINCE} AND e.timestamp < ${UNTIL} + INTERVAL ${LATER_DAYS} DAY AND e.approval_id IS NOT NULL
        AND e.event_type IN ('approval_request', 'approval_decision', 'tool_call')
      GROUP BY e.approval_id
      HAVING countIf(${REQUEST} AND e.timestamp < ${UNTIL}) > 0) AS a
    WHERE ${optional('agent', 'a.agent_id')} AND ${optional('status', 'a.status')} AND ${optional('approver', 'a.approver_id')}`,
}
