/** The tree of sessions that a session has started. */
import { EVENTS, IN_RANGE, MAX_DAYS, type NamedQuery, type Range, RANGE_PARAMS } from '../query.ts'

export interface SubAgentsParams extends Range {
  readonly session: string
}

export interface SubAgentsRow {
  readonly depth: number | bigint
  readonly session_id: string
  readonly parent_session_id: string | null
  readonly agent_id: string
  readonly started_at: string
  readonly last_at: string
  readonly state: string
  readonly outcome: string | null
  readonly events: number | bigint
  readonly tool_calls: number | bigint
  readonly refused: number | bigint
  readonly input_tokens: number | bigint | null
  readonly output_tokens: number | bigint | null
}

/** Deeper levels are left out. A session that names one of its own descendants as its parent comes once. */
const MAX_DEPTH = 16
/** A walk along the edges, a level at a time: from each session to those whose start names it as their parent. */
const WALK = `
  WITH RECURSIVE edges AS (
      SELECT DISTINCT e.session_id AS child, assumeNotNull(e.parent_session_id) AS parent
      FROM ${EVENTS}
      WHERE ${IN_RANGE} AND e.event_type = 'session_start' AND e.parent_session_id IS NOT NULL),
    tree AS (
      SELECT 0 AS depth, {session:String} AS session_id, [{session:String}] AS path
      UNION ALL
      SELECT t.depth + 1 AS depth, g.child AS session_id, arrayPushBack(t.path, g.child) AS path
      FROM tree AS t INNER JOIN edges AS g ON g.parent = t.session_id
      WHERE t.depth < ${MAX_DEPTH} AND NOT has(t.path, g.child))
  SELECT t.session_id AS session_id, min(t.depth) AS depth,
    argMin(tuple(if(length(t.path) > 1, t.path[-2], NULL)), t.depth).1 AS parent_session_id
  FROM tree AS t GROUP BY t.session_id`

export const subAgents: NamedQuery<SubAgentsParams, SubAgentsRow> = {
  name: 'sub-agents',
  answers: 'Which sub-agents did a session start, and those in turn, and how did each of them end?',
  reads: `The starts of sessions in the range (parent_session_id), up to ${MAX_DEPTH} levels deep; figures are those of the events in the range.`,
  cost: {
    index: 'by_time',
    passes: 2,
    note: 'One more pass over the range for each level of the tree; only event_type, session_id and parent_session_id are read there.',
  },
  params: { session: { kind: 'text', required: true, about: 'session_id of the root' }, ...RANGE_PARAMS },
  columns: {
    depth: { kind: 'integer', about: 'Levels below the root, which has 0.' },
    started_at: { kind: 'time', about: 'Its first event in the range.' },
    session_id: { kind: 'text', about: 'The session.' },
    parent_session_id: { kind: 'text', nullable: true, about: 'The session that started it; null for the root.' },
    agent_id: { kind: 'text', about: 'The agent that started it.' },
    last_at: { kind: 'time', about: 'Its last event in the range.' },
    state: { kind: 'text', about: 'open, ended or timeout.' },
    outcome: { kind: 'text', nullable: true, about: 'Outcome of its end.' },
    events: { kind: 'integer', about: 'Events in the range.' },
    tool_calls: { kind: 'integer', about: 'Calls of tools, refused ones included.' },
    refused: { kind: 'integer', about: 'Events with outcome denied or blocked.' },
    input_tokens: { kind: 'integer', nullable: true, wide: true, about: 'Tokens given to models.' },
    output_tokens: { kind: 'integer', nullable: true, wide: true, about: 'Tokens that models gave.' },
  },
  order: ['depth', 'started_at', 'session_id'],
  maxDays: MAX_DAYS.lists,
  sql: `
    SELECT any(w.depth) AS depth, min(e.timestamp) AS started_at, e.session_id AS session_id,
      any(w.parent_session_id) AS parent_session_id, argMin(e.agent_id, e.timestamp) AS agent_id,
      max(e.timestamp) AS last_at,
      multiIf(countIf(e.event_type = 'session_timeout') > 0, 'timeout', countIf(e.event_type = 'session_end') > 0, 'ended', 'open') AS state,
      argMaxIf(tuple(e.outcome), e.timestamp, e.event_type IN ('session_end', 'session_timeout')).1 AS outcome,
      count() AS events, countIf(e.event_type = 'tool_call') AS tool_calls,
      countIf(e.outcome IN ('denied', 'blocked')) AS refused,
      sum(toInt128(e.input_tokens)) AS input_tokens, sum(toInt128(e.output_tokens)) AS output_tokens
    FROM ${EVENTS} INNER JOIN (${WALK}) AS w ON w.session_id = e.session_id
    WHERE ${IN_RANGE}
    GROUP BY e.session_id`,
}
