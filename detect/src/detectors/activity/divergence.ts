/** How far two distributions of categories are apart, corrected for the size of the samples. */
import { chiSquareZ, mean, normalSurprise, normalZ, quantile } from './statistics.ts'

export type Counts = ReadonlyMap<string, number>

export interface Divergence {
  /** Jensen-Shannon divergence in bits, less what samples of this size have by chance. */
  readonly bits: number
  /**
   * Statistic of "both are the same", and its degrees of freedom: the likelihood ratio or Pearson's, of each stratum the lesser. Both
   * are chi-square for many counts; of few, one takes a value that is absent for improbable, the other a rare one that occurs.
   */
  readonly g: number
  readonly degrees: number
  /** The same statistic of the category that changed most beside all others of its stratum, and of how many it is the largest. */
  readonly largest: { readonly g: number; readonly of: number }
}

/** Categories that are rarer than this in both together are one. */
const RARE = 5

/**
 * Compares within strata: a category is `stratum<tab>value` (or a value alone), and how often each stratum occurs is no difference.
 * Statistics of strata add up; divergences are weighted by the later counts.
 */
export function divergenceOf(before: Counts, after: Counts): Divergence {
  const strata = strataOf(before, after)
  const total = sumOf(after)
  const sum = { bits: 0, g: 0, degrees: 0, most: 0, categories: 0 }
  for (const cells of strata.values()) {
    const { bits, g, degrees } = divergenceOfCells(cells)
    sum.bits += (bits * cells.reduce((count, [, right]) => count + right, 0)) / total
    sum.g += g
    sum.degrees += degrees
    sum.categories += cells.length
    sum.most = Math.max(sum.most, largestOf(cells))
  }
  return {
    bits: Math.max(0, sum.bits),
    g: sum.g,
    degrees: Math.max(1, sum.degrees),
    largest: { g: sum.most, of: Math.max(1, sum.categories) },
  }
}

function largestOf(cells: Cells): number {
  const [n, m] = cells.reduce(([x, y], [left, right]) => [x + left, y + right], [0, 0])
  const alone = cells.map(
    ([left, right]) =>
      divergenceOfCells([
        [left, right],
        [n - left, m - right],
      ]).g,
  )
  return Math.max(0, ...alone)
}

type Cells = readonly (readonly [number, number])[]

function divergenceOfCells(cells: Cells): Omit<Divergence, 'largest'> {
  const [n, m] = cells.reduce(([x, y], [left, right]) => [x + left, y + right], [0, 0])
  if (n === 0 || m === 0 || cells.length < 2) return { bits: 0, g: 0, degrees: 0 }
  let [g, pearson, divergence] = [0, 0, 0]
  for (const [left, right] of cells) {
    if (left + right === 0) continue
    const share = (left + right) / (n + m)
    g += 2 * (times(left, left / n / share) + times(right, right / m / share))
    pearson += (left - n * share) ** 2 / (n * share) + (right - m * share) ** 2 / (m * share)
    const middle = (left / n + right / m) / 2
    divergence += (times(left / n, left / n / middle) + times(right / m, right / m / middle)) / 2
  }
  const degrees = cells.length - 1
  const chance = (degrees / 8) * (1 / n + 1 / m)
  return { bits: (divergence - chance) / Math.LN2, g: Math.min(g, pearson), degrees }
}

function times(weight: number, ratio: number): number {
  return weight === 0 ? 0 : weight * Math.log(ratio)
}

function strataOf(before: Counts, after: Counts): Map<string, [number, number][]> {
  const strata = new Map<string, [number, number][]>()
  const rare = new Map<string, [number, number]>()
  for (const key of new Set([...before.keys(), ...after.keys()])) {
    const stratum = key.includes('\t') ? key.slice(0, key.indexOf('\t')) : ''
    const cells = strata.get(stratum) ?? []
    strata.set(stratum, cells)
    const cell: [number, number] = [before.get(key) ?? 0, after.get(key) ?? 0]
    if (cell[0] + cell[1] >= RARE) cells.push(cell)
    else rare.set(stratum, [(rare.get(stratum)?.[0] ?? 0) + cell[0], (rare.get(stratum)?.[1] ?? 0) + cell[1]])
  }
  for (const [stratum, cell] of rare) strata.get(stratum)?.push(cell)
  return strata
}

export function sumOf(counts: Counts): number {
  let sum = 0
  for (const count of counts.values()) sum += count
  return sum
}

export function sumCounts(all: readonly Counts[]): Map<string, number> {
  const sum = new Map<string, number>()
  for (const counts of all) for (const [key, count] of counts) sum.set(key, (sum.get(key) ?? 0) + count)
  return sum
}

/** How far the days of a reference are from the rest of it: calls of a session are alike, and weekends differ. */
export interface Spread {
  /** Variance beside that of independent calls, at least 1. */
  readonly inflation: number
  /** The highest tenth of g / degrees. */
  readonly highest: number
}

export function spreadOf(days: readonly Counts[]): Spread {
  const all = sumCounts(days)
  const ratios = days.flatMap((day) => {
    if (sumOf(day) < 15) return []
    const rest = new Map([...all].map(([key, count]) => [key, count - (day.get(key) ?? 0)]))
    const { g, degrees } = divergenceOf(rest, day)
    return [g / degrees]
  })
  const usual = ratios.toSorted((a, b) => a - b).slice(0, Math.max(1, Math.ceil(ratios.length * 0.9)))
  return { inflation: Math.max(1, mean(usual)), highest: quantile(ratios, 0.9) }
}

/** Standard deviations of a normal value that are as improbable. */
export function surpriseOf({ g, degrees, largest }: Divergence, { inflation }: Spread): number {
  // One category that changed shows better alone; the largest of several is as improbable as all of them together (Bonferroni).
  const alone = normalSurprise(Math.sqrt(largest.g / inflation)) - Math.log(2 * largest.of)
  return Math.max(chiSquareZ(g / inflation, degrees), normalZ(Math.max(0, alone)))
}

/** The categories whose share changed most. */
export function changesOf(
  before: Counts,
  after: Counts,
  most: number,
): { key: string; before: number; after: number }[] {
  const [n, m] = [Math.max(1, sumOf(before)), Math.max(1, sumOf(after))]
  const keys = [...new Set([...before.keys(), ...after.keys()])]
  const shares = keys.map((key) => ({ key, before: (before.get(key) ?? 0) / n, after: (after.get(key) ?? 0) / m }))
  return shares.toSorted((a, b) => Math.abs(b.after - b.before) - Math.abs(a.after - a.before)).slice(0, most)
}
