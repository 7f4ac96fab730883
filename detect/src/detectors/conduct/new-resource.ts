/** Allowed crossings of the sandbox to what the agent had not used before. */
import type { Detector, QueryDetector } from '../../detector.ts'
import { EVENTS, rowsOf } from './query-rows.ts'

type Row = Record<'agent' | 'session' | 'event' | 'boundary' | 'resource', string> &
  Record<'crossings' | 'known' | 'earlier' | 'days', number>

const newResource: QueryDetector<Row, Record<'least_earlier' | 'least_days' | 'most_new_share', number>> = {
  name: 'sandbox.new_resource',
  version: 1,
  unit: 'query',
  finds: 'An agent crosses its sandbox, and is allowed to, to a resource that it had not used before.',
  method:
    'Boundary and resource of allowed crossings in the window that no allowed crossing of the agent had in the 28 days before it. An agent is judged that had at least least_earlier crossings over least_days days in that time, and for which a new resource is rare: its different resources are at most most_new_share of its crossings.',
  source: 'Own rule: first use. The limits are chosen by hand.',
  thresholds: { least_earlier: 20, least_days: 7, most_new_share: 0.2 },
  sql: `
    WITH crossings AS (
      SELECT agent_id, session_id, event_id, timestamp,
        JSONExtractString(ifNull(content, '{}'), 'boundary') AS boundary,
        JSONExtractString(ifNull(content, '{}'), 'resource') AS resource
      FROM ${EVENTS}
      WHERE event_type = 'sandbox_crossing' AND ifNull(outcome, 'allowed') IN ('allowed', 'success')
        AND agent_id IN {agents:Array(String)} AND resource != ''
        AND timestamp >= {since:DateTime64(6)} - INTERVAL 28 DAY AND timestamp < {until:DateTime64(6)}),
    before AS (
      SELECT agent_id, count() AS earlier, uniqExact(boundary, resource) AS known,
        dateDiff('day', min(timestamp), {since:DateTime64(6)}) AS days
      FROM crossings WHERE timestamp < {since:DateTime64(6)} GROUP BY agent_id)
    SELECT c.agent_id AS agent, c.boundary AS boundary, c.resource AS resource,
      argMin(c.session_id, (c.timestamp, c.event_id)) AS session,
      toString(argMin(c.event_id, (c.timestamp, c.event_id))) AS event,
      count() AS crossings, any(b.known) AS known, any(b.earlier) AS earlier, any(b.days) AS days
    FROM crossings AS c INNER JOIN before AS b ON b.agent_id = c.agent_id
    GROUP BY agent, boundary, resource
    HAVING min(c.timestamp) >= {since:DateTime64(6)}
    ORDER BY agent, event`,
  schema: rowsOf(['agent', 'session', 'event', 'boundary', 'resource'], ['crossings', 'known', 'earlier', 'days']),
  find: (rows, { least_earlier, least_days, most_new_share }) =>
    rows
      .filter(({ earlier, days }) => earlier >= least_earlier && days >= least_days)
      .filter(({ known, earlier }) => known / earlier <= most_new_share)
      .map(({ agent, session, event, boundary, resource, crossings, known, earlier }) => ({
        cause: `${session}/${event}`,
        severity: 'low',
        summary: `${agent} crossed its sandbox to ${boundary} ${resource}, which it had not used before`,
        score: Math.max(0, Math.round(100 * (0.9 - known / earlier)) / 100),
        agent_id: agent,
        session_id: session,
        signals: [
          { name: 'new_resource', value: resource, event_id: event },
          { name: 'crossings', value: crossings },
          { name: 'resources_used_before', value: known },
          { name: 'crossings_before', value: earlier },
        ],
        evidence: [event],
      })),
}

export const NEW_RESOURCE_DETECTORS: readonly Detector[] = [newResource]
