/** Markdown for the sections of docs/performance.md. */
import type { Bound } from './bounds.ts'
import { median } from '../support/results.ts'

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

export function boundsTable(bounds: readonly Bound[]): string {
  const rows = bounds.map(({ what, wanted, measured, met }) => [what, wanted, measured, met ? 'met' : '**missed**'])
  return table(['bound', 'wanted', 'measured', ''], rows)
}

/** `median (lowest to highest)`; a dash without measurements. */
export function spread(values: readonly (number | undefined)[]): string {
  const measured = values.filter((value) => value !== undefined)
  if (measured.length === 0) return '-'
  const [lowest, highest] = [Math.min(...measured), Math.max(...measured)]
  const middle = count(median(measured))
  return lowest === highest ? middle : `${middle} (${count(lowest)} to ${count(highest)})`
}

export function count(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 2 })
}
