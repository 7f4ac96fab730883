/**
 * What an agent does at an hour by its own history, and how far an hour is above that.
 *
 * An hour is compared with the 28 days before its own day, so its verdict is the same whichever window it is asked in. Expected
 * is the larger one of two: the median of the same hour of the week, and the mean of the same hour of other working days (or
 * weekend days) without the highest tenth, times what its day of the week does beside those; of the hour and its two neighbours
 * the largest, since clocks change by an hour and batches start late. The median alone has too few values to know a busy Monday. It grows with the last week. The excess is measured in standard deviations of a count that is noisier than
 * Poisson: variance = expected + a * expected^2 (negative binomial), `a` from the agent's own residuals. It counts if it is also
 * above what the agent's own highest hundredth of hours reaches: thousands of hours are judged a day.
 */
import { BASELINE_DAYS } from './rows.ts'
import { mean, meanWithoutTop, median, quantile } from './statistics.ts'

export interface Excess {
  readonly value: number
  readonly expected: number
  /** Standard deviations above the expected value. */
  readonly z: number
  /** What `z` has to reach. */
  readonly limit: number
}

export interface ExcessLimits {
  readonly min_z: number
  /** Times the highest hundredth of the agent's own hours. */
  readonly tail_factor: number
  /** Least `a` of the variance: few residuals of small counts say little of it. */
  readonly min_noise: number
}

/** Sums of the last `width` hours. */
export function rolling(values: Float64Array, width: number): Float64Array {
  const sums = new Float64Array(values.length)
  let sum = 0
  for (let at = 0; at < values.length; at++) {
    sum += (values[at] ?? 0) - (at >= width ? (values[at - width] ?? 0) : 0)
    sums[at] = sum
  }
  return sums
}

/** The baseline of a day: the hours of {@link BASELINE_DAYS} before it, from the agent's first one on. */
export interface Baseline {
  readonly from: number
  /** First hour of the day, which is the end of the baseline. */
  readonly day: number
}

/** @returns undefined if the agent is too young. Positions are in the series, which begins at midnight, UTC. */
export function baselineOf(at: number, born: number, minDays: number): Baseline | undefined {
  const day = at - (at % 24)
  const from = Math.max(born + 1, day - BASELINE_DAYS * 24)
  return day - from < minDays * 24 ? undefined : { from, day }
}

/** Position of the first value, or the length. */
export function bornAt(values: Float64Array): number {
  const at = values.findIndex((value) => value > 0)
  return at < 0 ? values.length : at
}

const WEEK = 168
const HIGHEST = 0.1

/** Whether an hour lies on a Saturday or Sunday; hour 0 of 1970 was a Thursday. */
function isWeekend(hour: number): boolean {
  const day = (Math.floor(hour / 24) + 4) % 7
  return day === 0 || day === 6
}

/** Expected values by hour of the week of a day's baseline. Index: hour since 1970 modulo 168. */
export interface Profile {
  /** The usual value. */
  readonly middle: Float64Array
  /** The highest value that is usual. */
  readonly high: Float64Array
}

/** @param origin - Hour since 1970 of the first value, a midnight. */
export function profileOf(values: Float64Array, { from, day }: Baseline, origin: number): Profile {
  const middle = new Float64Array(WEEK)
  const usual = new Float64Array(WEEK)
  const [ofDays, ofWeek] = slotsOf(values, { from, day }, origin)
  const others = Float64Array.from({ length: WEEK }, (_, slot) => meanWithoutTop(ofDays[dayKind(slot)] ?? [], HIGHEST))
  const factors = weekdayFactors(ofWeek, others)
  for (let slot = 0; slot < WEEK; slot++) {
    const other = (others[slot] ?? 0) * (factors[Math.floor(slot / 24)] ?? 1)
    middle[slot] = other
    usual[slot] = Math.max(other, median(ofWeek[slot] ?? []))
  }
  const level = growthOf(values, { from, day })
  const high = usual.map((value, slot) => {
    const before = usual[(slot + WEEK - 1) % WEEK] ?? 0
    return level * Math.max(before, value, usual[(slot + 1) % WEEK] ?? 0)
  })
  return { middle, high }
}

/** What each day of the week does beside the like days, 1 to 3; of the weeks the median, so that one incident makes no habit. */
function weekdayFactors(ofWeek: readonly number[][], others: Float64Array): number[] {
  return Array.from({ length: 7 }, (_, weekday) => {
    const slots = Array.from({ length: 24 }, (__, hour) => weekday * 24 + hour)
    const expected = slots.reduce((sum, slot) => sum + (others[slot] ?? 0), 0)
    const weeks = Math.max(...slots.map((slot) => ofWeek[slot]?.length ?? 0))
    const totals = Array.from({ length: weeks }, (__, week) =>
      slots.reduce((sum, slot) => sum + (ofWeek[slot]?.[week] ?? 0), 0),
    )
    return expected === 0 ? 1 : Math.min(3, Math.max(1, median(totals) / expected))
  })
}

/** 0 to 23 for working days, 24 to 47 for weekends. */
function dayKind(hour: number): number {
  return (hour % 24) + (isWeekend(hour) ? 24 : 0)
}

function slotsOf(values: Float64Array, { from, day }: Baseline, origin: number): [number[][], number[][]] {
  const ofDays: number[][] = Array.from({ length: 48 }, () => [])
  const ofWeek: number[][] = Array.from({ length: WEEK }, () => [])
  for (let at = from; at < day; at++) {
    const value = values[at] ?? 0
    ofDays[dayKind(origin + at)]?.push(value)
    ofWeek[(origin + at) % WEEK]?.push(value)
  }
  return [ofDays, ofWeek]
}

/** The last week beside the weeks before: 1 to 1.5. */
function growthOf(values: Float64Array, { from, day }: Baseline): number {
  const split = Math.max(from, day - WEEK)
  const before = mean([...values.subarray(from, split)])
  const last = mean([...values.subarray(split, day)])
  return before === 0 ? 1 : Math.min(1.5, Math.max(1, last / before))
}

/** Counts and what was expected of each, by position, over a baseline and the day after it. */
export interface Comparison {
  readonly values: Float64Array
  /** The usual value, for the noise. */
  readonly middle: (at: number) => number
  /** What an excess is measured from. */
  readonly high: (at: number) => number
}

/** Judges the hours of the day after a baseline. */
export function excessesOf(comparison: Comparison, baseline: Baseline, limits: ExcessLimits): (at: number) => Excess {
  const { values, high } = comparison
  const noise = Math.max(limits.min_noise, noiseOf(comparison, baseline))
  const zOf = (at: number): number => {
    const expected = high(at)
    return ((values[at] ?? 0) - expected) / Math.sqrt(expected + noise * expected ** 2 + 1)
  }
  const history: number[] = []
  for (let at = baseline.from; at < baseline.day; at++) history.push(zOf(at))
  const limit = Math.max(limits.min_z, limits.tail_factor * quantile(history, 0.99))
  return (at) => ({ value: values[at] ?? 0, expected: high(at), z: zOf(at), limit })
}

const NOISE_WITHOUT_HISTORY = 0.3

/** `a` of the variance; residuals above their 95th hundredth count as that, so that a past incident does not deafen. */
function noiseOf({ values, middle }: Comparison, { from, day }: Baseline): number {
  const residuals: number[] = []
  for (let at = from; at < day; at++) {
    const expected = middle(at)
    if (expected >= 2) residuals.push((((values[at] ?? 0) - expected) ** 2 - expected) / expected ** 2)
  }
  if (residuals.length < 48) return NOISE_WITHOUT_HISTORY
  const highest = quantile(residuals, 0.95)
  return mean(residuals.map((residual) => Math.min(residual, highest)))
}
