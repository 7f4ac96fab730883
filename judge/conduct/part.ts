/** Judges the detectors of sessions about conduct on made sessions, in memory, beside rules that look at nothing. */
import { DETECTORS, type SessionDetector, type Session } from '@agent-audit/detect'
import { createRandom } from '../../bench/support/sessions.ts'
import { APPROVAL_SCENARIOS } from '../fleet/scenarios/conduct-approvals.ts'
import { LOOP_SCENARIOS } from '../fleet/scenarios/conduct-loops.ts'
import { type Draw, SessionDraft, type SessionScenario } from '../fleet/scenarios/session-draft.ts'
import type { JudgePart, Section } from '../part.ts'

/** Sessions of each scenario. */
const DRAWS = 25
const SCENARIOS: readonly SessionScenario[] = [...LOOP_SCENARIOS, ...APPROVAL_SCENARIOS]

export interface Made {
  readonly scenario: SessionScenario
  readonly session: Session
}

export const conductPart: JudgePart = {
  name: 'conduct',
  run: ({ seed }) => Promise.resolve(report(makeSessions(seed), seed)),
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

function group(name: string): string {
  return name.slice(0, name.indexOf('.'))
}

/** Whether a session has the anomaly that the detector is for; undefined: one of its group, which counts neither way. */
function isWanted({ scenario }: Made, detector: string): boolean | undefined {
  if (scenario.kind === 'benign') return false
  if (scenario.detector === detector) return true
  return group(scenario.detector) === group(detector) ? undefined : false
}

interface Score {
  readonly precision: number
  readonly strong: number
  readonly mild: number
}

function scoreOf(made: readonly Made[], detector: string, flagged: ReadonlySet<Made>): Score {
  const right = made.filter((each) => flagged.has(each) && isWanted(each, detector) === true)
  const wrong = made.filter((each) => flagged.has(each) && isWanted(each, detector) === false)
  const recall = (kind: string): number => {
    const all = made.filter((each) => isWanted(each, detector) === true && each.scenario.kind === kind)
    return all.filter((each) => flagged.has(each)).length / all.length
  }
  const precision = right.length / (right.length + wrong.length)
  return { precision, strong: recall('strong'), mild: recall('mild') }
}

/** The largest sessions, as many as have the anomaly. */
function largest(made: readonly Made[], detector: string): Set<Made> {
  const count = made.filter((each) => isWanted(each, detector) === true).length
  return new Set(made.toSorted((a, b) => b.session.events.length - a.session.events.length).slice(0, count))
}

function report(made: readonly Made[], seed: number): Section {
  const names = [...new Set(SCENARIOS.map(({ detector }) => detector))]
  const judged = names.map((name) => {
    const flagged = new Set(made.filter(({ session }) => finds(name, session)))
    return { name, flagged, score: scoreOf(made, name, flagged) }
  })
  const rows = judged.map(({ name, score }) => [
    name,
    ...[score.precision, score.strong, score.mild].map(round),
    round(scoreOf(made, name, new Set(made)).precision),
    ...Object.values(scoreOf(made, name, largest(made, name))).map(round),
  ])
  return {
    title: 'Conduct within a session',
    text: [
      `${made.length} made sessions, ${DRAWS} of each of ${SCENARIOS.length} scenarios with drawn parameters (seed ${seed}), each within ordinary calls.`,
      'Scenarios and detectors are of one hand, so the figures say what the detectors do at their limits, not how often real agents do so. No limit was tuned on these sessions.',
      'A finding counts as wrong on every session without an anomaly and on those with an anomaly of another group; on an anomaly of the same group (such as another loop) it counts neither way. Precision follows from the mix of the scenarios. "Flag all" has recall 1; "by size" flags as many of the longest sessions as have the anomaly, and finds next to nothing here, since the longest sessions of this mix are look-alikes.',
    ],
    tables: [
      {
        title: 'By detector',
        columns: [
          'detector',
          'precision',
          'recall strong',
          'recall mild',
          'flag all: precision',
          'by size: precision',
          'by size: strong',
          'by size: mild',
        ],
        rows,
      },
    ],
    targets: [],
    misses: judged.flatMap(({ name, flagged }) => mistakesOf(made, name, flagged)),
  }
}

function finds(name: string, session: Session): boolean {
  const detector = DETECTORS.find((each): each is SessionDetector => each.unit === 'session' && each.name === name)
  if (detector === undefined) throw new Error(`no detector of sessions is called ${name}`)
  return detector.find(session, detector.thresholds).length > 0
}

/** One line for each scenario that is missed or accused, with how often. */
function mistakesOf(made: readonly Made[], detector: string, flagged: ReadonlySet<Made>): string[] {
  return [...Map.groupBy(made, ({ scenario }) => scenario)].flatMap(([{ kind, name }, sessions]) => {
    const [first] = sessions as [Made]
    const wanted = isWanted(first, detector)
    const wrong = wanted === undefined ? 0 : sessions.filter((each) => flagged.has(each) !== wanted).length
    const what = wanted === true ? `misses (${kind})` : 'accuses'
    return wrong === 0 ? [] : [`${detector} ${what} ${wrong} of ${sessions.length}: ${name}`]
  })
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000
}
