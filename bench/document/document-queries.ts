/** The section of docs/performance.md about the queries of people and jobs. */
import { queriesBounds } from './bounds.ts'
import { PLOT_NAME } from './growth-plot.ts'
import { boundsTable, count, table } from './markdown.ts'
import type { QueriesPart, QueryFigures } from '../queries/query-figures.ts'

export function describeQueries(part: QueriesPart): string {
  const sizes = [...new Set(part.figures.map(({ rows }) => rows))]
  const lines = [...Map.groupBy(part.figures, ({ question }) => question)].map(([question, figures]) => [
    question,
    ...sizes.map((size) => times(figures.find(({ rows }) => rows === size))),
    count(figures.at(-1)?.answerRows ?? Number.NaN),
  ])
  const bytes = part.stored.map(({ rows, parts, bytesAnEvent, indexes, projections }) => [
    count(rows),
    count(parts),
    count(bytesAnEvent),
    count(indexes),
    ...PROJECTIONS.map((name) => count(projections[name] ?? 0)),
  ])
  const { blockRows, rounds, with: after, without: before } = part.inserts
  return `## The queries of people and jobs

${table(['milliseconds', ...sizes.map((size) => `${count(size)} events`), 'rows of the answer'], lines)}

![p50 and p95 of each question by the number of events](${PLOT_NAME})

${boundsTable(queriesBounds(part))}

${table(['events', 'parts', 'bytes an event', 'of these indexes', ...PROJECTIONS.map((name) => `projection ${name}`)], bytes)}

\`npm run bench -- --only queries\`: what [ADR 0047](adr/0047-what-questions-are-answered-from.md) is measured by. Each size is a
trail of its own of a fleet of ${part.agents} agents, with a million events a day: the size is also the number of days. ClickHouse itself has
made the rows, and has merged them before they are asked for. Each figure is the p95, with the median in brackets, of ${part.runs} runs
after ten others, each about another event; the files have been read once before, so that they are in the page cache; then the CPU of the server a run, the mean, which other work on the machine changes
least. Times are those of the caller, with all queries that a question takes.

To insert an event costs the server ${before.insertUs} us of CPU without the projections and the index of that decision, and ${after.insertUs} us with
them; to merge it once ${before.mergeUs} and ${after.mergeUs} us: the medians of ${rounds} rounds that took turns, in blocks of ${count(blockRows)} rows that the server has
in memory, so without what it takes to parse them.`
}

const PROJECTIONS = ['sessions', 'hours', 'days', 'accounted']

function times(figures: QueryFigures | undefined): string {
  if (figures === undefined) return '-'
  return `${count(figures.p95Ms)} (${count(figures.p50Ms)}); CPU ${count(figures.cpuMs)}`
}
