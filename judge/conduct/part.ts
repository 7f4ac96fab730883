/** Judges the detectors of conduct on made sessions and made agents, beside rules that look at nothing. */
import { DETECTORS, type SessionDetector, type Session } from '@agent-audit/detect'
import { createRandom } from '../../bench/support/sessions.ts'
import { APPROVAL_SCENARIOS } from '../fleet/scenarios/conduct-approvals.ts'
import { LOOP_SCENARIOS } from '../fleet/scenarios/conduct-loops.ts'
import { STORED_SCENARIOS } from '../fleet/scenarios/conduct-stored.ts'
import { type Draw, SessionDraft, type SessionScenario } from '../fleet/scenarios/session-draft.ts'
import type { JudgePart, Section } from '../part.ts'
import { type Case, mistakesOf, tableOf, targetsOf } from './score.ts'
import { judgeRecorded } from './recorded.ts'
import { AGENTS, judgeAgents, makeAgents } from './stored.ts'

/** Sessions of each scenario. */
const DRAWS = 25
const SCENARIOS: readonly SessionScenario[] = [...LOOP_SCENARIOS, ...APPROVAL_SCENARIOS]
const NAMES: ReadonlySet<string> = new Set(SCENARIOS.map(({ detector }) => detector))
const OF_SESSIONS = DETECTORS.filter((each): each is SessionDetector => each.unit === 'session' && NAMES.has(each.name))
/** Seeds that limits and rules were tuned on: they are not reported. */
export const TUNED_ON: readonly number[] = [1, 2]

export interface Made {
  readonly scenario: SessionScenario
  readonly session: Session
}

export const conductPart: JudgePart = {
  name: 'conduct',
  async run({ seed }) {
    if (TUNED_ON.includes(seed)) return `the seeds ${TUNED_ON.join(' and ')} are those that limits were tuned on`
    const section = report(judgeSessions(makeSessions(seed)), await judgeAgents(makeAgents(seed)), seed)
    const recorded = await judgeRecorded(OF_SESSIONS)
    return {
      ...section,
      tables: [...section.tables, ...recorded.tables],
      targets: [...section.targets, ...recorded.targets],
      misses: [...section.misses, ...recorded.misses],
    }
  },
}

export function makeSessions(seed: number): Made[] {
  const random = createRandom(seed)
  const draw: Draw = (low, high) => low + Math.floor(random() * (high - low + 1))
  return SCENARIOS.flatMap((scenario, number) =>
    Array.from({ length: DRAWS }, (_, index) => {
      const draft = new SessionDraft(`made-${number}-${index}`, draw)
      draft.add('session_start')
      draft.ordinary(draw(0, 15))
      scenario.write(draft, draw)
      draft.ordinary(draw(0, 6)).add('session_end', { outcome: 'success' })
      return { scenario, session: draft.session() }
    }),
  )
}

/** A hint (severity info) counts neither way. */
export function judgeSessions(made: readonly Made[]): Case[] {
  return made.map(({ scenario, session }) => ({
    scenario,
    events: session.events.length,
    found: new Set(
      OF_SESSIONS.filter((detector) =>
        detector.find(session, detector.thresholds).some(({ severity }) => severity !== 'info'),
      ).map(({ name }) => name),
    ),
  }))
}

function report(sessions: readonly Case[], agents: readonly Case[], seed: number): Section {
  return {
    title: 'Conduct',
    text: [
      `${sessions.length} made sessions, ${DRAWS} of each of ${SCENARIOS.length} scenarios with drawn parameters, pace and ordinary calls around, judged in memory; and ${agents.length} made agents, ${AGENTS} of each of ${STORED_SCENARIOS.length} scenarios with up to three weeks of history, stored in the real table and read by the detectors' own SQL (seed ${seed}).`,
      `Limits and rules were tuned on the seeds ${TUNED_ON.join(' and ')}, which are not reported. Scenarios and detectors are of one hand, so the figures say what the detectors do at their limits, not how often real agents do so.`,
      'The recorded sessions have no approvals, and times that are made up (a second for each event): they show that the loop detectors accuse no real session, and nothing about pauses. Limits were not tuned on them.',
      'A finding counts as wrong on every case without an anomaly and on those with an anomaly of another group; on an anomaly of the same group (such as another loop) it counts neither way. Precision follows from the mix of the scenarios. "Flag all" has recall 1; "by size" flags as many of the longest sessions, or agents with the most events, as have the anomaly.',
    ],
    tables: [tableOf('Within a session', sessions), tableOf('Against the history of an agent', agents)],
    targets: [...targetsOf(sessions), ...targetsOf(agents)],
    misses: [...mistakesOf(sessions), ...mistakesOf(agents)],
  }
}
