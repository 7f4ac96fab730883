/** Rows of the completeness queries: places where a sequence does not go on by one. */
import type { Range } from './ranges.ts'

export type Row = Readonly<Record<string, unknown>>

/** `at` follows `before`: a gap between them, or the same once more, `times` times. */
export interface Step {
  readonly before: number
  readonly at: number
  readonly times: number
}

export function sortSteps(rows: readonly Row[] = []): { gaps: Range[]; repeats: Step[] } {
  const steps = rows.map((row) => ({
    before: number(row, 'before'),
    at: number(row, 'at'),
    times: number(row, 'times'),
  }))
  return { gaps: steps.flatMap(gapOf), repeats: steps.filter(({ before, at }) => at === before) }
}

function gapOf({ before, at }: Step): Range[] {
  return at > before + 1 ? [{ first: before + 1, last: at - 1 }] : []
}

export function isRepeat(row: Row): boolean {
  return number(row, 'at') === number(row, 'before')
}

export function text(row: Row, key: string): string {
  return String(row[key])
}

export function number(row: Row, key: string): number {
  return Number(row[key])
}
