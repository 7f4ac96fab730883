/**
 * What an agent does at an hour by its own history, and how far an hour is above that.
 *
 * An hour is compared with the 28 days before its own day, so its verdict is the same whichever window it is asked in. Expected
 * is the larger one of two: the median of the same hour of the week, and the mean of the same hour of other working days (or
 * weekend days) without the highest tenth, times what its day of the week does beside those; of the hour and its two neighbours
 * the largest, since clocks change by an hour and batches start late. The median alone has too few values to know a busy
 * Monday. It grows with the last week. The excess is measured by how improbable it is for a count that is noisier than Poisson:
 * negative binomial, variance = expected + a * expected^2, `a` from the agent's own residuals. The tail of that count is taken,
 * not a normal one: of small or noisy counts a normal tail makes a false alarm of what happens each week in a fleet. The bound
 * is one for the number of hours that are judged: a hundred agents have 50,000 hours and widths a week. Counts of 24 made
 * fleets of 94 agents without an anomaly, a week each, had one excess of sessions and none of events above 4.4, and three of
 * errors above 3.75 (few hours have the errors that it takes). An agent whose own hours have a longer tail than that has a
 * higher bound.
 */
import { BASELINE_DAYS } from './rows.ts'
import { mean, meanWithoutTop, median, normalZ, quantile, tailSurprise } from './statistics.ts'

export interface Excess {
  readonly value: number
  readonly expected: number
  /** How improbable it is, as standard deviations of a normal value. */
  readonly z: number
  /** What `z` has to reach. */
  readonly limit: number
}

export interface ExcessLimits {
  readonly min_z: number
  /** Times what the highest fortieth of the agent's own hours reaches; 1.96 if the distribution is right. */
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
  /** How many days the usual value is a mean of. */
  readonly days: Float64Array
}

/** @param origin - Hour since 1970 of the first value, a midnight. */
export function profileOf(values: Float64Array, { from, day }: Baseline, origin: number): Profile {
  const middle = new Float64Array(WEEK)
  const usual = new Float64Array(WEEK)
  const days = new Float64Array(WEEK)
  const [ofDays, ofWeek] = slotsOf(values, { from, day }, origin)
  const others = Float64Array.from({ length: WEEK }, (_, slot) => meanWithoutTop(ofDays[dayKind(slot)] ?? [], HIGHEST))
  const factors = weekdayFactors(ofWeek, others)
  for (let slot = 0; slot < WEEK; slot++) {
    const factor = factors[Math.floor(slot / 24)] ?? 1
    const other = factor * (others[slot] ?? 0)
    days[slot] = ((factor > 1 ? ofWeek[slot] : ofDays[dayKind(slot)]) ?? []).length
    middle[slot] = other
    usual[slot] = Math.max(other, median(ofWeek[slot] ?? []))
  }
  const level = growthOf(values, { from, day })
  const high = usual.map((value, slot) => {
    const before = usual[(slot + WEEK - 1) % WEEK] ?? 0
    return level * Math.max(before, value, usual[(slot + 1) % WEEK] ?? 0)
  })
  return { middle, high, days }
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
  /** What an excess is measured from. */
  readonly high: (at: number) => number
  /** `a` of the variance, above 0. */
  readonly noise: (at: number) => number
}

/** Share of the agent's own hours that lie below what its limit is made of: an incident of half a day is above it. */
const OWN_TAIL = 0.975

/** Judges the hours of the day after a baseline, or another value in an hour's place. What is dear, the tail of the agent's own hours, is only found for an hour that stands out. */
export function excessesOf(
  { values, high, noise }: Comparison,
  { from, day }: Baseline,
  limits: ExcessLimits,
): (at: number, value?: number) => Excess | undefined {
  const zOf = (at: number, value = values[at] ?? 0): number =>
    normalZ(tailSurprise(value, { mean: high(at), noise: Math.max(limits.min_noise, noise(at)) }))
  let own: number | undefined
  return (at, value = values[at] ?? 0) => {
    const z = zOf(at, value)
    if (z < limits.min_z) return undefined
    own ??= quantile(
      Array.from({ length: day - from }, (_, index) => zOf(from + index)),
      OWN_TAIL,
    )
    const limit = Math.max(limits.min_z, limits.tail_factor * own)
    return z < limit ? undefined : { value, expected: high(at), z, limit }
  }
}

/** What is left of the mean square of normal values whose highest fortieth count as the {@link OWN_TAIL} quantile. */
const CLIPPED = 0.955

/**
 * `a` of the variance of counts about their usual values. The highest fortieth of the squares count as the least of them, so that
 * a past incident does not deafen; the mean is put right for that, as the MAD is.
 * @param without - What is taken where fewer than 48 hours have two or more: small counts do not show it
 */
export function noiseOf(
  values: Float64Array,
  { from, day }: Baseline,
  { usual, without }: { readonly usual: (at: number) => number; readonly without: number },
): number {
  const squares: number[] = []
  let poisson = 0
  for (let at = from; at < day; at++) {
    const expected = usual(at)
    if (expected < 2) continue
    squares.push(((values[at] ?? 0) / expected - 1) ** 2)
    poisson += 1 / expected
  }
  if (squares.length < 48) return without
  const highest = quantile(squares, OWN_TAIL)
  const scatter = mean(squares.map((square) => Math.min(square, highest))) / CLIPPED
  return scatter - poisson / squares.length
}
