/** One fleet with all scenarios in a real store: what the detectors find in it, and what naive rules find. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Analytics, connectAnalytics } from '@agent-audit/analytics'
import { candidatesOf, type Detector, type Finding, type QueryWindow, type Session } from '@agent-audit/detect'
import { openDataDir } from '@agent-audit/embedded'
import { type Fleet, makeFleet } from './fleet.ts'
import { DAY_MS } from './model.ts'
import { seededRandom } from './random.ts'
import type { Scenario, Truth } from './scenario.ts'
import { readSessions } from './read-sessions.ts'
import { storeFleet } from './store-fleet.ts'

/** A scenario as it was put into a fleet. */
export interface Placed {
  readonly scenario: Scenario
  readonly truth: Truth
}

export interface JudgedFleet {
  readonly seed: number
  readonly events: number
  readonly placed: readonly Placed[]
  readonly findings: ReadonlyMap<string, readonly Finding[]>
  readonly naive: ReadonlyMap<NaiveRule, readonly AgentDay[]>
  readonly agentDays: number
}

export interface AgentDay {
  readonly agent_id: string
  /** Midnight, milliseconds. */
  readonly day: number
}
export type NaiveRule = 'flag by size' | 'z-score on the mean'

/** Scenarios by seed: the same fleet, whichever detectors are judged. */
export function placeScenarios(
  seed: number,
  scenarios: readonly Scenario[],
  agents?: number,
): { fleet: Fleet; placed: Placed[] } {
  const wanted = scenarios.flatMap((scenario) => Array.from({ length: scenario.times ?? 1 }, () => scenario))
  const fleet = makeFleet({ seed, agents: agents ?? Math.max(40, Math.ceil(wanted.length * 1.2)) })
  const random = seededRandom(seed)
  const placed = wanted.map((scenario, index) => {
    const own = random.fork(`${scenario.detector}/${scenario.name}/${index}`)
    return { scenario, truth: scenario.apply(fleet, own) }
  })
  holiday(fleet)
  return { fleet, placed }
}

/** A public holiday: on the Friday of the judged week, no office works. */
function holiday(fleet: Fleet): void {
  const from = new Date(fleet.judgedFrom.getTime() + 4 * DAY_MS)
  const until = new Date(from.getTime() + DAY_MS)
  for (const agent of fleet.agents) {
    if (agent.season === 'office') {
      agent.changes.push({ from, until, alter: (behaviour) => ({ ...behaviour, rate: behaviour.rate * 0.05 }) })
    }
  }
}

export interface JudgeOptions {
  readonly seed: number
  readonly scenarios: readonly Scenario[]
  readonly detectors: readonly Detector[]
  readonly say: (line: string) => void
}

/** Stores a fleet and runs the detectors over its last week, as one window. */
export async function judgeFleet({ seed, scenarios, detectors, say }: JudgeOptions): Promise<JudgedFleet> {
  const { fleet, placed } = placeScenarios(seed, scenarios)
  const directory = await mkdtemp(join(tmpdir(), 'agent-audit-fleet-'))
  try {
    await using trail = await openDataDir(directory)
    const events = await storeFleet(trail.admin, fleet.events())
    say(`fleet of seed ${seed}: ${fleet.agents.length} agents, ${events} events, ${placed.length} scenarios`)
    await using analytics = connectAnalytics(trail.reader)
    const agents = fleet.agents.map(({ agent_id }) => agent_id)
    const window = { agents, since: fleet.judgedFrom, until: fleet.until }
    const findings = new Map<string, Finding[]>()
    const read = readerOf(analytics, window)
    for (const detector of detectors) {
      const started = performance.now()
      const found = await runDetector(read, { detector, window, placed })
      findings.set(detector.name, found)
      say(`  ${detector.name}: ${found.length} findings in ${Math.round(performance.now() - started)} ms`)
    }
    const naive = await naiveFindings(analytics, fleet, placed.length)
    return { seed, events, placed, findings, naive, agentDays: fleet.agents.length * 7 }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

interface Run {
  readonly detector: Detector
  readonly window: QueryWindow
  readonly placed: readonly Placed[]
}

/** What detectors read of a window. Detectors that share their SQL share its rows: it runs once. */
export interface Reader {
  rows(detector: Detector & { unit: 'query' }): Promise<readonly unknown[]>
  sessions(detector: Detector & { unit: 'session' }): Promise<readonly Session[]>
}

export function readerOf(analytics: Analytics, window: QueryWindow): Reader {
  let last: { readonly sql: string; readonly rows: readonly unknown[] } | undefined
  return {
    async rows({ sql, schema }) {
      if (last?.sql === sql) return last.rows
      const rows: unknown[] = []
      for await (const row of analytics.query(sql, { schema, params: { ...window } })) rows.push(row)
      last = { sql, rows }
      return rows
    },
    sessions: (detector) => readSessions(analytics, window, candidatesOf(detector)),
  }
}

/** As the engine runs it; with the thresholds of agents that have their own. */
export async function runDetector(read: Reader, { detector, window, placed }: Run): Promise<Finding[]> {
  if (detector.unit === 'session') {
    const sessions = await read.sessions(detector)
    return sessions.flatMap((session) => detector.find(session, detector.thresholds))
  }
  const rows = await read.rows(detector)
  const own = placed.filter(
    ({ scenario, truth }) => scenario.detector === detector.name && truth.thresholds !== undefined,
  )
  const findings = detector.find(rows as never[], detector.thresholds, window)
  for (const { truth } of own) {
    const ofAgent = rows.filter((row) => (row as { agent_id: string }).agent_id === truth.agent_id)
    findings.push(...detector.find(ofAgent as never[], { ...detector.thresholds, ...truth.thresholds }, window))
  }
  return findings
}

const NAIVE_SQL = `
SELECT agent_id, toUnixTimestamp(toStartOfHour(timestamp)) * 1000 AS hour, count() AS events
FROM {database:Identifier}.audit_events GROUP BY agent_id, hour`

/** What one would do without a baseline: the busiest hours, and hours beyond 3 standard deviations of the agent's mean. */
async function naiveFindings(analytics: Analytics, fleet: Fleet, wanted: number): Promise<Map<NaiveRule, AgentDay[]>> {
  const rows = await analytics.rows<{ agent_id: string; hour: number; events: number }>(NAIVE_SQL)
  const judged = rows.filter(({ hour }) => hour >= fleet.judgedFrom.getTime())
  const byAgent = Map.groupBy(
    rows.filter(({ hour }) => hour < fleet.judgedFrom.getTime()),
    ({ agent_id }) => agent_id,
  )
  const far = judged.filter(({ agent_id, events }) => {
    const counts = (byAgent.get(agent_id) ?? []).map((row) => row.events)
    const average = counts.reduce((sum, value) => sum + value, 0) / Math.max(1, counts.length)
    const deviation = Math.sqrt(
      counts.reduce((sum, value) => sum + (value - average) ** 2, 0) / Math.max(1, counts.length),
    )
    return events > average + 3 * deviation
  })
  const largest = judged.toSorted((a, b) => b.events - a.events).map(toDay)
  return new Map([
    ['flag by size', days(largest).slice(0, wanted)],
    ['z-score on the mean', days(far.map(toDay))],
  ])
}

function toDay({ agent_id, hour }: { agent_id: string; hour: number }): string {
  return `${agent_id}/${hour - (hour % DAY_MS)}`
}

function days(keys: readonly string[]): AgentDay[] {
  return [...new Set(keys)].map((key) => ({ agent_id: key.split('/')[0] ?? '', day: Number(key.split('/')[1]) }))
}
