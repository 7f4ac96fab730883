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

/** 0.5 at the limit of a score, towards 1 above it. */
export function scoreOf(value: number, limit: number): number {
  return Math.round((1 - 0.5 * Math.min(1, limit / Math.max(value, 1e-9))) * 100) / 100
}

/** A number for people: three digits. */
export function short(value: number): number {
  return Number(value.toPrecision(3))
}
