/** What agents read and changed on behalf of a user. */
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

export interface DataTouchedParams extends AgentRange {
  readonly user: string
}

export interface DataTouchedRow {
  readonly timestamp: string
  readonly agent_id: string
  readonly session_id: string
  readonly kind: string
  readonly target: string
  readonly direction: string | null
  readonly tool_input: string | null
  readonly source: string | null
  readonly untrusted: boolean | null
  readonly result: string | null
  readonly effect: string | null
  readonly output_bytes: number | bigint | null
  readonly event_id: string
  readonly position: string
}

/** Days after the range in which a result is looked for: without a bound, an old range would read all that is newer. */
const LATER_DAYS = 7
const OF_USER = `(e.user_id = {user:String} OR e.on_behalf_of = {user:String})`
/** A call has one result; were there more, the first counts. */
const RESULTS = `
  SELECT assumeNotNull(r.parent_event_id) AS call, argMin(JSONExtract(r.content, 'source', 'Nullable(String)') AS s, r.timestamp) AS source,
    argMin(JSONExtract(r.content, 'untrusted', 'Nullable(Bool)') AS u, r.timestamp) AS untrusted,
    argMin(r.outcome, r.timestamp) AS result, argMin(r.effect, r.timestamp) AS effect,
    argMin(length(r.tool_output), r.timestamp) AS output_bytes, 1 AS found
  FROM {database:Identifier}.audit_events AS r
  WHERE r.timestamp >= ${SINCE} AND r.timestamp < ${UNTIL} + INTERVAL ${LATER_DAYS} DAY AND r.event_type = 'tool_result' AND r.parent_event_id IS NOT NULL
    AND (r.user_id = {user:String} OR r.on_behalf_of = {user:String} OR r.parent_event_id IN (
      SELECT e.event_id FROM ${EVENTS} WHERE ${IN_AGENT_RANGE} AND ${OF_USER} AND e.event_type = 'tool_call'))
  GROUP BY call`

export const dataTouched: NamedQuery<DataTouchedParams, DataTouchedRow> = {
  name: 'data-touched',
  answers:
    'Which data did agents read or change for a user: by which tools, with which arguments, beyond which boundaries?',
  reads: `tool_call events that were not refused and sandbox_crossing events that were allowed, of sessions for the user or on behalf of that principal, in the range; results of those calls, up to ${LATER_DAYS} days after until. What a session touched before it knew its user is not found.`,
  cost: {
    index: 'by_time',
    passes: 3,
    note: `Also reads the ${LATER_DAYS} days after until, for late results; their content is read for the calls of this user alone.`,
  },
  params: {
    user: { kind: 'text', required: true, about: 'user_id, or the principal of on_behalf_of' },
    ...AGENT_RANGE_PARAMS,
  },
  columns: {
    timestamp: { kind: 'time', about: 'When the call or crossing began.' },
    agent_id: { kind: 'text', about: 'The agent.' },
    session_id: { kind: 'text', about: 'Its session.' },
    kind: { kind: 'text', about: 'tool or crossing.' },
    target: { kind: 'text', about: 'The tool, or boundary:resource of a crossing.' },
    direction: { kind: 'text', nullable: true, about: 'in or out, of a crossing.' },
    tool_input: {
      kind: 'text',
      nullable: true,
      about: 'Arguments of the call, canonical JSON: which data was asked for.',
    },
    source: { kind: 'text', nullable: true, about: 'Origin of the data that came back.' },
    untrusted: { kind: 'boolean', nullable: true, about: 'Whether that may hold instructions of an untrusted party.' },
    result: { kind: 'text', nullable: true, about: 'Outcome of the result; null without one.' },
    effect: { kind: 'text', nullable: true, about: 'What is known of the effect: confirmed, dispatched or unknown.' },
    output_bytes: { kind: 'integer', nullable: true, about: 'Size of the recorded output, bytes.' },
    event_id: { kind: 'text', about: 'Id of the call or crossing.' },
    position: POSITION_COLUMN,
  },
  order: ['timestamp', 'position'],
  encrypted: { encryption: ['tool_input'] },
  maxDays: MAX_DAYS.sums,
  sql: `
    SELECT t.* EXCEPT (crossing_effect), r.source AS source, r.untrusted AS untrusted, r.result AS result,
      ifNull(r.effect, t.crossing_effect) AS effect, if(r.found = 1, r.output_bytes, NULL) AS output_bytes
    FROM (
      SELECT e.timestamp AS timestamp, e.agent_id AS agent_id, e.session_id AS session_id,
        if(e.event_type = 'tool_call', 'tool', 'crossing') AS kind,
        if(e.event_type = 'tool_call', ifNull(e.tool_name, ''),
          concat(JSONExtractString(ifNull(e.content, ''), 'boundary'), ':', JSONExtractString(ifNull(e.content, ''), 'resource'))) AS target,
        if(e.event_type = 'tool_call', NULL, JSONExtract(e.content, 'direction', 'Nullable(String)')) AS direction,
        e.tool_input AS tool_input, e.effect AS crossing_effect, e.event_id AS event_id, ${POSITION} AS position,
        ${encryptionOf('e')} AS encryption
      FROM ${EVENTS}
      WHERE ${IN_AGENT_RANGE} AND ${OF_USER} AND e.event_type IN ('tool_call', 'sandbox_crossing')
        AND ifNull(e.outcome, '') NOT IN ('denied', 'blocked', 'error')) AS t
    LEFT JOIN (${RESULTS}) AS r ON r.call = t.event_id`,
}
