/** Counts what detectors find in made cases: sessions, or agents. */
import type { ReportTable, Target } from '../part.ts'

/** What was made from a scenario, and which detectors found something in it. */
export interface Case {
  readonly scenario: { readonly detector: string; readonly kind: 'strong' | 'mild' | 'benign'; readonly name: string }
  readonly events: number
  readonly found: ReadonlySet<string>
}

const WANTED = { precision: 0.95, strong: 0.9, mild: 0.7 }

function group(name: string): string {
  return name.slice(0, name.indexOf('.'))
}

/** Whether a case has the anomaly that the detector is for; undefined: one of its group, which counts neither way. */
function isWanted({ scenario }: Case, detector: string): boolean | undefined {
  if (scenario.kind === 'benign') return false
  if (scenario.detector === detector) return true
  return group(scenario.detector) === group(detector) ? undefined : false
}

interface Score {
  readonly precision: number
  readonly strong: number
  readonly mild: number
}

function scoreOf(cases: readonly Case[], detector: string, flagged: ReadonlySet<Case>): Score {
  const right = cases.filter((each) => flagged.has(each) && isWanted(each, detector) === true)
  const wrong = cases.filter((each) => flagged.has(each) && isWanted(each, detector) === false)
  const recall = (kind: string): number => {
    const all = cases.filter((each) => isWanted(each, detector) === true && each.scenario.kind === kind)
    return all.filter((each) => flagged.has(each)).length / all.length
  }
  const precision = right.length / Math.max(1, right.length + wrong.length)
  return { precision, strong: recall('strong'), mild: recall('mild') }
}

function flaggedBy(cases: readonly Case[], detector: string): Set<Case> {
  return new Set(cases.filter(({ found }) => found.has(detector)))
}

/** The largest ones, as many as have the anomaly. */
function largest(cases: readonly Case[], detector: string): Set<Case> {
  const count = cases.filter((each) => isWanted(each, detector) === true).length
  return new Set(cases.toSorted((a, b) => b.events - a.events).slice(0, count))
}

function detectorsOf(cases: readonly Case[]): string[] {
  return [...new Set(cases.map(({ scenario }) => scenario.detector))]
}

export function tableOf(title: string, cases: readonly Case[]): ReportTable {
  return {
    title,
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
    rows: detectorsOf(cases).map((name) => {
      const { precision, strong, mild } = scoreOf(cases, name, flaggedBy(cases, name))
      const all = scoreOf(cases, name, new Set(cases))
      const size = scoreOf(cases, name, largest(cases, name))
      const figures = [precision, strong, mild, all.precision, size.precision, size.strong, size.mild]
      return [name, ...figures.map(round)]
    }),
  }
}

export function targetsOf(cases: readonly Case[]): Target[] {
  return detectorsOf(cases).flatMap((name) => {
    const score = scoreOf(cases, name, flaggedBy(cases, name))
    const target = (what: string, wanted: number, got: number): Target => ({
      name: `${name}: ${what}`,
      wanted: `at least ${wanted}`,
      got: round(got),
      met: got >= wanted,
    })
    return [
      target('precision', WANTED.precision, score.precision),
      target('recall, strong', WANTED.strong, score.strong),
      target('recall, mild', WANTED.mild, score.mild),
    ]
  })
}

/** One line for each scenario that is missed or accused, with how often. */
export function mistakesOf(cases: readonly Case[]): string[] {
  const byScenario = [...Map.groupBy(cases, ({ scenario }) => scenario)]
  return detectorsOf(cases).flatMap((detector) =>
    byScenario.flatMap(([{ kind, name }, own]) => {
      const [first] = own as [Case]
      const wanted = isWanted(first, detector)
      const wrong = wanted === undefined ? 0 : own.filter(({ found }) => found.has(detector) !== wanted).length
      const what = wanted === true ? `misses (${kind})` : 'accuses'
      return wrong === 0 ? [] : [`${detector} ${what} ${wrong} of ${own.length}: ${name}`]
    }),
  )
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000
}
