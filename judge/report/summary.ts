/** What a part found, for the person at the terminal. */
import type { Section } from '../part.ts'
import { figure } from './render-report.ts'

const SHOWN_MISSES = 5

export function summaryOf(part: string, result: Section | string | Error | undefined): string {
  if (result === undefined) return ''
  if (typeof result === 'string') return `${part}: not judged here: ${result}\n`
  if (result instanceof Error) return `${part}: FAILED\n`
  const { title, tables, targets, misses } = result
  const lines = [
    `${part}: ${title}`,
    ...tables.flatMap(({ title: name, columns, rows }) => [`  ${name}`, ...aligned([columns, ...rows])]),
    ...targets.map(
      ({ name, wanted, got, met }) => `  ${met ? 'met   ' : 'MISSED'}  ${name}: ${figure(got)} (wanted ${wanted})`,
    ),
    ...misses.slice(0, SHOWN_MISSES).map((miss) => `  - ${oneLine(miss)}`),
    ...(misses.length > SHOWN_MISSES ? [`  … and ${misses.length - SHOWN_MISSES} more misses in the report`] : []),
  ]
  return `${lines.join('\n')}\n\n`
}

function aligned(rows: readonly (readonly (string | number)[])[]): string[] {
  const cells = rows.map((row) => row.map((cell) => (typeof cell === 'number' ? figure(cell) : oneLine(cell))))
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  return cells.map((row) => `    ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd())
}

/** Quoted text may be an attacker's: no control characters for the terminal. */
function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ').trim()
}
