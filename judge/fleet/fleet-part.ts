/** The made fleets: each anomaly in a strong and a mild form, and changes that only look like one. */
import { type Detector, DETECTORS } from '@agent-audit/detect'
import type { JudgePart, Section, Target } from '../part.ts'
import { type JudgedFleet, judgeFleet } from './judge-fleet.ts'
import { SCENARIOS } from './scenarios/scenarios.ts'
import { naiveScore, precisionOf, rate, type Score, scoreOf } from './score.ts'

/** Fleets whose figures are reported: two cases of a form in each make ten. Thresholds were tuned on other seeds: {@link TUNED_ON}. */
const FLEETS = 5
const FIRST_SEED = 1000
/** Seeds that judge/fleet/tune.ts judges. */
export const TUNED_ON: readonly number[] = [1, 2]

const WANTED = { precision: 0.95, strong: 0.9, mild: 0.7 }

export const fleetPart: JudgePart = {
  name: 'fleet',
  async run({ seed }) {
    const seeds = Array.from({ length: FLEETS }, (_, index) => FIRST_SEED + seed * FLEETS + index)
    return judgeSeeds(seeds, (line) => process.stdout.write(`${line}\n`))
  },
}

export async function judgeSeeds(seeds: readonly number[], say: (line: string) => void): Promise<Section> {
  const judged = new Set(SCENARIOS.map(({ detector }) => detector))
  const detectors = DETECTORS.filter(({ name }) => judged.has(name))
  const fleets: JudgedFleet[] = []
  for (const seed of seeds) fleets.push(await judgeFleet({ seed, scenarios: SCENARIOS, detectors, say }))
  return sectionOf(fleets, detectors)
}

function sectionOf(fleets: readonly JudgedFleet[], detectors: readonly Detector[]): Section {
  const scores = detectors.map(({ name }) => ({ name, score: scoreOf(fleets, name) }))
  const [first] = fleets
  const events = fleets.reduce((sum, fleet) => sum + fleet.events, 0)
  return {
    title: 'Made fleets',
    text: [
      `${fleets.length} fleets of seeds ${fleets.map(({ seed }) => seed).join(', ')}, ${events} events in all: agents with seasons of day and week by local time (daylight saving time ends on the day before the judged week), growth, noise above Poisson's, and a public holiday in the judged week. Each fleet has ${first?.placed.length ?? 0} scenarios, each at an agent of its own; the other agents are as they always were. Everything is stored in the real table and read by the detectors' own SQL.`,
      `Thresholds were tuned on the fleets of seeds ${TUNED_ON.join(' and ')}; those of sessions, events, errors and silence also on made counts of such agents without any store (how many false findings a limit gives, and how many of the mild forms it finds). None of them is reported here. A finding is wrong if it is about no anomaly of its detector; hints (severity info) count neither way.`,
    ],
    tables: [
      {
        title: 'Findings',
        columns: ['detector', 'precision', 'strong', 'mild', 'look-alikes accused', 'wrong findings'],
        rows: scores.map(({ name, score }) => [
          name,
          precisionOf(score).toFixed(2),
          score.strong.join(' of '),
          score.mild.join(' of '),
          score.benign.join(' of '),
          score.wrong,
        ]),
      },
      {
        title: 'Naive rules: precision / recall by agent and day',
        columns: ['detector', 'flag all', 'flag by size', 'z-score on the mean'],
        rows: scores.map(({ name }) => [
          name,
          ...(['flag all', 'flag by size', 'z-score on the mean'] as const).map((rule) => {
            const { precision, recall } = naiveScore(fleets, name, rule)
            return `${precision.toFixed(3)} / ${recall.toFixed(2)}`
          }),
        ]),
      },
    ],
    targets: scores.flatMap(({ name, score }) => targetsOf(name, score)),
    misses: scores.flatMap(({ name, score }) => score.misses.map((miss) => `${name}: ${miss}`)),
  }
}

function targetsOf(name: string, score: Score): Target[] {
  const target = (what: string, wanted: number, got: number): Target => ({
    name: `${name}: ${what}`,
    wanted: `at least ${wanted}`,
    got: Math.round(got * 1000) / 1000,
    met: got >= wanted,
  })
  return [
    target('precision', WANTED.precision, precisionOf(score)),
    target('recall, strong', WANTED.strong, rate(score.strong)),
    target('recall, mild', WANTED.mild, rate(score.mild)),
  ]
}
