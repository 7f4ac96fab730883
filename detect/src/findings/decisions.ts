/**
 * What people decide about findings. A decision is an event of the trail, recorded by the `agent-audit` command: table and topic
 * say who decided what, and when. It counts as much as the right to write to the topic: docs/detect.md.
 */

/** State of a finding after each type of decision. */
export const STATES = {
  'finding.acknowledged': 'acknowledged',
  'finding.suppressed': 'suppressed',
  'finding.escalated': 'escalated',
} as const

export type DecisionType = keyof typeof STATES
/** `open`: no decision yet. */
export type FindingState = 'open' | (typeof STATES)[DecisionType]

/** The agent that the command records decisions as. */
export const DECIDING_AGENT = 'agent-audit'

/** For SQL. */
export const DECISION_TYPES: string = Object.keys(STATES)
  .map((type) => `'${type}'`)
  .join(', ')

/** What a decision is about: one finding, or what a detector finds of an agent until a time. */
export type Subject =
  | { readonly finding_id: string }
  | { readonly detector: string; readonly agent_id: string; readonly until: string }

const RECORDED = `
  SELECT event_type, ifNull(approver_id, '') AS by, ifNull(reason, '') AS why, timestamp AS decided_at,
    (log_time, log_id, log_partition, log_offset) AS place, JSONExtractString(ifNull(content, '{}'), 'finding_id') AS finding,
    JSONExtractString(ifNull(content, '{}'), 'detector') AS of_detector,
    JSONExtractString(ifNull(content, '{}'), 'agent_id') AS of_agent,
    parseDateTime64BestEffortOrZero(JSONExtractString(ifNull(content, '{}'), 'until'), 6, 'UTC') AS until
  FROM {database:Identifier}.audit_events
  WHERE event_type IN (${DECISION_TYPES}) AND agent_id = '${DECIDING_AGENT}'`

/** The latest decision on each finding. */
export const OWN_DECISIONS: string = `
  SELECT finding, argMax(event_type, place) AS decision, argMax(by, place) AS by, argMax(why, place) AS why,
    argMax(decided_at, place) AS decided_at
  FROM (${RECORDED}) WHERE finding != '' GROUP BY finding`

/** The latest suppression of what a detector finds of an agent. */
export const SUPPRESSIONS: string = `
  SELECT of_detector, of_agent, argMax(until, place) AS until, argMax(by, place) AS by, argMax(why, place) AS why,
    argMax(decided_at, place) AS decided_at
  FROM (${RECORDED}) WHERE finding = '' AND of_detector != '' AND event_type = 'finding.suppressed'
  GROUP BY of_detector, of_agent`
