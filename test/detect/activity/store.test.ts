/** The detectors of activity on a real store: a made fleet with one strong anomaly for each of them. */
import { type Detector, DETECTORS, type Finding, type QueryWindow } from '@agent-audit/detect'
import { beforeAll, describe, expect, it } from 'vitest'
import { placeScenarios, readerOf, runDetector } from '../../../judge/fleet/judge-fleet.ts'
import { DAY_MS } from '../../../judge/fleet/model.ts'
import { DRIFT_SCENARIOS } from '../../../judge/fleet/scenarios/drifts.ts'
import { RATE_SCENARIOS } from '../../../judge/fleet/scenarios/rates.ts'
import { storeFleet } from '../../../judge/fleet/store-fleet.ts'
import { NO_CLICKHOUSE, startTestServer, type TestServer } from '../../analytics/support.ts'

const SEED = 11
/** An agent of this seed has eight hours without a session, of which two an hour were expected: chance made a silence. */
const BY_CHANCE: Readonly<Record<string, string>> = { 'silence.agent': 'research-006' }
const detectors = DETECTORS.filter(({ name }) => /^(rate|budget|drift|silence)\./.test(name))
/** The first strong scenario of each detector. */
const scenarios = detectors.flatMap(({ name }) => {
  const strong = [...RATE_SCENARIOS, ...DRIFT_SCENARIOS].find(
    (each) => each.detector === name && each.kind === 'strong',
  )
  return strong === undefined ? [] : [{ ...strong, times: 1 }]
})

describe.skipIf(NO_CLICKHOUSE !== undefined)(`a fleet of seed ${SEED}`, () => {
  let trail: Awaited<ReturnType<TestServer['newTrail']>>
  const { fleet, placed } = placeScenarios(SEED, scenarios, 34)
  const agents = fleet.agents.map(({ agent_id }) => agent_id)
  const week = { agents, since: fleet.judgedFrom, until: fleet.until }
  const run = (detector: Detector, window: QueryWindow): Promise<Finding[]> =>
    runDetector(readerOf(trail, window), { detector, window, placed })

  beforeAll(async () => {
    const server = await startTestServer()
    trail = await server.newTrail()
    await storeFleet(trail.server, fleet.events())
  })

  it.each(detectors)('$name finds its anomaly and accuses no other agent', async (detector) => {
    const own = placed.find(({ scenario }) => scenario.detector === detector.name)
    const others = placed.filter(({ scenario }) => scenario.also?.includes(detector.name))
    const excused = new Set([...others.map(({ truth }) => truth.agent_id), BY_CHANCE[detector.name]])
    const accused = new Set((await run(detector, week)).map(({ agent_id }) => agent_id))
    expect([...accused].filter((agent) => !excused.has(agent))).toEqual([own?.truth.agent_id])
  })

  it.each(detectors)('$name names the same causes a day at a time as in one week', async (detector) => {
    const whole = await run(detector, week)
    const daily: Finding[] = []
    for (let since = week.since.getTime(); since < week.until.getTime(); since += DAY_MS) {
      daily.push(...(await run(detector, { agents, since: new Date(since), until: new Date(since + DAY_MS) })))
    }
    expect(causes(daily)).toEqual(causes(whole))
  })

  it.each(detectors)('$name shows events of the agent as evidence', async (detector) => {
    const findings = await run(detector, week)
    const shown = findings.flatMap(({ agent_id, evidence }) => evidence.map((id) => ({ agent_id, id })))
    const ids = [...new Set(shown.map(({ id }) => id))]
    const rows = await trail.rows<{ id: string; agent_id: string }>(
      'SELECT toString(event_id) AS id, agent_id FROM {database:Identifier}.audit_events WHERE event_id IN {ids:Array(UUID)}',
      { ids },
    )
    const agentOf = new Map(rows.map(({ id, agent_id }) => [id, agent_id]))
    expect(shown.filter(({ agent_id, id }) => agentOf.get(id) !== agent_id)).toEqual([])
    expect(shown).not.toEqual([])
  })
})

function causes(findings: readonly Finding[]): string[] {
  return [...new Set(findings.map(({ cause }) => cause))].toSorted()
}
