/** Session detectors in the judge of the made fleets: they get whole sessions from a real store. */
import type { SessionDetector } from '@agent-audit/detect'
import { describe, expect, it } from 'vitest'
import { makeFleet } from '../../../judge/fleet/fleet.ts'
import { readerOf, runDetector } from '../../../judge/fleet/judge-fleet.ts'
import { DAY_MS } from '../../../judge/fleet/model.ts'
import { storeFleet } from '../../../judge/fleet/store-fleet.ts'
import { NO_CLICKHOUSE, startTestServer } from '../../analytics/support.ts'

const SEED = 21

/** Tells of each session of three calls or more which events it got, in order. */
const detector: SessionDetector = {
  unit: 'session',
  name: 'test.three_calls',
  version: 1,
  finds: '',
  method: '',
  source: '',
  thresholds: {},
  candidates: `countIf(event_type = 'tool_call') >= 3`,
  find: ({ agent_id, session_id, events }) => {
    const evidence = events.map(({ event_id }) => event_id)
    return [{ cause: session_id, severity: 'low', summary: '', score: 1, agent_id, session_id, signals: [], evidence }]
  },
}

describe.skipIf(NO_CLICKHOUSE !== undefined)(`a fleet of seed ${SEED}`, () => {
  it('gives a session detector each candidate that acted in the window, whole and in order', async () => {
    const trail = await (await startTestServer()).newTrail()
    const fleet = makeFleet({ seed: SEED, agents: 3, weeks: 1 })
    await storeFleet(trail.server, fleet.events())
    const [agent] = fleet.agents
    const since = new Date(fleet.until.getTime() - 2 * DAY_MS)
    const window = { agents: [agent?.agent_id ?? ''], since, until: fleet.until }
    const found = await runDetector(readerOf(trail, window), { detector, window, placed: [] })

    const events = [...fleet.events()].flat().filter(({ agent_id }) => agent_id === agent?.agent_id)
    const expected = [...Map.groupBy(events, ({ session_id }) => session_id)].filter(
      ([, own]) =>
        own.filter(({ event_type }) => event_type === 'tool_call').length >= 3 &&
        own.some(({ timestamp }) => timestamp >= since.toISOString()),
    )
    expect(expected.length).toBeGreaterThan(3)
    expect(new Map(found.map(({ session_id, evidence }) => [session_id, evidence]))).toEqual(
      new Map(expected.map(([session_id, own]) => [session_id, own.map(({ event_id }) => event_id)])),
    )
  })
})
