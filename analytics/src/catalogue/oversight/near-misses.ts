/**
 * Near misses: a consequential action that was about to be taken, and was not taken, or not as it was about to be.
 *
 * An action is consequential where the trail says so: a call with requires_approval, a crossing out of the sandbox, or any call
 * that a person stepped into. It was about to be taken where the last check before it, or the tool itself, is what stopped it.
 * Exactly these events are near misses, each with its kind:
 *
 *   refused    a tool_call with requires_approval and outcome denied or blocked, but not because its approver rejected it (that
 *              is the next kind); a sandbox_crossing with direction out and outcome denied or blocked; and a tool_result with
 *              outcome blocked: the call was allowed, and stopped between that and the tool.
 *   rejected   an approval_decision with approval_status rejected.
 *   failed     a tool_call with requires_approval and outcome error (its policy or approver failed, so it did not run), and a
 *              tool_result with outcome error of a call with requires_approval: it ran and failed.
 *   corrected  an approval_decision that approved other arguments than the ones asked for (approval.modified), and a
 *              human_intervention about a call or an approval, but for an override, which lets a refused call run.
 *
 * `went_ahead`: the same tool succeeded in the same session within an hour after it with the same arguments. Then the action was
 * delayed, not averted.
 */
import {
  AGENT_RANGE_PARAMS,
  type AgentRange,
  EVENTS,
  IN_AGENT_RANGE,
  MAX_DAYS,
  type NamedQuery,
  POSITION,
  POSITION_COLUMN,
  SINCE,
  UNTIL,
  encryptionOf,
} from '../query.ts'

export interface NearMissesRow {
  readonly timestamp: string
  readonly kind: string
  readonly went_ahead: boolean
  readonly agent_id: string
  readonly user_id: string | null
  readonly session_id: string
  readonly tool_name: string | null
  readonly resource: string | null
  readonly person: string | null
  readonly reason_code: string | null
  readonly reason: string | null
  readonly tool_input: string | null
  readonly event_id: string
  readonly position: string
}

const REFUSED = `e.outcome IN ('denied', 'blocked')`
/** Calls that need approval, by their ids: a result has its call as its parent, which may lie before the range. */
const CALLS = `
  SELECT event_id, true AS found, arguments_sha256, tool_input, ${encryptionOf('audit_events')} AS encryption
  FROM {database:Identifier}.audit_events
  WHERE timestamp >= ${SINCE} - INTERVAL 1 DAY AND timestamp < ${UNTIL} AND event_type = 'tool_call' AND requires_approval`
const KIND = `multiIf(
  e.event_type = 'tool_call' AND e.requires_approval AND ${REFUSED} AND ifNull(e.reason_code, '') != 'approval_rejected', 'refused',
  e.event_type = 'sandbox_crossing' AND ${REFUSED} AND JSONExtractString(ifNull(e.content, ''), 'direction') = 'out', 'refused',
  e.event_type = 'tool_result' AND e.outcome = 'blocked', 'refused',
  e.event_type = 'approval_decision' AND e.approval_status = 'rejected', 'rejected',
  e.event_type = 'tool_call' AND e.requires_approval AND e.outcome = 'error', 'failed',
  e.event_type = 'tool_result' AND e.outcome = 'error' AND c.found, 'failed',
  e.event_type = 'approval_decision' AND e.approval_status = 'approved'
    AND length(JSONExtractArrayRaw(ifNull(e.approval, ''), 'modified')) > 0, 'corrected',
  e.event_type = 'human_intervention' AND (e.tool_call_id IS NOT NULL OR e.approval_id IS NOT NULL)
    AND ifNull(e.outcome, '') != 'allowed', 'corrected',
  '')`
/** Sessions that may have a near miss: few, so that what is joined stays small whatever the range has. */
const SESSIONS = `
  SELECT session_id FROM {database:Identifier}.audit_events
  WHERE timestamp >= ${SINCE} - INTERVAL 1 DAY AND timestamp < ${UNTIL} AND (
    (event_type = 'tool_call' AND requires_approval) OR (event_type = 'tool_result' AND outcome = 'blocked')
    OR event_type IN ('sandbox_crossing', 'approval_decision', 'human_intervention'))`
/** Calls of those sessions that ran and succeeded, by their arguments, up to an hour after the range. */
const SUCCESSES = `
  SELECT c.session_id AS session_id, c.tool_name AS tool_name, c.arguments_sha256 AS arguments_sha256,
    groupArray(r.timestamp) AS succeeded_at
  FROM {database:Identifier}.audit_events AS r INNER JOIN (
    SELECT event_id, session_id, tool_name, arguments_sha256 FROM {database:Identifier}.audit_events
    WHERE timestamp >= ${SINCE} AND timestamp < ${UNTIL} + INTERVAL 1 HOUR AND event_type = 'tool_call' AND outcome = 'allowed'
      AND session_id IN (${SESSIONS})) AS c ON r.parent_event_id = c.event_id
  WHERE r.timestamp >= ${SINCE} AND r.timestamp < ${UNTIL} + INTERVAL 1 HOUR AND r.event_type = 'tool_result' AND r.outcome = 'success'
  GROUP BY session_id, tool_name, arguments_sha256`

const ofCall = (column: string): string => `if(e.event_type = 'tool_result', c.${column}, e.${column}) AS ${column}`

export const nearMisses: NamedQuery<AgentRange, NearMissesRow> = {
  name: 'near-misses',
  answers: 'Which consequential actions were refused, rejected, failed or corrected just before they took effect?',
  reads:
    'tool_call, tool_result, sandbox_crossing, approval_decision and human_intervention events in the range; calls of the day before it, and results of the hour after it, to tell what became of an action.',
  cost: {
    index: 'by_time',
    passes: 5,
    note: 'Keeps the calls with requires_approval, and the successful calls of their sessions, in memory.',
  },
  params: AGENT_RANGE_PARAMS,
  columns: {
    timestamp: { kind: 'time', about: 'When it was stopped or changed.' },
    kind: { kind: 'text', about: 'refused, rejected, failed or corrected.' },
    went_ahead: {
      kind: 'boolean',
      about: 'Whether the same tool succeeded with the same arguments in this session within an hour after it.',
    },
    agent_id: { kind: 'text', about: 'The agent.' },
    user_id: { kind: 'text', nullable: true, about: 'The user that it acted for.' },
    session_id: { kind: 'text', about: 'Its session.' },
    tool_name: { kind: 'text', nullable: true, about: 'The tool.' },
    resource: { kind: 'text', nullable: true, about: 'What is beyond the boundary of the sandbox.' },
    person: { kind: 'text', nullable: true, about: 'Who rejected, corrected or stepped in.' },
    reason_code: { kind: 'text', nullable: true, about: 'Why, to group by.' },
    reason: { kind: 'text', nullable: true, about: 'Why, in words.' },
    tool_input: {
      kind: 'text',
      nullable: true,
      about: 'Arguments, canonical JSON; those of its call for a result of a call with requires_approval.',
    },
    event_id: { kind: 'text', about: 'Id of the event that stopped or changed it.' },
    position: POSITION_COLUMN,
  },
  order: ['timestamp', 'position'],
  encrypted: { encryption: ['user_id', 'reason'], call_encryption: ['tool_input'] },
  maxDays: MAX_DAYS.lists,
  sql: `
    SELECT m.* EXCEPT (arguments_sha256), arrayExists(at -> at > m.timestamp AND at <= m.timestamp + INTERVAL 1 HOUR, s.succeeded_at) AS went_ahead
    FROM (
      SELECT e.timestamp AS timestamp, ${KIND} AS kind, e.agent_id AS agent_id, e.user_id AS user_id, e.session_id AS session_id,
        e.tool_name AS tool_name,
        if(e.event_type = 'sandbox_crossing', JSONExtract(e.content, 'resource', 'Nullable(String)'), NULL) AS resource,
        e.approver_id AS person, e.reason_code AS reason_code, e.reason AS reason, ${ofCall('tool_input')},
        ${ofCall('arguments_sha256')}, e.event_id AS event_id, ${POSITION} AS position,
        ${encryptionOf('e')} AS encryption,
        if(e.event_type = 'tool_result', c.encryption, encryption) AS call_encryption
      FROM ${EVENTS} LEFT JOIN (${CALLS}) AS c ON c.event_id = e.parent_event_id
      WHERE ${IN_AGENT_RANGE} AND kind != ''
        AND e.event_type IN ('tool_call', 'tool_result', 'sandbox_crossing', 'approval_decision', 'human_intervention')) AS m
    LEFT JOIN (${SUCCESSES}) AS s
      ON s.session_id = m.session_id AND s.tool_name = m.tool_name AND s.arguments_sha256 = m.arguments_sha256`,
}
