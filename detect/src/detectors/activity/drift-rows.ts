/** Counts of categories by agent, day and configuration (version, model, prompt): what the detectors of drift read. */
import type { RowSchema } from '@agent-audit/analytics'
import type { Counts } from './divergence.ts'
import { AGENTS, agentRow, type AgentRow, EVENTS, history } from './rows.ts'

export interface DriftRow extends AgentRow {
  /** Days since 1970. */
  readonly days: readonly number[]
  /** Version, model and first digits of the prompt's hash, parted by tabs. */
  readonly configurations: readonly string[]
  readonly categories: readonly string[]
  readonly counts: readonly number[]
  /** An event of the window's days for each of their categories. */
  readonly samples: readonly string[]
  readonly sample_ids: readonly string[]
}

export const DRIFT_ROW: RowSchema<DriftRow> = agentRow({
  days: 'numbers',
  configurations: 'texts',
  categories: 'texts',
  counts: 'numbers',
  samples: 'texts',
  sample_ids: 'texts',
})

/** Days of the reference. */
export const REFERENCE_DAYS = 28
/** A drift may have begun so many days before the window. */
export const LEAD_DAYS = 15
/** Days that are judged together: what is striking at once, and what only a week shows. */
export const DRIFT_WIDTHS = [1, 3, 7] as const
export const DRIFT_DAYS: number = REFERENCE_DAYS + LEAD_DAYS + 6

/**
 * A prompt that differs in each session (a date in it) would make a configuration of each: prompts are told apart by two hex digits
 * of their hashes, which bounds the answer; {@link PROMPTS_OF_AN_AGENT} of them mean that prompts tell nothing.
 */
const CONFIGURATION = `concat(ifNull(agent_version, ''), '\\t', ifNull(model_id, ''), '\\t', ifNull(lower(hex(substring(system_prompt_hash, 1, 1))), ''))`
export const PROMPTS_OF_AN_AGENT = 20

/** @param category - Expression over columns of audit_events. @param where - The events that have it. */
export function driftSql(category: string, where: string, days: number = DRIFT_DAYS): string {
  return `
SELECT agent_id, days, configurations, categories, counts, samples, sample_ids
FROM (
  SELECT agent_id, groupArray(day) AS days, groupArray(configuration) AS configurations, groupArray(category) AS categories,
    groupArray(n) AS counts
  FROM (
    SELECT agent_id, intDiv(toUnixTimestamp(timestamp), 86400) AS day, ${CONFIGURATION} AS configuration,
      ${category} AS category, count() AS n
    FROM ${EVENTS} WHERE ${AGENTS} AND ${history(days)} AND ${where}
    GROUP BY agent_id, day, configuration, category
  )
  GROUP BY agent_id
) AS history
LEFT JOIN (
  SELECT agent_id, groupArray(category) AS samples, groupArray(id) AS sample_ids
  FROM (
    SELECT agent_id, ${category} AS category, toString(argMax(event_id, timestamp)) AS id
    FROM ${EVENTS}
    WHERE ${AGENTS} AND timestamp >= toStartOfDay({since:DateTime64(6)}, 'UTC') AND timestamp < {until:DateTime64(6)} AND ${where}
    GROUP BY agent_id, category
  )
  GROUP BY agent_id
) AS latest USING (agent_id)`
}

/** One agent's counts. */
export interface Days {
  /** Of a day and configuration. */
  at(day: number, configuration: string): Counts
  readonly configurations: readonly string[]
  /** The first day of a configuration. */
  firstDay(configuration: string): number
}

const NONE: Counts = new Map()

export function daysOf(row: DriftRow): Days {
  const prompts = new Set(row.configurations.map((configuration) => configuration.split('\t')[2]))
  const nameOf = (configuration: string): string =>
    prompts.size < PROMPTS_OF_AN_AGENT ? configuration : configuration.replace(/\t[^\t]*$/, '\t')
  const counts = new Map<string, Map<string, number>>()
  const first = new Map<string, number>()
  for (const [index, day] of row.days.entries()) {
    const configuration = nameOf(row.configurations[index] ?? '')
    const key = `${day}/${configuration}`
    const ofDay = counts.get(key) ?? new Map<string, number>()
    const category = row.categories[index] ?? ''
    ofDay.set(category, (ofDay.get(category) ?? 0) + (row.counts[index] ?? 0))
    counts.set(key, ofDay)
    first.set(configuration, Math.min(day, first.get(configuration) ?? day))
  }
  return {
    at: (day, configuration) => counts.get(`${day}/${configuration}`) ?? NONE,
    configurations: [...first.keys()],
    firstDay: (configuration) => first.get(configuration) ?? Infinity,
  }
}

/** What differs between two configurations, in words: `version 1.2.0 -> 1.3.0`. */
export function changeBetween(before: string, after: string): string {
  const [old, now] = [before.split('\t'), after.split('\t')]
  const changed = ['version', 'model', 'prompt'].flatMap((name, part) => {
    const [left, right] = [old[part] ?? '', now[part] ?? '']
    const said = (value: string): string => (value === '' ? 'none' : `${value}${name === 'prompt' ? '…' : ''}`)
    return left === right ? [] : [`${name} ${said(left)} -> ${said(right)}`]
  })
  return changed.join(', ')
}
