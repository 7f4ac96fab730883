/** Turns series of an agent into findings about hours that stand out: what the detectors of rates share. */
import type { Finding, QueryWindow, Severity, Signal } from '../../detector.ts'
import { incidentsOf } from './incidents.ts'
import { type AgentRow, type Hours, hoursOf, isoHour } from './rows.ts'
import { baselineOf, type Baseline, type Excess } from './season.ts'
import { scoreOf, short } from './statistics.ts'

export interface StandsOut extends Excess {
  /** The verdict is about the sum of so many hours. */
  readonly width: number
}

/** Numbers of hours that are judged together: short bursts, and what is only visible in more than an hour. */
export const WIDTHS = [1, 3, 6] as const

export interface Measure<Row extends AgentRow> {
  /** Such as `tokens_per_hour`: the signal. */
  readonly signal: string
  /** What stands out, for the sentence: `tokens`. */
  readonly noun: string
  /** Where the agent's history begins, as a position in its series. */
  born(row: Row, hours: Hours): number
  minDays: number
  /** Judges the hours of one day, for one width. Positions are from the origin. */
  judge(row: Row, of: { hours: Hours; baseline: Baseline; width: number }): (at: number) => StandsOut | undefined
  /** Further signals of the hour. */
  signals?(row: Row, hours: Hours, at: number): Signal[]
  evidence(row: Row, hour: number): readonly string[]
}

/** One finding for each incident of each agent. */
export function findExcesses<Row extends AgentRow>(
  rows: readonly Row[],
  window: QueryWindow,
  measure: Measure<Row>,
): Finding[] {
  const hours = hoursOf(window)
  return rows.flatMap((row) => {
    const judges = new Map<string, ((at: number) => StandsOut | undefined) | undefined>()
    const born = measure.born(row, hours)
    const standsOut = (hour: number): StandsOut | undefined => {
      const at = hour - hours.origin
      const found = WIDTHS.flatMap((width) => {
        const key = `${at - (at % 24)}/${width}`
        if (!judges.has(key)) {
          const baseline = baselineOf(at, born, measure.minDays)
          judges.set(key, baseline && measure.judge(row, { hours, baseline, width }))
        }
        return judges.get(key)?.(at) ?? []
      })
      return found.toSorted((a, b) => b.z / b.limit - a.z / a.limit)[0]
    }
    return incidentsOf(hours, standsOut).map((incident) => {
      const worst = incident.hours.toSorted((a, b) => b.what.z / b.what.limit - a.what.z / a.what.limit)[0]
      if (worst === undefined) throw new Error('an incident has hours')
      return describe(row, { measure, hours, start: incident.start, worst })
    })
  })
}

interface Described<Row extends AgentRow> {
  readonly measure: Measure<Row>
  readonly hours: Hours
  readonly start: number
  readonly worst: { readonly at: number; readonly what: StandsOut }
}

function describe<Row extends AgentRow>(row: Row, { measure, hours, start, worst }: Described<Row>): Finding {
  const { value, expected, z, limit, width } = worst.what
  const span = width === 1 ? 'the hour' : `the ${width} hours`
  const until = isoHour(worst.at + 1)
  return {
    cause: `${row.agent_id}/${isoHour(start)}/${measure.noun}`,
    severity: severityOf(z / limit),
    summary: `${row.agent_id}: ${short(value)} ${measure.noun} in ${span} before ${until}, at most ${short(expected)} are usual then`,
    score: scoreOf(z, limit / 2),
    agent_id: row.agent_id,
    session_id: null,
    signals: [
      { name: measure.signal, value: short(value), expected: short(expected) },
      { name: 'hours', value: width },
      { name: 'standard_deviations', value: short(z), expected: short(limit) },
      { name: 'began', value: isoHour(start) },
      ...(measure.signals?.(row, hours, worst.at - hours.origin) ?? []),
    ],
    evidence: Array.from({ length: width }, (_, back) => measure.evidence(row, worst.at - back))
      .flat()
      .slice(0, 20),
  }
}

function severityOf(times: number): Severity {
  if (times >= 4) return 'high'
  return times >= 2 ? 'medium' : 'low'
}
