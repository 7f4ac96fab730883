/** The catalogue as the section of docs/queries.md. */
import { CATALOGUE } from './catalogue.ts'
import type { AnyQuery } from './params.ts'
import { describeCost } from './query.ts'

/** Markdown without tables: a formatter changes nothing in it. */
export function describeCatalogue(): string {
  return (Object.values(CATALOGUE) as readonly AnyQuery[]).map(describe).join('\n\n')
}

function describe(query: AnyQuery): string {
  const { cost, maxDays } = query
  const range = maxDays === undefined ? 'No range.' : `Range: at most ${maxDays} days.`
  const note = cost.note === undefined ? '' : ` ${cost.note}`
  const params = Object.entries(query.params).map(([name, { kind, about, required, choices, fallback }]) => {
    const words = choices === undefined ? '' : `: ${choices.join(', ')}`
    const extra = required === true ? ', needed' : fallback === undefined ? '' : `, default ${fallback}`
    return `- \`${name}\` (${kind}${words}${extra}): ${about}`
  })
  const columns = Object.entries(query.columns).map(
    ([name, { kind, about, nullable }]) => `- \`${name}\` (${kind}${nullable === true ? ' or null' : ''}): ${about}`,
  )
  return [
    `### ${query.name}`,
    query.answers,
    `Reads: ${query.reads}`,
    `Costs: ${describeCost(cost)}. ${range}${note}`,
    `Parameters:`,
    params.join('\n'),
    `Columns, in order of ${query.order.map((name) => `\`${name}\``).join(', ')}:`,
    columns.join('\n'),
  ].join('\n\n')
}
