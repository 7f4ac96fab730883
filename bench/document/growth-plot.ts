/** The growth of each question's time with the number of events, as a picture: a panel for each question that has a bound. */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { QUERY_MS } from './bounds.ts'
import { count } from './markdown.ts'
import type { QueriesPart, QueryFigures } from '../queries/query-figures.ts'

/** In docs. */
export const PLOT_NAME = 'query-growth.svg'
const FILE = fileURLToPath(new URL(`../../docs/${PLOT_NAME}`, import.meta.url))

const COLUMNS = 3
const PANEL = { width: 300, height: 210 }
/** The area of the lines in a panel. */
const AREA = { left: 46, top: 38, width: 236, height: 132 }
const HEADER = 44
/** Readable on white and for people who do not see all colours: lines also differ in their dashes and names. */
const COLOURS = { p95: '#1b5e9e', p50: '#c05a00', bound: '#777' }

export function writeGrowthPlot({ figures, runs }: QueriesPart): void {
  const sizes = [...new Set(figures.map(({ rows }) => rows))].toSorted((a, b) => a - b)
  const questions = Object.keys(QUERY_MS)
  const width = COLUMNS * PANEL.width
  const height = HEADER + Math.ceil(questions.length / COLUMNS) * PANEL.height
  const panels = questions.map((question, index) => {
    const x = (index % COLUMNS) * PANEL.width
    const y = HEADER + Math.floor(index / COLUMNS) * PANEL.height
    const own = figures.filter((figure) => figure.question === question)
    return `<g transform="translate(${x} ${y})">${panel(question, own, sizes)}</g>`
  })
  writeFileSync(
    FILE,
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="11">
<rect width="${width}" height="${height}" fill="#fff"/>
<text x="12" y="20" font-size="14" font-weight="bold">Milliseconds of a question by the number of events in the trail (${runs} warm runs)</text>
${legend()}
${panels.join('\n')}
</svg>
`,
  )
}

function legend(): string {
  const entries = [
    ['p95', COLOURS.p95, ''],
    ['median', COLOURS.p50, '5 3'],
    ['wanted at most', COLOURS.bound, '2 3'],
  ] as const
  const parts = entries.map(([name, colour, dashes], index) => {
    const x = 12 + index * 110
    return `<line x1="${x}" y1="35" x2="${x + 26}" y2="35" stroke="${colour}" stroke-width="2" stroke-dasharray="${dashes}"/><text x="${x + 32}" y="39">${name}</text>`
  })
  return parts.join('')
}

function panel(question: string, figures: readonly QueryFigures[], sizes: readonly number[]): string {
  const bound = QUERY_MS[question] ?? 0
  const highest = niceCeiling(Math.max(bound, ...figures.map(({ p95Ms }) => p95Ms)) * 1.1)
  const [first = 1, last = 1] = [sizes[0], sizes.at(-1)].map((size) => Math.log10(size ?? 1))
  const xOf = (rows: number): number =>
    AREA.left + (last === first ? 0.5 : (Math.log10(rows) - first) / (last - first)) * AREA.width
  const yOf = (ms: number): number => AREA.top + AREA.height * (1 - ms / highest)
  const gridLines = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const y = yOf(share * highest)
    return `<line x1="${AREA.left}" x2="${AREA.left + AREA.width}" y1="${y}" y2="${y}" stroke="#e3e3e3"/><text x="${AREA.left - 6}" y="${y + 4}" text-anchor="end" fill="#444">${count(share * highest)}</text>`
  })
  const ticks = sizes.map(
    (size) =>
      `<text x="${xOf(size)}" y="${AREA.top + AREA.height + 16}" text-anchor="middle" fill="#444">${count(size / 1e6)} M</text>`,
  )
  const line = (of: (figure: QueryFigures) => number, colour: string, dashes: string): string => {
    const points = figures.map((figure) => [xOf(figure.rows), yOf(of(figure))] as const)
    const path = `<polyline points="${points.map((point) => point.join(',')).join(' ')}" fill="none" stroke="${colour}" stroke-width="2" stroke-dasharray="${dashes}"/>`
    return path + points.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="3" fill="${colour}"/>`).join('')
  }
  const end = figures.at(-1)
  const label =
    end === undefined
      ? ''
      : `<text x="${xOf(end.rows)}" y="${yOf(end.p95Ms) - 7}" text-anchor="end" fill="${COLOURS.p95}" font-weight="bold">${count(end.p95Ms)} ms</text>`
  return `<text x="12" y="22" font-weight="bold">${question.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</text>
${gridLines.join('')}${ticks.join('')}
<line x1="${AREA.left}" x2="${AREA.left + AREA.width}" y1="${yOf(bound)}" y2="${yOf(bound)}" stroke="${COLOURS.bound}" stroke-width="1.5" stroke-dasharray="2 3"/>
${line(({ p50Ms }) => p50Ms, COLOURS.p50, '5 3')}${line(({ p95Ms }) => p95Ms, COLOURS.p95, '')}${label}`
}

/** The next 4, 8, 12, 20, 40, 60 … : its quarters are whole numbers. */
function niceCeiling(value: number): number {
  const step = 10 ** Math.floor(Math.log10(Math.max(value, 4)))
  return [1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10].map((factor) => factor * step).find((top) => top >= value) ?? value
}
