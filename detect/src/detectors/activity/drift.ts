/** Drift: an agent's tools, arguments, outcomes or lengths of answers are distributed otherwise than they were. */
import type { Finding, QueryDetector, QueryWindow } from '../../detector.ts'
import {
  changesOf,
  type Counts,
  type Divergence,
  divergenceOf,
  spreadOf,
  sumCounts,
  sumOf,
  surpriseOf,
} from './divergence.ts'
import {
  changeBetween,
  type Days,
  daysOf,
  DRIFT_DAYS,
  DRIFT_ROW,
  DRIFT_WIDTHS,
  type DriftRow,
  driftSql,
  LEAD_DAYS,
  REFERENCE_DAYS,
} from './drift-rows.ts'
import { BY_DAY, incidentsOf } from './incidents.ts'
import { scoreOf, short } from './statistics.ts'

const METHOD = `The counts of a day, of three days and of a week are compared with the 28 days before, within the same configurations (version, model, prompt): Jensen-Shannon divergence less its expectation for samples of that size, and a likelihood ratio test (or Pearson's, where it says less: both are close to chi-square only if counts are not few) whose variance is inflated by what the agent's own days differ from each other. After a change of configuration its first days are compared with the days before it, and the finding names the change.`
const SOURCE = `Jensen-Shannon divergence (Lin, 1991), G-test with quasi-likelihood overdispersion (McCullagh and Nelder, 1989), Wilson and Hilferty (1931). Thresholds were tuned on two made fleets (judge/fleet).`

const LIMITS = {
  min_bits: 0.01,
  min_z: 3.75,
  /** Times the highest tenth of the agent's own days. */
  tail_factor: 1.1,
  min_count: 30,
  min_reference: 150,
  min_reference_days: 7,
}
type Limits = typeof LIMITS

interface Drift {
  readonly divergence: Divergence
  readonly z: number
  readonly before: Counts
  readonly after: Counts
  /** Days of `after`. */
  readonly days: number
}

/** A configuration is new for so many days. */
const NEW_DAYS = 7

function find(row: DriftRow, window: QueryWindow, { noun, limits }: { noun: string; limits: Limits }): Finding[] {
  const days = daysOf(row)
  const since = Math.floor(window.since.getTime() / 86_400_000)
  const until = Math.ceil(window.until.getTime() / 86_400_000)
  const span = { since, until, origin: since - DRIFT_DAYS }
  const incidents = incidentsOf(span, (day) => driftOn(days, day, { origin: span.origin, limits }), BY_DAY)
  const plain = incidents.map(({ start, hours }) => {
    const worst = hours.toSorted((a, b) => b.what.z - a.what.z)[0]
    if (worst === undefined) throw new Error('an incident has days')
    return describe(row, worst.what, {
      noun,
      limits,
      cause: `${isoDay(start)}/${noun}`,
      when: `on ${isoDay(worst.at)}`,
    })
  })
  return [...plain, ...afterChanges(row, days, { span, noun, limits })]
}

/** Drift within configurations that are not new. */
function driftOn(days: Days, day: number, { origin, limits }: { origin: number; limits: Limits }): Drift | undefined {
  const found = DRIFT_WIDTHS.flatMap((width) => {
    const first = day - width + 1
    const present = days.configurations.filter(
      (each) => days.firstDay(each) <= first - NEW_DAYS && sumOf(days.at(day, each)) > 0,
    )
    const countsOf = (at: number): Counts => sumCounts(present.map((each) => days.at(at, each)))
    const reference = range(Math.max(origin, first - REFERENCE_DAYS), first).map(countsOf)
    return compare(reference, range(first, day + 1).map(countsOf), limits) ?? []
  })
  return found.toSorted((a, b) => b.z - a.z)[0]
}

function compare(reference: readonly Counts[], current: readonly Counts[], limits: Limits): Drift | undefined {
  const used = reference.filter((counts) => sumOf(counts) > 0)
  const [before, after] = [sumCounts(used), sumCounts(current)]
  if (
    used.length < limits.min_reference_days ||
    sumOf(before) < limits.min_reference ||
    sumOf(after) < limits.min_count
  )
    return undefined
  const divergence = divergenceOf(before, after)
  if (divergence.bits < limits.min_bits) return undefined
  const spread = spreadOf(used)
  const z = surpriseOf(divergence, spread)
  const unlike =
    Math.max(divergence.g / divergence.degrees, divergence.largest.g / 4) >= limits.tail_factor * spread.highest
  return z >= limits.min_z && unlike ? { divergence, z, before, after, days: current.length } : undefined
}

interface Span {
  readonly since: number
  readonly until: number
  readonly origin: number
}

/** One finding for each configuration that is new in the week before a day of the window. */
function afterChanges(
  row: DriftRow,
  days: Days,
  { span, noun, limits }: { span: Span; noun: string; limits: Limits },
): Finding[] {
  return days.configurations.flatMap((configuration) => {
    const first = days.firstDay(configuration)
    const before = (each: string): boolean => days.firstDay(each) < first
    const old = days.configurations.filter(before)
    const reference = range(Math.max(span.origin, first - REFERENCE_DAYS), first).map((day) =>
      sumCounts(old.map((each) => days.at(day, each))),
    )
    for (let day = Math.max(first, span.since); day < Math.min(span.until, first + NEW_DAYS); day++) {
      const current = range(first, day + 1).map((each) => days.at(each, configuration))
      const drift = compare(reference, current, limits)
      if (drift === undefined) continue
      const latest = old.toSorted((a, b) => lastDay(days, b, first) - lastDay(days, a, first))[0] ?? ''
      const change = changeBetween(latest, configuration)
      const cause = `${configuration.replaceAll('\t', ' ')}/${noun}`
      return [describe(row, drift, { noun, limits, cause, when: `since ${isoDay(first)}`, change })]
    }
    return []
  })
}

function lastDay(days: Days, configuration: string, before: number): number {
  return range(before - LEAD_DAYS, before + 1).findLast((day) => sumOf(days.at(day, configuration)) > 0) ?? 0
}

interface Described {
  readonly noun: string
  readonly limits: Limits
  readonly cause: string
  readonly when: string
  readonly change?: string
}

function describe(row: DriftRow, drift: Drift, { noun, limits, cause, when, change }: Described): Finding {
  const { divergence, z, before, after } = drift
  const changes = changesOf(before, after, 3)
  const [top] = changes
  const most =
    top === undefined ? '' : `: ${top.key.replace('\t', ' ')} ${percent(top.before)} before, ${percent(top.after)} now`
  const evidence = changes.flatMap(({ key }) => row.sample_ids[row.samples.indexOf(key)] ?? [])
  return {
    cause: `${row.agent_id}/${cause}`,
    severity: z >= 3 * limits.min_z || divergence.bits >= 0.3 ? 'medium' : 'low',
    summary: `${row.agent_id}: its ${noun} changed ${when}${change === undefined ? '' : ` with ${change}`}${most}`,
    score: scoreOf(z, limits.min_z / 2),
    agent_id: row.agent_id,
    session_id: null,
    signals: [
      { name: 'jensen_shannon_bits', value: short(divergence.bits), expected: limits.min_bits },
      { name: 'standard_deviations', value: short(z), expected: limits.min_z },
      { name: 'compared', value: sumOf(after), expected: sumOf(before) },
      { name: 'days', value: drift.days },
      ...(change === undefined ? [] : [{ name: 'change', value: change }]),
      ...changes.map((each) => ({
        name: each.key.replace('\t', ' '),
        value: percent(each.after),
        expected: percent(each.before),
      })),
    ],
    evidence,
  }
}

function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`
}

function range(from: number, until: number): number[] {
  return Array.from({ length: Math.max(0, until - from) }, (_, index) => from + index)
}

function isoDay(day: number): string {
  return new Date(day * 86_400_000).toISOString().slice(0, 10)
}

interface Kind {
  readonly name: string
  readonly noun: string
  readonly finds: string
  readonly method: string
  readonly category: string
  readonly where: string
  readonly limits?: Partial<Limits>
}

function driftDetector({ name, noun, finds, method, category, where, limits }: Kind): QueryDetector<DriftRow, Limits> {
  return {
    unit: 'query',
    name,
    version: 1,
    finds,
    method: `${METHOD} ${method}`,
    source: SOURCE,
    thresholds: { ...LIMITS, ...limits },
    sql: driftSql(category, where),
    schema: DRIFT_ROW,
    find: (rows, thresholds, window) => rows.flatMap((row) => find(row, window, { noun, limits: thresholds })),
  }
}

export const toolDrift: QueryDetector<DriftRow, Limits> = driftDetector({
  name: 'drift.tools',
  noun: 'mix of tools',
  finds: 'An agent calls its tools in other shares than before.',
  method: 'Categories are the names of the tools called.',
  category: `ifNull(tool_name, '')`,
  where: `event_type = 'tool_call'`,
})

/**
 * Keys and types of the arguments, at most so many: a tool with free keys has no shape. The arguments are parsed once. JSONType of
 * each key parsed them once a key: 300,000 arguments of eight keys took 2.4 s of CPU that way and take 0.9 s; of two keys, 0.15 s both.
 */
const SHAPE = `arrayStringConcat(arraySlice(arraySort(arrayMap(
  pair -> concat(pair.1, ':', transform(substring(pair.2, 1, 1), ['{', '[', '"', 't', 'f', 'n'],
    ['Object', 'Array', 'String', 'Bool', 'Bool', 'Null'], if(multiSearchAny(pair.2, ['.', 'e', 'E']), 'Double', 'Int64'))),
  JSONExtractKeysAndValuesRaw(ifNull(tool_input, '')))), 1, 20), ',')`

export const argumentDrift: QueryDetector<DriftRow, Limits> = driftDetector({
  name: 'drift.arguments',
  noun: 'shape of arguments',
  finds:
    'An agent calls its tools with other arguments than before: keys that are new or missing, or values of another type.',
  method:
    'Categories are the keys of the first level of the arguments and their JSON types, compared within each tool, so that another mix of tools is no drift of arguments.',
  category: `concat(ifNull(tool_name, ''), '\\t', ${SHAPE})`,
  // Encrypted arguments have no shape that a server could read.
  where: `event_type = 'tool_call' AND NOT startsWith(ifNull(tool_input, ''), '"enc:v1:')`,
})

export const outcomeDrift: QueryDetector<DriftRow, Limits> = driftDetector({
  name: 'drift.outcomes',
  noun: 'mix of outcomes',
  finds: 'The actions of an agent end otherwise than before: more of them are denied, blocked or fail.',
  method:
    'Categories are the outcomes of tool calls, their results, sandbox crossings and ends of sessions, each type apart.',
  category: `concat(if(event_type IN ('session_end', 'session_timeout'), 'end', toString(event_type)), '\\t',
    if(event_type = 'session_timeout', 'timeout', ifNull(outcome, 'none')))`,
  where: `event_type IN ('tool_call', 'tool_result', 'sandbox_crossing', 'session_end', 'session_timeout')`,
  // Denials are few beside all outcomes, and matter.
  limits: { min_bits: 0.005 },
})

export const lengthDrift: QueryDetector<DriftRow, Limits> = driftDetector({
  name: 'drift.output_length',
  noun: 'length of answers',
  finds: 'The answers of an agent are longer or shorter than before.',
  method: 'Categories are powers of the square root of 2 of output_tokens; calls without them are left out.',
  category: `concat('from ', toString(round(exp2(floor(2 * log2(greatest(output_tokens, 1))) / 2))), ' tokens')`,
  where: `event_type = 'llm_call' AND output_tokens IS NOT NULL`,
})
