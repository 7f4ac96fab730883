/** The section of docs/performance.md about the consumer's queries on large partitions. */
import { scaleBounds } from './bounds.ts'
import { boundsTable, count, table } from './markdown.ts'
import type { ScalePart, ScaleRound } from '../support/results.ts'

export function describeScale(part: ScalePart): string {
  const sizes = [...new Set(part.rounds.map(({ rows }) => rows))]
  const lines = [...Map.groupBy(part.rounds, ({ question }) => question)].map(([question, rounds]) => [
    question,
    ...sizes.map((size) => figures(rounds.find(({ rows }) => rows === size))),
  ])
  return `## The consumer's queries on large partitions

${table(['milliseconds', ...sizes.map((size) => `${count(size)} rows`)], lines)}

${boundsTable(scaleBounds(part))}

\`npm run bench -- --only scale\`: what the consumer asks ClickHouse when it takes a partition over, and about records that a
producer may have sent again. Each size is a log of ${part.partitions} partitions; all are in the same tables, which ClickHouse itself has
filled: ${count(part.parts)} parts, a thousandth of the offsets skipped rows, ten runs at a time, one of which never ends. Each figure is the
median, with the highest in brackets; then the first time that the question was asked, and the CPU of the server a time, the
mean, which other work on the machine changes least. Each answer is checked.`
}

function figures(round: ScaleRound | undefined): string {
  if (round === undefined) return '-'
  return `${count(round.medianMs)} (${count(round.maxMs)}); first ${count(round.firstMs)}; CPU ${count(round.cpuMs)}`
}
