/** The section of docs/performance.md about integrity. */
import { type Figure, found, type IntegrityPart, judge } from '../integrity/figures.ts'
import type { Bound } from './bounds.ts'
import { boundsTable, table } from './markdown.ts'

export function describeIntegrity({ figures, notes }: IntegrityPart): string {
  const beside = figures.filter(({ bound }) => bound === undefined)
  return `## Integrity

\`npm run bench:integrity\` measures what seals and proofs cost, on a real Kafka and a real ClickHouse. A difference is that of
two measurements in turns. Each figure is the median of its rounds, with the range in brackets.

${boundsTable(figures.flatMap(boundOf))}

Beside them:

${table(
  ['figure', 'measured'],
  beside.map((figure) => [titleOf(figure), found(figure)]),
)}

${notes.map((note) => `- ${note}`).join('\n')}`
}

function boundOf(figure: Figure): Bound[] {
  const { wanted, met } = judge(figure)
  return met === undefined ? [] : [{ what: titleOf(figure), wanted, measured: found(figure), met }]
}

function titleOf({ name, unit }: Figure): string {
  return `${name}, ${unit}`
}
