/** What is wrong with the record itself: clocks of producers, and events that are lost. */
import type { Detector, Finding, QueryDetector } from '../../detector.ts'
import { EVENTS, OF_WINDOW, rowsOf } from './query-rows.ts'

type SkewRow = Record<'run' | 'agent' | 'first_event', string> &
  Record<'events' | 'least' | 'middle' | 'most' | 'span', number>

const skew: QueryDetector<
  SkewRow,
  Record<'ahead_ms' | 'behind_ms' | 'spread_ms' | 'least_events' | 'least_span_ms', number>
> = {
  name: 'delivery.clock_skew',
  version: 1,
  unit: 'query',
  finds: "A producer's clock is ahead of the broker's, or far behind it.",
  method:
    'log_time minus timestamp of the events of a run in the window, without replays. Ahead: the median is below -ahead_ms, since no event can be appended before it happened. Behind: even the smallest difference is above behind_ms and the 90 % range is below spread_ms, over at least least_span_ms of events. A spool that was sent late has differences that spread as its events do; an import too.',
  source: 'Own rule. NTP keeps hosts within milliseconds; 5 s is beyond every healthy one.',
  thresholds: { ahead_ms: 5000, behind_ms: 60_000, spread_ms: 15_000, least_events: 5, least_span_ms: 600_000 },
  sql: `
    SELECT lower(hex(run_id)) AS run, min(agent_id) AS agent, toString(argMin(event_id, timestamp)) AS first_event,
      count() AS events, min(delay) AS least, quantileExact(0.5)(delay) AS middle,
      quantileExact(0.95)(delay) - quantileExact(0.05)(delay) AS most,
      dateDiff('millisecond', min(timestamp), max(timestamp)) AS span
    FROM (
      SELECT run_id, agent_id, event_id, timestamp, dateDiff('millisecond', timestamp, log_time) AS delay
      FROM ${EVENTS} WHERE ${OF_WINDOW} AND replay_of IS NULL)
    GROUP BY run_id`,
  schema: rowsOf(['run', 'agent', 'first_event'], ['events', 'least', 'middle', 'most', 'span']),
  find: (rows, { ahead_ms, behind_ms, spread_ms, least_events, least_span_ms }) =>
    rows.flatMap((row) => {
      if (row.events < least_events) return []
      const isAhead = row.middle < -ahead_ms
      const isBehind = row.least > behind_ms && row.most < spread_ms && row.span >= least_span_ms
      if (!isAhead && !isBehind) return []
      const seconds = Math.round(Math.abs(isAhead ? row.middle : row.least) / 1000)
      return skewFinding(row, { isAhead, seconds, limit: isAhead ? -ahead_ms : behind_ms })
    }),
}

function skewFinding(row: SkewRow, about: { isAhead: boolean; seconds: number; limit: number }): Finding {
  const { isAhead, seconds, limit } = about
  return {
    cause: `${row.run}/${isAhead ? 'ahead' : 'behind'}`,
    severity: seconds > 3600 ? 'high' : 'medium',
    summary: `The clock of a producer is ${seconds} s ${isAhead ? 'ahead of' : 'behind'} the broker's`,
    score: isAhead ? 0.98 : 0.9,
    agent_id: row.agent,
    session_id: null,
    signals: [
      {
        name: 'log_time_minus_timestamp_ms',
        value: isAhead ? row.middle : row.least,
        expected: limit,
        event_id: row.first_event,
      },
      { name: 'events', value: row.events },
      { name: 'run_id', value: row.run },
    ],
    evidence: [row.first_event],
  }
}

type LostRow = Record<'run' | 'agent' | 'reason' | 'first_event', string> &
  Record<'events' | 'reports' | 'unknown', number>

const lost: QueryDetector<LostRow, Record<'high', number>> = {
  name: 'delivery.events_lost',
  version: 1,
  unit: 'query',
  finds: 'A producer reports that events were lost: they happened and are not on record.',
  method:
    'Each run and reason with events_lost in the window is one finding; how many events it names is a signal. Numbers that are missing and that no event explains are found by `agent-audit verify --completeness`, which sees what is still under way.',
  source: 'The record itself: the producer writes events_lost.',
  thresholds: { high: 100 },
  sql: `
    SELECT lower(hex(run_id)) AS run, min(agent_id) AS agent, ifNull(reason, '') AS reason,
      toString(argMin(event_id, timestamp)) AS first_event, count() AS reports,
      sum(JSONExtractUInt(ifNull(content, '{}'), 'count')) AS events,
      countIf(JSONType(ifNull(content, '{}'), 'count') IN ('Null')) AS unknown
    FROM ${EVENTS} WHERE event_type = 'events_lost' AND ${OF_WINDOW}
    GROUP BY run_id, reason`,
  schema: rowsOf(['run', 'agent', 'reason', 'first_event'], ['events', 'reports', 'unknown']),
  find: (rows, { high }) =>
    rows.map((row) => ({
      cause: `${row.run}/${row.reason}`,
      severity: row.events >= high || row.unknown > 0 ? 'high' : 'medium',
      summary: `${row.unknown > 0 ? 'An unknown number of' : row.events} events of a run were lost: ${row.reason || 'no reason given'}`,
      score: 1,
      agent_id: row.agent,
      session_id: null,
      signals: [
        { name: 'events', value: row.events, event_id: row.first_event },
        { name: 'reports', value: row.reports },
        { name: 'run_id', value: row.run },
      ],
      evidence: [row.first_event],
    })),
}

type UnusedRow = Record<'agent' | 'version' | 'tools' | 'used', string> & Record<'sessions' | 'days', number>

const unused: QueryDetector<UnusedRow, Record<'least_sessions' | 'least_days', number>> = {
  name: 'privilege.unused_tools',
  version: 1,
  unit: 'query',
  finds: 'An agent may call tools that it never calls.',
  method:
    'Tools that tools_available of at least 80 % of the session starts of a version declare, over the 14 days before the end of the window, minus the tools of all tool calls of the agent in that time, denied ones included. An agent is judged from least_sessions sessions over least_days days on.',
  source:
    'OWASP LLM06:2025 Excessive Agency (excessive functionality); least privilege by use, as cloud access analysers do it.',
  thresholds: { least_sessions: 30, least_days: 7 },
  sql: `
    WITH starts AS (
      SELECT agent_id, ifNull(agent_version, '') AS version, timestamp,
        JSONExtract(ifNull(content, '{}'), 'tools_available', 'Array(String)') AS declared
      FROM ${EVENTS}
      WHERE event_type = 'session_start' AND agent_id IN {agents:Array(String)}
        AND timestamp >= {until:DateTime64(6)} - INTERVAL 14 DAY AND timestamp < {until:DateTime64(6)}),
    calls AS (
      SELECT agent_id, groupUniqArray(1000)(tool_name) AS used FROM ${EVENTS}
      WHERE event_type = 'tool_call' AND agent_id IN {agents:Array(String)}
        AND timestamp >= {until:DateTime64(6)} - INTERVAL 14 DAY AND timestamp < {until:DateTime64(6)}
      GROUP BY agent_id)
    SELECT s.agent_id AS agent, s.version AS version, toJSONString(s.tools) AS tools, toJSONString(c.used) AS used,
      s.sessions AS sessions, s.days AS days
    FROM (
      SELECT agent_id, version, sum(n) AS sessions, max(d) AS days,
        arraySort(groupArrayIf(tool, tool != '')) AS tools
      FROM (
        SELECT agent_id, version, '' AS tool, count() AS n,
          dateDiff('day', min(timestamp), max(timestamp)) AS d
        FROM starts GROUP BY agent_id, version
        UNION ALL
        SELECT agent_id, version, tool, 0 AS n, 0 AS d
        FROM (
          SELECT agent_id, version, tool, count() AS with_tool FROM starts ARRAY JOIN arrayDistinct(declared) AS tool
          GROUP BY agent_id, version, tool) AS t
        INNER JOIN (SELECT agent_id, version, count() AS all_starts FROM starts GROUP BY agent_id, version) AS a
          USING (agent_id, version)
        WHERE with_tool >= 0.8 * all_starts)
      GROUP BY agent_id, version) AS s
    LEFT JOIN calls AS c ON c.agent_id = s.agent_id
    WHERE notEmpty(s.tools)`,
  schema: rowsOf(['agent', 'version', 'tools', 'used'], ['sessions', 'days']),
  find: (rows, { least_sessions, least_days }) =>
    rows.flatMap((row) => {
      if (row.sessions < least_sessions || row.days < least_days) return []
      const used = new Set(JSON.parse(row.used || '[]') as string[])
      const declared = JSON.parse(row.tools) as string[]
      const never = declared.filter((tool) => !used.has(tool))
      if (never.length === 0) return []
      return unusedFinding(row, { never, declared: declared.length })
    }),
}

function unusedFinding(row: UnusedRow, { never, declared }: { never: readonly string[]; declared: number }): Finding {
  return {
    cause: `${row.agent}/${row.version}`,
    severity: never.length >= declared / 2 ? 'medium' : 'low',
    summary: `${row.agent} may call ${never.slice(0, 10).join(', ')} and never did in ${row.sessions} sessions`,
    score: Math.min(0.95, 0.5 + row.sessions / 200),
    agent_id: row.agent,
    session_id: null,
    signals: [
      { name: 'unused_tools', value: never.join(', ') },
      { name: 'declared', value: declared },
      { name: 'sessions', value: row.sessions },
    ],
    evidence: [],
  }
}

export const DELIVERY_DETECTORS: readonly Detector[] = [skew, lost, unused]
