/** Ranges of whole numbers, both ends included. */
import { number, type Row } from '../connection/rows.ts'

export interface Range {
  readonly first: number
  readonly last: number
}

/** The range of a row's columns `first` and `last`; none where they are null. */
export function rangeOf(row: Row): Range[] {
  if (row['first'] === null || row['last'] === null) return []
  return [{ first: number(row, 'first'), last: number(row, 'last') }]
}

export function countRange({ first, last }: Range): number {
  return last - first + 1
}

/**
 * Splits ranges at the edges of others.
 * @param ranges - Ascending, without overlaps.
 * @param others - In any order, may overlap.
 * @returns The parts of `ranges` inside of `others`, and those outside, each ascending.
 */
export function split(ranges: readonly Range[], others: readonly Range[]): { inside: Range[]; outside: Range[] } {
  const covering = joined(others)
  const inside: Range[] = []
  const outside: Range[] = []
  for (const range of ranges) {
    let next = range.first
    for (const cover of covering.filter(({ first, last }) => last >= range.first && first <= range.last)) {
      if (cover.first > next) outside.push({ first: next, last: cover.first - 1 })
      const last = Math.min(cover.last, range.last)
      inside.push({ first: Math.max(cover.first, next), last })
      next = last + 1
    }
    if (next <= range.last) outside.push({ first: next, last: range.last })
  }
  return { inside, outside }
}

function joined(ranges: readonly Range[]): Range[] {
  const result: Range[] = []
  for (const { first, last } of ranges
    .filter((range) => range.first <= range.last)
    .toSorted((a, b) => a.first - b.first)) {
    const before = result.at(-1)
    if (before === undefined || first > before.last + 1) result.push({ first, last })
    else result[result.length - 1] = { first: before.first, last: Math.max(before.last, last) }
  }
  return result
}
