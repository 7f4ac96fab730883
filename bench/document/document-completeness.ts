/** The section of docs/performance.md about the check of completeness. */
import { completenessBounds } from './bounds.ts'
import { boundsTable, count, spread, table } from './markdown.ts'
import type { CompletenessPart } from '../support/results.ts'

export function describeCompleteness(part: CompletenessPart): string {
  const lines = [...Map.groupBy(part.rounds, ({ state }) => state)].map(([state, rounds]) => [
    state,
    count(rounds[0]?.rows ?? 0),
    spread(rounds.map(({ seconds }) => seconds)),
  ])
  return `## The check of completeness

${table(['rows', 'how many', 'seconds'], lines)}

${boundsTable(completenessBounds(part))}

\`agent-audit verify --completeness\` over ${part.runs} runs, each in all of ${part.partitions} partitions of a log. faulty: some
rows are missing and some are stored twice, so that the check has to name them. ClickHouse itself makes the rows.`
}
