/** Rows of the completeness queries: steps of a sequence that are not 1. */
import { number, type Row } from '../connection/rows.ts'
import type { Range } from './ranges.ts'

/** `at` follows `before`: with a gap between them, or as a repeat of it, `times` times. */
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
