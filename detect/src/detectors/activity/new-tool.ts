/** A tool that an agent has not called before. */
import type { Finding, QueryDetector } from '../../detector.ts'
import { AGENTS, agentRow, type AgentRow, EVENTS, history } from './rows.ts'

interface ToolsRow extends AgentRow {
  readonly tools: readonly string[]
  /** Seconds since 1970. */
  readonly first: readonly number[]
  readonly calls: readonly number[]
  readonly first_ids: readonly string[]
  readonly first_versions: readonly string[]
  readonly versions: readonly string[]
  readonly versions_first: readonly number[]
}

const LOOKBACK_DAYS = 35
const OF_CALLS = `${AGENTS} AND ${history(LOOKBACK_DAYS)} AND event_type = 'tool_call' AND tool_name IS NOT NULL`
const SQL = `
SELECT agent_id, tools, first, calls, first_ids, first_versions, versions, versions_first
FROM (
  SELECT agent_id, groupArray(tool) AS tools, groupArray(at) AS first, groupArray(n) AS calls, groupArray(id) AS first_ids,
    groupArray(version) AS first_versions
  FROM (
    SELECT agent_id, assumeNotNull(tool_name) AS tool, toUnixTimestamp(min(timestamp)) AS at, count() AS n,
      toString(argMin(event_id, timestamp)) AS id, ifNull(argMin(agent_version, timestamp), '') AS version
    FROM ${EVENTS} WHERE ${OF_CALLS}
    GROUP BY agent_id, tool
  )
  GROUP BY agent_id
) AS tools
LEFT JOIN (
  SELECT agent_id, groupArray(version) AS versions, groupArray(at) AS versions_first
  FROM (
    SELECT agent_id, assumeNotNull(agent_version) AS version, toUnixTimestamp(min(timestamp)) AS at
    FROM ${EVENTS} WHERE ${AGENTS} AND ${history(LOOKBACK_DAYS)} AND agent_version IS NOT NULL
    GROUP BY agent_id, version
  )
  GROUP BY agent_id
) AS versions USING (agent_id)`

const THRESHOLDS = {
  min_history_days: 7,
  min_calls: 50,
  /** New tools that an agent's habit lets expect in a day: above it, a new one is no news. */
  max_expected: 0.2,
}

const DAY_S = 86_400

export const newTool: QueryDetector<ToolsRow, typeof THRESHOLDS> = {
  unit: 'query',
  name: 'drift.new_tool',
  version: 1,
  finds: 'An agent calls a tool that it has not called in the weeks before.',
  method:
    'The first call of a tool in 35 days, of an agent with enough history. An agent that calls ever new tools is left alone: the expected number of new ones a day is estimated from the number of tools that were called once (Good and Turing). A tool that comes with the first week of a new version is told as a hint.',
  source: 'Good (1953), The population frequencies of species. Thresholds were tuned on two made fleets (judge/fleet).',
  thresholds: THRESHOLDS,
  sql: SQL,
  schema: agentRow({
    tools: 'texts',
    first: 'numbers',
    calls: 'numbers',
    first_ids: 'texts',
    first_versions: 'texts',
    versions: 'texts',
    versions_first: 'numbers',
  }),
  find: (rows, limits, { since, until }) =>
    rows.flatMap((row) => {
      const born = Math.min(...row.first)
      return row.tools.flatMap((tool, index) => {
        const at = row.first[index] ?? 0
        const inWindow = at >= Math.floor(since.getTime() / 1000) && at < until.getTime() / 1000
        if (!inWindow || at - born < limits.min_history_days * DAY_S || isUsual(row, at, limits)) return []
        return [describe(row, { tool, index, born })]
      })
    }),
}

/** Whether new tools are nothing new for the agent at this time. */
function isUsual(row: ToolsRow, at: number, { min_calls, max_expected }: typeof THRESHOLDS): boolean {
  const known = row.calls.filter((_, index) => (row.first[index] ?? 0) < at)
  const calls = known.reduce((sum, count) => sum + count, 0)
  if (calls < min_calls) return true
  const once = known.filter((count) => count === 1).length
  const days = Math.max(1, (at - Math.min(...row.first)) / DAY_S)
  return once / days > max_expected
}

function describe(row: ToolsRow, { tool, index, born }: { tool: string; index: number; born: number }): Finding {
  const at = row.first[index] ?? 0
  const version = row.first_versions[index] ?? ''
  const versionBorn = row.versions_first[row.versions.indexOf(version)] ?? 0
  const withVersion = version !== '' && versionBorn > born + DAY_S && at - versionBorn < 7 * DAY_S
  const since = new Date(at * 1000).toISOString().replace('.000Z', 'Z')
  return {
    cause: `${row.agent_id}/${tool}`,
    severity: withVersion ? 'info' : 'medium',
    summary: `${row.agent_id} calls ${tool} since ${since}, for the first time${withVersion ? `, with version ${version}` : ''}`,
    score: withVersion ? 0.3 : 0.9,
    agent_id: row.agent_id,
    session_id: null,
    signals: [
      { name: 'new_tool', value: tool, event_id: row.first_ids[index] },
      { name: 'known_tools', value: row.tools.length - 1 },
      { name: 'days_of_history', value: Math.floor((at - born) / DAY_S) },
      ...(withVersion ? [{ name: 'new_version', value: version }] : []),
    ],
    evidence: [row.first_ids[index] ?? ''],
  }
}
