/** Statistics that do not follow single wild values. */

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** Between the two nearest values. 0 for no values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (sorted.length - 1) * share
  const below = sorted[Math.floor(at)] ?? 0
  return below + ((sorted[Math.ceil(at)] ?? below) - below) * (at - Math.floor(at))
}

export function sumOf(values: Float64Array): number {
  let sum = 0
  for (const value of values) sum += value
  return sum
}

/** Mean without the highest values: `share` of them, at least one of three or more. */
export function meanWithoutTop(values: readonly number[], share: number): number {
  const left = values.length < 3 ? values.length : values.length - Math.max(1, Math.floor(values.length * share))
  return mean(values.toSorted((a, b) => a - b).slice(0, left))
}

export function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length
}

/** How many standard deviations of a normal value are as improbable as this of chi-square (Wilson and Hilferty, 1931). */
export function chiSquareZ(value: number, degrees: number): number {
  const spread = 2 / (9 * degrees)
  return (Math.cbrt(value / degrees) - (1 - spread)) / Math.sqrt(spread)
}

/** Logarithm of the gamma function: Stirling's series from 8 on, its recurrence below. */
function logGamma(x: number): number {
  let [shifted, product] = [x, 1]
  for (; shifted < 8; shifted++) product *= shifted
  const series = 1 / (12 * shifted) - 1 / (360 * shifted ** 3) + 1 / (1260 * shifted ** 5)
  return (shifted - 0.5) * Math.log(shifted) - shifted + 0.5 * Math.log(2 * Math.PI) + series - Math.log(product)
}

/**
 * Minus the logarithm of the probability that a negative binomial count of variance mean + noise * mean^2 reaches a value. It has
 * the tail of a Poisson count whose mean varies by a gamma: for small counts and for noisy ones longer than a normal one.
 * @param noise - Above 0
 * @returns 0 up to the mean
 */
export function tailSurprise(value: number, { mean: expected, noise }: { mean: number; noise: number }): number {
  if (value <= expected || value <= 0) return 0
  const [shape, at] = [1 / noise, Math.ceil(value)]
  const share = Math.max(expected, 1e-9) / (Math.max(expected, 1e-9) + shape)
  const first = logGamma(at + shape) - logGamma(shape) - logGamma(at + 1)
  // The probabilities above the value fall by a factor that is below 1 from the mean on.
  let [sum, term] = [1, 1]
  for (let next = at; term > 1e-6 * sum; next++) {
    term *= (share * (next + shape)) / (next + 1)
    sum += term
  }
  return Math.max(0, -(first + shape * Math.log1p(-share) + at * Math.log(share) + Math.log(sum)))
}

/** Minus the logarithm of the probability that a normal value is so many standard deviations above its mean. */
export function normalSurprise(z: number): number {
  return z ** 2 / 2 - Math.log(millsRatio(z) / Math.sqrt(2 * Math.PI))
}

/** Of a normal tail to its density: Sampford's bound (1953), 1 % off at 1 and closer above. */
function millsRatio(z: number): number {
  return 4 / (3 * z + Math.sqrt(z ** 2 + 8))
}

/** How many standard deviations of a normal value are as improbable, 0 for less than one; `surprise`: minus the logarithm of the probability. */
export function normalZ(surprise: number): number {
  let z = Math.sqrt(2 * surprise)
  for (let round = 0; round < 6; round++) {
    z = Math.sqrt(Math.max(0, 2 * (surprise + Math.log(millsRatio(z) / Math.sqrt(2 * Math.PI)))))
  }
  return z < 1 ? 0 : z
}

/** 0.5 at the limit of a score, towards 1 above it. */
export function scoreOf(value: number, limit: number): number {
  return Math.round((1 - 0.5 * Math.min(1, limit / Math.max(value, 1e-9))) * 100) / 100
}

/** A number for people: three digits. */
export function short(value: number): number {
  return Number(value.toPrecision(3))
}
