/** Which record explains why a number of a run is not stored. */
import { type Row, text } from '../connection/rows.ts'
import type { RecordPosition } from '../queries/dead-letters.ts'
import type { Claim } from './completeness-report.ts'
import { rangeOf, type Range, split } from './ranges.ts'

/** A row's column `position`: log, partition and offset. */
export function positionOf(row: Row): RecordPosition {
  const [log_id, partition, offset] = row['position'] as [string, number | string, number | string]
  return { log_id, partition: Number(partition), offset: Number(offset) }
}

/** @param dead - Rows of dead letters; noted ones have expired, and have no position. */
export function claimsOf(lost: readonly Row[], dead: readonly Row[]): Claim[] {
  const ofRuns = lost.flatMap((row) =>
    rangeOf(row).map((range): Claim => ({
      ...range,
      by: 'events_lost',
      by_run: text(row, 'by_run'),
      position: positionOf(row),
    })),
  )
  const ofDead = dead.flatMap((row) =>
    rangeOf(row).map((range): Claim => {
      return {
        ...range,
        by: 'dead letter',
        by_run: null,
        position: row['position'] === undefined ? null : positionOf(row),
      }
    }),
  )
  return [...ofRuns, ...ofDead]
}

/** Splits ranges by what claims cover; where several do, each number goes to one of them. */
export function splitByClaims(
  ranges: readonly Range[],
  claims: readonly Claim[],
): { claimed: Claim[]; outside: Range[] } {
  const { inside, outside } = split(ranges, claims)
  const sorted = claims.toSorted((a, b) => a.first - b.first)
  const claimed: Claim[] = []
  let index = 0
  let furthest: Claim | undefined
  for (const range of inside) {
    for (let next = range.first; next <= range.last;) {
      for (; (sorted[index]?.first ?? Number.POSITIVE_INFINITY) <= next; index++) {
        if ((sorted[index]?.last ?? -1) > (furthest?.last ?? -1)) furthest = sorted[index]
      }
      if (furthest === undefined) break
      const last = Math.min(furthest.last, range.last)
      claimed.push({ ...furthest, first: next, last })
      next = last + 1
    }
  }
  return { claimed, outside }
}
