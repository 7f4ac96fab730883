/** Counts what was found, missed and accused wrongly, of one detector over several fleets. */
import type { Finding } from '@agent-audit/detect'
import type { AgentDay, JudgedFleet, NaiveRule, Placed } from './judge-fleet.ts'
import { DAY_MS } from './model.ts'

export interface Score {
  readonly strong: readonly [found: number, of: number]
  readonly mild: readonly [found: number, of: number]
  readonly benign: readonly [accused: number, of: number]
  /** Findings about no anomaly. */
  readonly wrong: number
  readonly misses: readonly string[]
}

export function scoreOf(fleets: readonly JudgedFleet[], detector: string): Score {
  const counts = { strong: [0, 0], mild: [0, 0], benign: [0, 0] } as Record<
    Placed['scenario']['kind'],
    [number, number]
  >
  const [missed, accused]: [Map<string, string[]>, string[]] = [new Map(), []]
  for (const { seed, placed, findings } of fleets) {
    const own = placed.filter(({ scenario }) => scenario.detector === detector)
    // A hint is no accusation.
    const found = (findings.get(detector) ?? []).filter(({ severity }) => severity !== 'info')
    for (const each of own) {
      const { kind, name } = each.scenario
      const hit = found.some((finding) => isAbout(finding, each))
      counts[kind][0] += Number(hit)
      counts[kind][1]++
      const key = `${kind}: ${name}`
      if (kind !== 'benign') missed.set(key, missed.get(key) ?? [])
      if (!hit) missed.get(key)?.push(`${each.truth.agent_id} of seed ${seed}`)
    }
    for (const finding of found) {
      if (!placed.some((each) => isExcused(finding, each, detector))) accused.push(accusation(finding, seed, placed))
    }
  }
  const misses = [...missed].flatMap(([what, agents]) =>
    agents.length === 0 ? [] : [`missed, ${what} (${agents.join(', ')})`],
  )
  return { ...counts, wrong: accused.length, misses: [...misses, ...accused] }
}

function accusation({ agent_id, summary }: Finding, seed: number, placed: readonly Placed[]): string {
  const scenario = placed.find(({ truth }) => truth.agent_id === agent_id)?.scenario
  const what = scenario === undefined ? 'an agent as it always was' : `${scenario.kind}: ${scenario.name}`
  return `wrong, ${what} (seed ${seed}): ${summary}`
}

function isAbout(finding: Finding, { truth }: Placed): boolean {
  if (finding.agent_id !== truth.agent_id) return false
  if (truth.session_id !== null && finding.session_id !== truth.session_id) return false
  return isWithin(finding, truth) && (truth.says?.(finding) ?? true)
}

const MARGIN_MS = 7 * 60 * 60 * 1000

/** Whether a finding that says when it began began within the anomaly. */
function isWithin({ signals }: Finding, { from, until }: Placed['truth']): boolean {
  const began = Date.parse(String(signals.find(({ name }) => name === 'began')?.value))
  if (Number.isNaN(began)) return true
  const early = from !== undefined && began < from.getTime() - MARGIN_MS
  return !early && (until === undefined || began < until.getTime() + MARGIN_MS)
}

/** Whether a finding is about an anomaly of its detector, or of one that it may report too. */
function isExcused(finding: Finding, each: Placed, detector: string): boolean {
  const { scenario, truth } = each
  if (truth.agent_id !== finding.agent_id) return false
  if (scenario.detector === detector) return scenario.kind !== 'benign' && isWithin(finding, truth)
  return scenario.also?.includes(detector) ?? false
}

export function precisionOf({ strong, mild, wrong }: Score): number {
  const right = strong[0] + mild[0]
  return right + wrong === 0 ? 1 : right / (right + wrong)
}

export function rate([found, of]: readonly [number, number]): number {
  return of === 0 ? 1 : found / of
}

/** Precision and recall of a rule that names agents and days. */
export function naiveScore(
  fleets: readonly JudgedFleet[],
  detector: string,
  rule: NaiveRule | 'flag all',
): { precision: number; recall: number } {
  let [flagged, right, found, wanted] = [0, 0, 0, 0]
  for (const fleet of fleets) {
    const truths = fleet.placed.filter(({ scenario }) => scenario.detector === detector && scenario.kind !== 'benign')
    const days = rule === 'flag all' ? undefined : (fleet.naive.get(rule) ?? [])
    const hits = (each: Placed): number => days?.filter((day) => isOn(day, each)).length ?? daysOf(each)
    wanted += truths.length
    flagged += days?.length ?? fleet.agentDays
    right += truths.reduce((sum, each) => sum + hits(each), 0)
    found += truths.filter((each) => hits(each) > 0).length
  }
  return { precision: flagged === 0 ? 0 : right / flagged, recall: wanted === 0 ? 0 : found / wanted }
}

function isOn({ agent_id, day }: AgentDay, { truth }: Placed): boolean {
  const { from, until } = truth
  const early = from !== undefined && day + DAY_MS <= from.getTime()
  return agent_id === truth.agent_id && !early && (until === undefined || day < until.getTime())
}

function daysOf({ truth: { from, until } }: Placed): number {
  return from === undefined || until === undefined
    ? 6
    : Math.max(1, Math.ceil((until.getTime() - from.getTime()) / DAY_MS))
}
