/** Made agents with weeks of history in a real store, and what the query detectors of conduct find on the judged day. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Analytics, connectAnalytics } from '@agent-audit/analytics'
import { DETECTORS, type QueryDetector } from '@agent-audit/detect'
import { openDataDir } from '@agent-audit/embedded'
import { createRandom } from '../../bench/support/sessions.ts'
import { AgentDraft, JUDGED_DAY, type StoredScenario } from '../fleet/scenarios/agent-draft.ts'
import { STORED_SCENARIOS } from '../fleet/scenarios/conduct-stored.ts'
import type { Draw } from '../fleet/scenarios/session-draft.ts'
import { storeFleet } from '../fleet/store-fleet.ts'
import type { Case } from './score.ts'

/** Agents of each scenario. */
export const AGENTS = 20
const DAY_MS = 24 * 60 * 60 * 1000

interface MadeAgent {
  readonly scenario: StoredScenario
  readonly draft: AgentDraft
}

export function makeAgents(seed: number): MadeAgent[] {
  const random = createRandom(seed)
  const draw: Draw = (low, high) => low + Math.floor(random() * (high - low + 1))
  return STORED_SCENARIOS.flatMap((scenario, number) =>
    Array.from({ length: AGENTS }, (_, index) => {
      const draft = new AgentDraft(number * AGENTS + index, draw)
      scenario.write(draft, draw)
      return { scenario, draft }
    }),
  )
}

/** Stores the agents and judges the day: as one window, as the engine does. */
export async function judgeAgents(made: readonly MadeAgent[]): Promise<Case[]> {
  const directory = await mkdtemp(join(tmpdir(), 'agent-audit-conduct-'))
  try {
    await using trail = await openDataDir(directory)
    await storeFleet(
      trail.admin,
      made.map(({ draft }) => draft.events),
    )
    await using analytics = connectAnalytics(trail.reader)
    const found = await findIn(
      analytics,
      made.map(({ draft }) => draft.id),
    )
    return made.map(({ scenario, draft }) => ({
      scenario,
      events: draft.events.length,
      found: new Set([...found].filter(([, agents]) => agents.has(draft.id)).map(([name]) => name)),
    }))
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** Agents with a finding that is no hint, by detector. */
async function findIn(analytics: Analytics, agents: readonly string[]): Promise<Map<string, Set<string>>> {
  const window = { agents, since: JUDGED_DAY, until: new Date(JUDGED_DAY.getTime() + DAY_MS) }
  const names = new Set(STORED_SCENARIOS.map(({ detector }) => detector))
  const found = new Map<string, Set<string>>()
  for (const detector of DETECTORS) {
    if (!names.has(detector.name) || detector.unit !== 'query') continue
    const { sql, schema, thresholds } = detector as QueryDetector<unknown>
    const rows: never[] = []
    for await (const row of analytics.query(sql, { schema, params: { ...window } })) rows.push(row as never)
    const findings = detector.find(rows, thresholds, window).filter(({ severity }) => severity !== 'info')
    found.set(detector.name, new Set(findings.map(({ agent_id }) => agent_id)))
  }
  return found
}
