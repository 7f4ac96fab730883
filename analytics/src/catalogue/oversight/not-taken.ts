/** Actions that were evaluated and not taken. */
import {
  AGENT_RANGE_PARAMS,
  type AgentRange,
  EVENTS,
  IN_AGENT_RANGE,
  MAX_DAYS,
  type NamedQuery,
  POSITION,
  POSITION_COLUMN,
  encryptionOf,
} from '../query.ts'

export interface NotTakenRow {
  readonly timestamp: string
  readonly outcome: string
  readonly event_type: string
  readonly agent_id: string
  readonly user_id: string | null
  readonly session_id: string
  readonly tool_name: string | null
  readonly resource: string | null
  readonly reason_code: string | null
  readonly reason: string | null
  readonly policy_id: string | null
  readonly policy_version: string | null
  readonly tool_input: string | null
  readonly event_id: string
  readonly position: string
}

export const notTaken: NamedQuery<AgentRange, NotTakenRow> = {
  name: 'not-taken',
  answers: 'Which actions were denied or blocked, or not taken because their judge failed, and why?',
  reads:
    'Events in the range with outcome denied or blocked, and tool_call events with outcome error, whose policy or approver failed. A tool that ran and failed is not among them.',
  cost: { index: 'by_time', passes: 1 },
  params: AGENT_RANGE_PARAMS,
  columns: {
    timestamp: { kind: 'time', about: 'When it was refused.' },
    outcome: { kind: 'text', about: 'denied, blocked or error.' },
    event_type: {
      kind: 'text',
      about: 'tool_call, sandbox_crossing, tool_result (stopped after it was allowed) or another.',
    },
    agent_id: { kind: 'text', about: 'The agent.' },
    user_id: { kind: 'text', nullable: true, about: 'The user that it acted for.' },
    session_id: { kind: 'text', about: 'Its session.' },
    tool_name: { kind: 'text', nullable: true, about: 'The tool.' },
    resource: { kind: 'text', nullable: true, about: 'What is beyond the boundary of the sandbox.' },
    reason_code: { kind: 'text', nullable: true, about: 'Why, to group by.' },
    reason: { kind: 'text', nullable: true, about: 'Why, in words.' },
    policy_id: { kind: 'text', nullable: true, about: 'The policy that judged it.' },
    policy_version: { kind: 'text', nullable: true, about: 'Its version.' },
    tool_input: { kind: 'text', nullable: true, about: 'Arguments of the call, canonical JSON.' },
    event_id: { kind: 'text', about: 'Id of the event.' },
    position: POSITION_COLUMN,
  },
  order: ['timestamp', 'position'],
  encrypted: { encryption: ['user_id', 'reason', 'tool_input'] },
  maxDays: MAX_DAYS.lists,
  sql: `
    SELECT e.timestamp AS timestamp, assumeNotNull(e.outcome) AS outcome, e.event_type AS event_type, e.agent_id AS agent_id,
      e.user_id AS user_id, e.session_id AS session_id, e.tool_name AS tool_name,
      if(e.event_type = 'sandbox_crossing', JSONExtract(e.content, 'resource', 'Nullable(String)'), NULL) AS resource,
      e.reason_code AS reason_code, e.reason AS reason, JSONExtract(e.policy, 'id', 'Nullable(String)') AS policy_id,
      JSONExtract(e.policy, 'version', 'Nullable(String)') AS policy_version, e.tool_input AS tool_input,
      e.event_id AS event_id, ${POSITION} AS position,
      ${encryptionOf('e')} AS encryption
    FROM ${EVENTS}
    WHERE ${IN_AGENT_RANGE} AND (e.outcome IN ('denied', 'blocked') OR (e.event_type = 'tool_call' AND e.outcome = 'error'))`,
}
