/** A model or a prompt that changed while the agent's version stayed. */
import type { Finding, QueryDetector } from '../../detector.ts'
import { AGENTS, agentRow, type AgentRow, EVENTS, history } from './rows.ts'

interface VersionsRow extends AgentRow {
  /** `model` or `prompt`. */
  readonly kinds: readonly string[]
  readonly values: readonly string[]
  readonly versions: readonly string[]
  /** Seconds since 1970. */
  readonly first: readonly number[]
  readonly last: readonly number[]
  readonly first_ids: readonly string[]
}

const LOOKBACK_DAYS = 35
/**
 * Of each agent and version, the latest values of each kind by their first event: a prompt that differs in each session has
 * thousands, and those few are enough to see it.
 */
const MOST = 60
const ofKind = (kind: string, value: string, where: string): string => `
    SELECT agent_id, '${kind}' AS kind, ${value} AS value, ifNull(agent_version, '') AS version,
      toUnixTimestamp(min(timestamp)) AS at, toUnixTimestamp(max(timestamp)) AS until, toString(argMin(event_id, timestamp)) AS id
    FROM ${EVENTS} WHERE ${AGENTS} AND ${history(LOOKBACK_DAYS)} AND ${where}
    GROUP BY agent_id, version, value
    ORDER BY at DESC LIMIT ${MOST} BY agent_id, version`
const SQL = `
SELECT agent_id, groupArray(kind) AS kinds, groupArray(value) AS values, groupArray(version) AS versions,
  groupArray(at) AS first, groupArray(until) AS last, groupArray(id) AS first_ids
FROM (
  SELECT * FROM (${ofKind('model', 'assumeNotNull(model_id)', `event_type = 'llm_call' AND model_id IS NOT NULL`)})
  UNION ALL
  SELECT * FROM (${ofKind('prompt', 'lower(hex(assumeNotNull(system_prompt_hash)))', 'system_prompt_hash IS NOT NULL')})
)
GROUP BY agent_id`

const THRESHOLDS = {
  min_history_days: 7,
  /** Changes of the value a day that are habit. */
  max_changes_a_day: 0.2,
}
const DAY_S = 86_400

interface Value {
  readonly kind: string
  readonly value: string
  readonly version: string
  readonly first: number
  readonly last: number
  readonly id: string
}

export const unversionedChange: QueryDetector<VersionsRow, typeof THRESHOLDS> = {
  unit: 'query',
  name: 'drift.unversioned_change',
  version: 1,
  finds:
    'An agent runs with another model or system prompt, and its version is the same: the version does not say what ran.',
  method:
    'A model, or a hash of the system prompt, that is new in 35 days under a version that ran with another one before. Values that come and go (a router of models, a canary that is back) are known; an agent whose values change by habit (a date in the prompt) is left alone: more than max_changes_a_day of new ones before.',
  source: 'A rule on recorded identities: a version names what ran only if model and prompt change with it.',
  thresholds: THRESHOLDS,
  sql: SQL,
  schema: agentRow({
    kinds: 'texts',
    values: 'texts',
    versions: 'texts',
    first: 'numbers',
    last: 'numbers',
    first_ids: 'texts',
  }),
  find(rows, limits, { since, until }) {
    const [from, to] = [Math.floor(since.getTime() / 1000), until.getTime() / 1000]
    return rows.flatMap((row) => {
      const values = row.values.map((value, index) => ({
        value,
        kind: row.kinds[index] ?? '',
        version: row.versions[index] ?? '',
        first: row.first[index] ?? 0,
        last: row.last[index] ?? 0,
        id: row.first_ids[index] ?? '',
      }))
      return values.flatMap((each) =>
        each.first >= from && each.first < to ? (changeTo(row.agent_id, each, { values, limits }) ?? []) : [],
      )
    })
  },
}

function changeTo(
  agent_id: string,
  now: Value,
  { values, limits }: { values: readonly Value[]; limits: typeof THRESHOLDS },
): Finding | undefined {
  const alike = values.filter(
    ({ kind, version, first }) => kind === now.kind && version === now.version && first < now.first,
  )
  const before = alike.toSorted((a, b) => b.last - a.last)[0]
  if (before === undefined) return undefined
  const days = (now.first - Math.min(...alike.map(({ first }) => first))) / DAY_S
  // The first value is no change.
  const habit = (alike.length - 1) / Math.max(1, days)
  if (days < limits.min_history_days || habit > limits.max_changes_a_day) return undefined
  const name = now.kind === 'model' ? 'model' : 'system prompt'
  const said = (value: string): string => (now.kind === 'model' ? value : `${value.slice(0, 12)}…`)
  const version = now.version === '' ? 'no version is recorded' : `its version is still ${now.version}`
  return {
    cause: `${agent_id}/${now.version}/${now.kind}/${now.value}`,
    severity: now.version === '' ? 'low' : 'medium',
    summary: `${agent_id}: ${name} ${said(before.value)} -> ${said(now.value)}, and ${version}`,
    score: now.version === '' ? 0.6 : 0.9,
    agent_id,
    session_id: null,
    signals: [
      {
        name: now.kind === 'model' ? 'model_id' : 'system_prompt_hash',
        value: now.value,
        expected: before.value,
        event_id: now.id,
      },
      { name: 'agent_version', value: now.version },
      { name: 'days_of_history', value: Math.floor(days) },
    ],
    evidence: [now.id, before.id],
  }
}
